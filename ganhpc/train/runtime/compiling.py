"""torch.compile where it pays: whether, and the sentence where it can't be had."""

from __future__ import annotations

import shutil
from typing import cast

import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment

_PAYS_FROM = 600.0
"""Seconds of training from which `auto` compiles on a GPU: it costs a minute or so, which a short run would not win back."""


def wanted(experiment: Experiment, device: torch.device, possible: bool) -> bool:
    """True if the training step of `experiment` is compiled. `possible` is the task's word.

    Raises UserError where `--compile on` can't be followed.
    """
    asked = experiment.compile
    if asked == "off":
        return False
    compiler = device.type == "cuda" or shutil.which("g++") or shutil.which("clang++")
    if asked == "on":
        if not possible:
            raise UserError(
                f"--compile on: the task {experiment.TASK} differentiates twice, or calls parts of its networks; type --compile off."
            )
        if not compiler:
            raise UserError(
                "--compile on needs a C++ compiler on this machine (g++), and there is none: install one, or type --compile off."
            )
        return True
    seconds = experiment.budget.time or 0.0
    return possible and device.type == "cuda" and seconds >= _PAYS_FROM


def compiled(module: nn.Module) -> nn.Module:
    """`module` with the same weights and a compiled forward and backward."""
    return cast(nn.Module, torch.compile(module))
