"""Structural similarity of images: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", 2004, equation 13."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def ssim(images: Tensor, others: Tensor, levels: float) -> float:
    """The mean over pixels, channels and images [N, C, H, W], whose values lie `levels` apart at most; windows of 11 pixels, sigma 1.5."""
    at = torch.arange(_WINDOW, dtype=images.dtype, device=images.device) - _WINDOW // 2
    line = torch.exp(-at.square() / (2 * _SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line[None, :])[None, None]

    def around(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], window)

    a, b = around(images), around(others)
    var_a, var_b = around(images.square()) - a.square(), around(others.square()) - b.square()
    both = around(images * others) - a * b
    c1, c2 = (_K1 * levels) ** 2, (_K2 * levels) ** 2
    found = (2 * a * b + c1) * (2 * both + c2) / ((a.square() + b.square() + c1) * (var_a + var_b + c2))
    return float(found.mean())
