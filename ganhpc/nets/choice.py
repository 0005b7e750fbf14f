"""Which network a classifier trains: what the definition names, or one that fits both budgets."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ganhpc.nets.compact import CompactNet
from ganhpc.nets.course import CourseNet

COURSE_FIELDS = (
    "conv", "kernel", "padding", "linear", "extra_conv", "split_conv", "inception", "dropout", "batch_norm", "activation",
)  # fmt: skip


def make(experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any]) -> nn.Module:
    """The untrained network of `experiment` for images of `shape` (channels, height, width)."""
    if experiment.net == "course":
        fields = {name: getattr(experiment, name) for name in COURSE_FIELDS}
        return CourseNet(**fields, input_shape=shape, classes=classes)
    del choices
    return CompactNet(input_shape=shape, classes=classes)
