"""A teacher inside the budget: a larger network that is trained first, and from whose scores the network then learns.

G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network", 2015. Both see the same augmented images. The teacher's
training is part of the run's time; its parameters are no part of the result.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.train.nets.compact import CompactNet
from ganhpc.train.tasks.stage import WHOLE, Stage

NAME = "teacher"


def stages(experiment: Any) -> tuple[Stage, ...]:
    """The stages of a classifier's training."""
    part = share(experiment)
    return (Stage(NAME, part), Stage("net", 1.0)) if part else WHOLE


def share(experiment: Any) -> float:
    """The teacher's share of the training (time, or epochs)."""
    options = experiment.distillation
    return 0.0 if options.teacher == "none" else float(options.teacher_share)


def network(experiment: Any, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The untrained teacher: a wide network of the compact family at full resolution; 1.97 M parameters by default, those of
    cifar10-airbench's 94 % (Jordan, 2024)."""
    torch.manual_seed(experiment.seed + 2**20)
    channels = experiment.distillation.teacher_channels
    return CompactNet(
        channels=channels,
        depths=(2,) * len(channels),
        stem=24,
        stem_kernel=2,
        stem_stride=1,
        input_shape=shape,
        classes=classes,
    )


def distilled(scores: Tensor, teachers: Tensor, plain: Tensor, *, temperature: float, weight: float) -> Tensor:
    """(1 - w) times the `plain` loss, plus w T^2 KL(softmax(teachers / T) || softmax(scores / T)), mean over the batch.

    `scores`, `teachers`: [B, classes]. T^2 keeps the gradients' size whatever T is (section 2 of the paper).
    """
    own, wanted = (F.log_softmax(s / temperature, 1) for s in (scores, teachers))
    divergence = F.kl_div(own, wanted, reduction="batchmean", log_target=True)
    return (1 - weight) * plain + weight * temperature**2 * divergence
