"""The default network against the course's in the same time, in turn in one run, on real CIFAR-10.

    python -m benchmarks.cifar_budget [--time 5m] [--seeds 1] [--runs DIR]

The course's: the tutorial's network, batches of 20, three levels of the learning rate. The ratio of the test errors is what counts.
"""

from __future__ import annotations

import tempfile
from typing import Any

import click

from benchmarks.common import launch, machine, spread
from ganhpc.train.loop.speed_choice import processor

PRESETS = {"course": ("--preset", "course"), "default": ("--budget-params", "256k")}


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """Accuracies, speed and choices of the runs of one preset."""

    def figure(key: str, form: str, factor: float = 1.0) -> str:
        return spread([factor * row[key] for row in rows], form)

    print(f"  {name:<8} {figure('test_accuracy', '.2f', 100)} % on the test images")
    print(f"           {figure('test_accuracy_no_tta', '.2f', 100)} % without averaging over variants of an image")
    print(f"           {figure('epochs', '.2f')} epochs at {figure('images_per_second', ',.0f')} images/s")
    print(f"           {figure('train_seconds', '.1f')} s of training clock")
    shares = [100 * row["gflops_per_second"] / row["peak_gflops_per_second"] for row in rows]
    print(f"           {spread(shares, '.1f')} % of the peak of large matrix products in the precision chosen")
    for row in rows:
        chosen = f"{row['precision']}, {row['threads']} threads ({row['speed'] or 'not measured'})"
        print(f"           seed {row['seed']}: {row['network'] or 'course'}, {row['params']:,} parameters; {chosen}")


@click.command()
@click.option("--time", "budget", default="5m", help="training clock of each run")
@click.option("--seeds", default=1, help="runs of each")
@click.option("--runs", help="folder of run folders (default: a temporary one)")
def main(budget: str, seeds: int, runs: str | None) -> None:
    """Train both, print accuracies and the ratio of the errors."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PRESETS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            for name, words in PRESETS.items():
                common = ["cifar", "--time", budget, "--seed", str(seed), "--runs", runs or folder]
                found[name] += launch(*common, *words)
    print(f"{budget} of training clock, n = {seeds}, {machine()}; {processor()}")
    for name, rows in found.items():
        show(name, rows)
    pairs = list(zip(found["default"], found["course"], strict=True))
    ratios = [(1 - d["test_accuracy"]) / (1 - c["test_accuracy"]) for d, c in pairs]
    plain = [(1 - d["test_accuracy_no_tta"]) / (1 - c["test_accuracy_no_tta"]) for d, c in pairs]
    print(f"  error of the default over the course's: {spread(ratios)} ({spread(plain)} without averaging)")


if __name__ == "__main__":
    main()
