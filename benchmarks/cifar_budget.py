"""The default network against the course's in the same time, one after the other in one run, on real CIFAR-10.

    python -m benchmarks.cifar_budget [--time 5m] [--seeds 1] [--runs DIR]

The course's: the tutorial's network, batches of 20, three levels of the learning rate. The ratio of the test errors is what counts.
"""

from __future__ import annotations

import tempfile

import click

from benchmarks.common import launch, machine, spread


@click.command()
@click.option("--time", "budget", default="5m", help="training clock of each run")
@click.option("--seeds", default=1, help="runs of each")
@click.option("--runs", help="folder of run folders (default: a temporary one)")
def main(budget: str, seeds: int, runs: str | None) -> None:
    """Train both, print accuracies and the ratio of the errors."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["cifar", "--time", budget, "--seeds", str(seeds), "--runs", runs or folder]
        course = launch(*common, "--preset", "course")
        default = launch(*common, "--budget-params", "256k")
    print(f"{budget} of training clock, n = {seeds}, {machine()}")
    for name, rows in (("course", course), ("default", default)):
        plain = spread([100 * row["test_accuracy_no_tta"] for row in rows], ".2f")
        best = spread([100 * row["test_accuracy"] for row in rows], ".2f")
        used = spread([row["train_seconds"] for row in rows], ".1f")
        row = rows[0]
        print(f"  {name:<8} {best} % ({plain} % without averaging over mirrored images), {row['params']:,} parameters,")
        print(
            f"           {row['epochs']:.1f} epochs in {used} s, {row['images_per_second']:,.0f} images/s; {row['network'] or 'course'}"
        )
    ratios = [(1 - d["test_accuracy"]) / (1 - c["test_accuracy"]) for d, c in zip(default, course, strict=True)]
    plain = [(1 - d["test_accuracy_no_tta"]) / (1 - c["test_accuracy"]) for d, c in zip(default, course, strict=True)]
    print(f"  error of the default over the course's: {spread(ratios)} ({spread(plain)} without averaging)")


if __name__ == "__main__":
    main()
