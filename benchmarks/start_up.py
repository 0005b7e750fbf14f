"""Start-up of `launch.py` in this working copy beside another one: processor time of whole processes, in turn.

    git worktree add ../before COMMIT
    python -m benchmarks.start_up ../before [--repeats 20]

Prints seconds of processor time (user and system), mean ± sample standard deviation, and the ratio of the means. The first round, which
compiles modules, is left out. Other work on the machine meets both alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import ROOT, spread

COMMANDS = {
    "--help": ("--help",),
    "cifar --help": ("cifar", "--help"),
    "results": ("results",),
    "status": ("status",),
    "cifar --dry-run": ("cifar", "--data", "synthetic", "--time", "1h", "--on", "slurm", "--dry-run"),
}


def seconds(root: Path, words: tuple[str, ...], cwd: str) -> float:
    """Processor time of one `launch.py` below `root`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "GANHPC_CONFIG": "/dev/null", "XDG_STATE_HOME": cwd}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles every module, which no user sees
    subprocess.run(
        [sys.executable, str(root / "launch.py"), *words],
        cwd=cwd,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    asked = parser.parse_args()
    roots = (asked.before.resolve(), ROOT)
    print(f"Python {platform.python_version()}, n = {asked.repeats}; seconds of processor time: before, now, ratio")
    with tempfile.TemporaryDirectory() as cwd:
        for name, words in COMMANDS.items():
            rounds = [[seconds(root, words, cwd) for root in roots] for _ in range(asked.repeats + 1)][1:]
            old, new = ([each[k] for each in rounds] for k in (0, 1))
            print(f"{name:16} {spread(old)}  {spread(new)}  {sum(new) / sum(old):.2f}")


if __name__ == "__main__":
    main()
