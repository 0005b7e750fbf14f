"""Does `results` cost much more than reading the files? Ten thousand made run folders, measured side by side.

    python -m benchmarks.results [--runs 10000] [--unfinished 0] [--repeats 5]

Makes the folders in a temporary place (finished runs with files like real ones; --unfinished of them stopped half-way), then
measures in turn, in one run: reading the same files alone (scandir, read, json.loads), `results.rows` in this process, and
`launch.py results` from its start to its end as JSON, as a table, and as JSON of variants. The first call, which fills the index, is measured apart; all others find it. Prints the times
over that of reading alone, their mean and sample standard deviation.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.common import ROOT, spread
from ganhpc.analysis.results import rows as results
from jobs.cifar import Cifar

WORDS = (
    "network",
    "why",
    "data_note",
    "signature",
    "ended_by",
    "finished",
    "device",
    "precision",
    "torch",
    "python",
    "commit",
)
NUMBERS = (
    "test_accuracy",
    "test_loss",
    "test_accuracy_no_tta",
    "params",
    "frozen_params",
    "macs",
    "ops",
    "step_ops",
    "gflops_per_second",
    "forward_gflops_per_second",
    "train_seconds",
    "budget_seconds",
    "budget_used",
    "epochs",
    "epochs_planned",
    "steps",
    "batch_size",
    "images_per_second",
    "segments",
    "lost_seconds",
    "startup_seconds",
    "processes",
    "threads",
)
PHASES = ("data", "forward", "backward", "optimizer", "evaluation", "checkpoint")


def make(runs: Path, n: int, unfinished: int) -> None:
    """`n` runs, three seeds a variant, with files as long as real ones; the last `unfinished` of them without a result."""
    base = Cifar().to_json()
    for k in range(n):
        variant = f"default-time5m-budgetparams256k-lr{0.01 + k // 3 * 1e-6:.6f}"
        words = {"variant": variant, "group": f"{k // 3:010x}", "seed": k % 3}
        folder = runs / "cifar" / f"{variant}-{k:010x}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "experiment.json").write_text(json.dumps({**base, **words, "signature": f"{k:010x}"}, indent=1))
        if k < n - unfinished:
            (folder / "result.json").write_text(json.dumps(outcome(k) | words | {"run": folder.name}, indent=1))
        else:
            status = {
                "state": "resumable",
                "reason": "SIGINT at the launcher",
                "epoch": 1.5,
                "seconds": 12.5,
                "last": {"epoch": 1.0},
            }
            (folder / "status.json").write_text(json.dumps(status, indent=1))


def outcome(k: int) -> results.Row:
    """A result.json of about 2 kB."""
    figures = dict.fromkeys(NUMBERS, 0.1234567891 * (k % 97 + 1))
    shares = {"seconds_by_phase": dict.fromkeys(PHASES, 12.345)}
    return {
        "experiment": "cifar",
        "state": "done",
        **figures,
        **dict.fromkeys(WORDS, "words " * 5),
        **shares,
        "weights_sha256": f"{k:064x}",
    }


def read_alone(runs: str) -> int:
    """The same folders listed and the same files read and parsed, nothing kept. Returns how many files."""
    count = 0
    for kind in (entry for entry in os.scandir(runs) if entry.name[0] != "."):
        for folder in os.scandir(kind.path):
            done = os.path.exists(folder.path + "/result.json")  # noqa: PTH110
            for name in ("result.json",) if done else ("experiment.json", "status.json"):
                with open(f"{folder.path}/{name}", "rb") as file:  # noqa: PTH123
                    json.loads(file.read())
                count += 1
    return count


def clocked(work: Callable[[], object]) -> float:
    """Seconds on the wall."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process and its children: what others do on this machine at the same time stays out."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    begun = used()
    work()
    return used() - begun


@click.command()
@click.option("--runs", "n", default=10_000)
@click.option("--unfinished", default=0, help="so many of them without a result")
@click.option("--repeats", default=5)
def main(n: int, unfinished: int, repeats: int) -> None:
    """Print the ratios, measured in turn."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), n, unfinished)
        command = [sys.executable, str(ROOT / "launch.py"), "results", "--runs", folder]
        kinds: dict[str, Callable[[], object]] = {
            "results.rows": lambda: results.rows(Path(folder)),
            **{
                " ".join(["results", *words]): _program([*command, *words])
                for words in (["--json"], [], ["--group", "--json"])
            },
        }
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / ".cache")
        time.sleep(2.5)  # files that just changed are not kept
        files = read_alone(folder)
        first = seconds(kinds["results --json"])
        second = clocked(kinds["results --json"])
        alone: list[float] = []
        ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(repeats):
            begun = time.perf_counter()
            alone.append(seconds(lambda: read_alone(folder)))
            wall = time.perf_counter() - begun
            for kind, work in kinds.items():
                ratios[kind].append(seconds(work) / alone[-1])
    print(f"{n:,} runs ({unfinished:,} unfinished), {files:,} files, n = {repeats}, Python {platform.python_version()}")
    print(f"reading alone: {spread(alone)} s of a processor (the last time in {wall:.2f} s); times over that:")
    print(
        f"  {'first call (--json)':<22} {first / alone[0]:.2f} (n = 1); the second took {second:.2f} s from start to end"
    )
    for kind, values in ratios.items():
        print(f"  {kind:<22} {spread(values, '.2f')}")


def _program(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
