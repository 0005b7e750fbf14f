"""Cost of launching: `launch.py cifar --on slurm` beside a bare submitit submission of the same job, and --dry-run beside --help.

    python -m benchmarks.launch [--repeats 10]

Needs Slurm (sbatch) for the first. All submit the same request, on hold, so that nothing ever runs; each job is cancelled before the
next is submitted. submitit is given a command, the least it can do, or the function that trains, for which it imports torch as a
script of one's own would. In turn, whole processes, their start included.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.common import ROOT, spread
from ganhpc.train.bench.timing import in_turn

LAUNCH = (sys.executable, str(ROOT / "launch.py"))
SETTINGS = "settings.toml"
HOLDING = """#!/bin/sh
exec {sbatch} --hold "$@"
"""
CIFAR = ("cifar", "--data", "synthetic", "--time", "20m")
BARE = """
import sys, submitit
from submitit.helpers import CommandFunction

executor = submitit.SlurmExecutor(folder=sys.argv[1])
executor.update_parameters(
    job_name="bare", time=20, nodes=1, ntasks_per_node=1, comment="bare", signal_delay_s=120, dependency="singleton",
    additional_parameters={"requeue": True},
)
if sys.argv[2] == "command":  # nothing of the training is imported
    job = executor.submit(CommandFunction([sys.executable, "-m", "ganhpc.train", sys.argv[1]]))
else:  # as submitit is mostly used: the function that trains, from a module that has torch
    import torch
    from ganhpc.train import __main__ as train

    job = executor.submit(train.main, [sys.argv[1]])
print("job", job.job_id)
"""


def seconds(command: Sequence[str], folder: Path, after: Callable[[str], object] = lambda _: None) -> float:
    """Seconds of one call in `folder`; `after` is given what it printed, when the clock has stopped."""
    begun = time.perf_counter()
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"GANHPC_CONFIG": str(folder / SETTINGS), "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    took = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    after(done.stdout)
    return took


def cancel(printed: str) -> None:
    """Cancel the job that was submitted: "job 7" of the one, "sent": ["7"] of the other."""
    found = re.search(r'^job (\d+)|"sent": \[\s*"(\d+)"', printed, re.MULTILINE)
    if not found:
        raise SystemExit(f"no job was submitted: {printed}")
    subprocess.run(["scancel", found[1] or found[2]], check=True)


def pieces(folder: Path) -> dict[str, Callable[[], float]]:
    """Timed pieces by name; the submissions only where there is a Slurm."""
    (folder / SETTINGS).touch()
    runs = ("--runs", str(folder / "runs"))
    made: dict[str, Callable[[], float]] = {
        "--help": partial(seconds, [*LAUNCH, "--help"], folder),
        "cifar --help": partial(seconds, [*LAUNCH, "cifar", "--help"], folder),
        "cifar --dry-run": partial(seconds, [*LAUNCH, *CIFAR, "--on", "local", "--dry-run", *runs], folder),
        "cifar --on slurm --dry-run": partial(seconds, [*LAUNCH, *CIFAR, "--on", "slurm", "--dry-run", *runs], folder),
    }
    if sbatch := shutil.which("sbatch"):
        # Held by a sbatch of its own, first on the PATH of all alike: the settings may not decide when a job starts.
        holding = folder / "bin" / "sbatch"
        holding.parent.mkdir()
        holding.write_text(HOLDING.format(sbatch=shlex.quote(sbatch)))
        holding.chmod(0o755)
        launch = [*LAUNCH, *CIFAR, "--on", "slurm", "--new", "--json", *runs]
        made["cifar --on slurm"] = partial(seconds, launch, folder, cancel)
        for what in ("command", "function"):
            bare = [sys.executable, "-c", BARE, str(folder / "bare"), what]
            made[f"bare submitit, a {what}"] = partial(seconds, bare, folder, cancel)
    return made


def ratio(found: dict[str, list[float]], one: str, other: str) -> str:
    """Ratio of `one` to `other`, round by round and of the means."""
    rounds = [a / b for a, b in zip(found[one], found[other], strict=True)]
    means = statistics.mean(found[one]) / statistics.mean(found[other])
    return f"{one} takes {means:.2f} times {other} (round by round {spread(rounds, '.2f')})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launch", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, help="rounds that count [default: 10]")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        found = in_turn(pieces(Path(name)), repeats)
    versions = ", ".join(f"{package} {version(package)}" for package in ("submitit", "click", "rich", "holidays"))
    print(f"Python {platform.python_version()} on {platform.machine()}, {versions}; n = {repeats}, mean ± sample sd")
    for what, values in found.items():
        print(f"{what:<28} {spread(values)} s, least {min(values):.3f} s")
    if "cifar --on slurm" in found:
        slurm = subprocess.run(["sbatch", "--version"], capture_output=True, text=True).stdout.strip()
        print(slurm)
        for what in ("bare submitit, a command", "bare submitit, a function"):
            print(ratio(found, "cifar --on slurm", what))
    else:
        print("sbatch is not on the PATH: the submissions are left out")
    for what in ("cifar --dry-run", "cifar --on slurm --dry-run"):
        print(ratio(found, what, "--help"))


if __name__ == "__main__":
    main()
