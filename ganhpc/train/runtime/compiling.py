"""torch.compile where it pays: whether, and the sentence where it can't be had."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import cast

import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment

_CACHE = "TORCHINDUCTOR_CACHE_DIR"
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


def keep_to_own_cache() -> None:
    """Have torch keep what it compiles in a folder that only this user can write. Its own choice, /tmp/torchinductor_USER, can be made by anybody on a
    shared node, and libraries and pickles in it are loaded."""
    if os.environ.get(_CACHE):
        return
    folder = Path(tempfile.gettempdir()) / f"ganhpc-compiled-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix="ganhpc-compiled-"))
    os.environ[_CACHE] = str(folder)


def compiled(module: nn.Module) -> nn.Module:
    """`module` with the same weights and a compiled forward and backward."""
    keep_to_own_cache()
    return cast(nn.Module, torch.compile(module))
