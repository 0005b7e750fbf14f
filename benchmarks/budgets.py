"""Are budgets of time kept, and used? Random budgets on made data.

    python -m benchmarks.budgets [--n 20] [--shortest 20] [--longest 180]

For each: the share of the budget that was used, and by how much it was exceeded, in steps and evaluations.
"""

from __future__ import annotations

import random
import tempfile

import click

from benchmarks.common import launch, machine, spread


@click.command()
@click.option("--n", default=20)
@click.option("--shortest", default=20.0, help="seconds")
@click.option("--longest", default=180.0, help="seconds")
@click.option("--seed", default=0)
def main(n: int, shortest: float, longest: float, seed: int) -> None:
    """Train n times, print each budget and what became of it."""
    rng = random.Random(seed)
    shares, late = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for k in range(n):
            budget = round(rng.uniform(shortest, longest), 1)
            preset = rng.choice(["default", "course"])
            words = ["--data", "synthetic", "--preset", preset, "--seed", str(k), "--runs", folder]
            (row,) = launch("cifar", "--time", f"{budget}s", *words)
            step = (row["train_seconds"] - row["seconds_by_phase"]["evaluation"]) / max(row["steps"], 1)
            evaluation = row["seconds_by_phase"]["evaluation"] / (row["epochs"] + 2)
            over = row["train_seconds"] - budget
            shares.append(row["train_seconds"] / budget)
            late += over > step + evaluation
            print(
                f"{preset:<8} {budget:6.1f} s: used {shares[-1]:.2%}, over by {max(0.0, over):.3f} s (a step {step:.3f} s, an evaluation {evaluation:.3f} s)",
                flush=True,
            )
    print(
        f"n = {n}: used {spread([100 * s for s in shares], '.2f')} % of the budget, least {min(shares):.2%}, most {max(shares):.2%};"
    )
    print(f"exceeded by more than a step and an evaluation: {late}; {machine()}")


if __name__ == "__main__":
    main()
