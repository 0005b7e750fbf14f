"""Multiply-accumulate pairs of convolutions from shapes alone, apart from the counters that they are held against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def pairs(net: nn.Module, given: Tensor) -> int:
    """Multiply-accumulate pairs of the convolutions of `net` on `given`, of one image."""
    total = 0

    def count(module: Any, given: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        places = given[0] if isinstance(module, nn.ConvTranspose2d) else out
        total += module.weight.numel() * places.shape[-1] * places.shape[-2]

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(given)
    return total
