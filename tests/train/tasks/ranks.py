"""Twenty steps of each GAN in this process, one of several or the only one: `python -m tests.train.tasks.ranks FOLDER CASE ..`.

Writes FOLDER/<case>-<rank>.pt: weights, k and the figures of the last step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ganhpc.train.runtime.distributed import Distributed
from tests.train.tasks.tiny import steps, task_of, tiny, weights

STEPS = 20
RATES = {"cyclegan": {"lr": 2e-5}, "biggan": {"lr": 2e-5}, "biggan-shared": {"lr": 2e-5}}
"""A case's own rates. The gradient of CycleGAN's absolute errors jumps, and Adam without a mean of gradients, as BigGAN has it, takes whole steps
where a gradient is next to nothing: at higher rates, a difference in the last digit grows fivefold with each step, in double precision just as
in single."""


def main(folder: Path, cases: list[str]) -> None:
    torch.set_num_threads(1)
    process_group = Distributed.start("cpu")
    for case in cases:
        task = task_of(tiny(case, seed=0, **RATES.get(case, {})), process_group)
        figures = steps(task, STEPS)
        kept = {
            "weights": weights(task),
            "k": getattr(task, "k", torch.zeros(())),
            "figures": figures[-1],
            "evaluation": task.evaluate(),
        }
        torch.save(kept, folder / f"{case}-{process_group.rank}.pt")
    process_group.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
