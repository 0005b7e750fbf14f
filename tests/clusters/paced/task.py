"""A classifier whose steps sleep as long as PACED_STEP_SECONDS says (for tests)."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor

from ganhpc.runs.experiment import Experiment
from ganhpc.train.tasks import network_choice
from ganhpc.train.tasks.classifier import Classifier, networks
from ganhpc.train.tasks.task import Context, Task

__all__ = ["build", "networks"]
SECONDS = float(os.environ.get("PACED_STEP_SECONDS", "0"))


class Paced(Classifier):
    """See the module."""

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        time.sleep(SECONDS)
        return super().train_step(batch)


def build(experiment: Experiment, context: Context) -> Task:
    network_choice.settle(experiment, context)
    torch.manual_seed(experiment.seed)
    net = networks(experiment, context.data.shape, len(context.data.classes), context.choices)["net"]
    return Paced(experiment, context, net)
