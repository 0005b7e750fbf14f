"""Does `results` cost much more than reading the files? Ten thousand made run folders, measured side by side.

python -m benchmarks.results [--runs 10000] [--repeats 5]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ganhpc import results  # noqa: E402
from jobs.cifar import Cifar  # noqa: E402


def make(runs: Path, n: int) -> None:
    """`n` finished runs, with files as long as real ones."""
    for seed in range(n):
        definition = Cifar(seed=seed % 3, lr=0.01 + seed // 3 * 1e-6)
        folder = runs / "cifar" / f"{definition.variant}-{definition.signature}"
        folder.mkdir(parents=True)
        (folder / "experiment.json").write_text(json.dumps(definition.to_json()))
        figures = {
            "test_accuracy": 0.6 + seed % 100 / 400,
            "params": 62_006,
            "macs": 651_720,
            "train_seconds": 300.0,
            "epochs": 12.0,
        }
        words = {
            "experiment": "cifar",
            "variant": definition.variant,
            "run": folder.name,
            "seed": definition.seed,
            "group": definition.group,
        }
        padding = {f"figure_{k}": k * 1.1 for k in range(20)}
        (folder / "result.json").write_text(json.dumps({**words, **figures, **padding}, indent=1))
        for name in ("checkpoints", "tb"):
            (folder / name).mkdir()


def read_alone(runs: Path) -> int:
    """The same folders listed and the same files read and parsed, nothing else."""
    count = 0
    for kind in os.scandir(runs):
        for folder in os.scandir(kind.path):
            with open(folder.path + "/result.json", "rb") as file:  # noqa: PTH123
                json.loads(file.read())
            count += 1
    return count


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@click.command()
@click.option("--runs", "n", default=10_000)
@click.option("--repeats", default=5)
def main(n: int, repeats: int) -> None:
    """Print the ratios, measured in turn."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        make(runs, n)
        command = [sys.executable, str(ROOT / "launch.py"), "results", "--runs", folder, "--json"]
        table = [*command[:-1]]
        kinds = {
            "in process": lambda: results.rows(runs),
            "results --json": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
            "results (table)": lambda: subprocess.run(table, check=True, stdout=subprocess.DEVNULL),
        }
        read_alone(runs)
        ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(repeats):
            alone = seconds(lambda: read_alone(runs))
            for kind, work in kinds.items():
                ratios[kind].append(seconds(work) / alone)
    print(
        f"{n:,} runs, n = {repeats}, Python {platform.python_version()}; time over that of reading the files alone ({alone:.2f} s):"
    )
    for kind, values in ratios.items():
        print(f"  {kind:<16} {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}")


if __name__ == "__main__":
    main()
