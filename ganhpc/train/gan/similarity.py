"""Similarity of images: the structural one, the mean distance of two, and the diversity of generated ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_SAME = 1e-6
"""Real images that differ by less, where a gray level is 1/127.5, are one image."""


def ssim(images: Tensor, others: Tensor, levels: float) -> float:
    """The mean structural similarity over pixels, channels and images [N, C, H, W], whose values lie `levels` apart at most; windows of 11
    pixels, sigma 1.5. Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", 2004, equation 13."""
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


def pairwise(images: Tensor, most: int) -> float | None:
    """The mean distance of two of the first `most` images, as the root of the mean squared difference of a value; None of one."""
    flat = images[:most].float().flatten(1)
    if len(flat) < 2:
        return None
    return float(torch.cdist(flat, flat).sum() / (len(flat) * (len(flat) - 1)) / flat.shape[1] ** 0.5)


def share(made: float | None, real: float | None) -> float | None:
    """Distance of generated images over that of real ones. None where one of them is not known, as of a single image, or where real
    images do not differ: no number tells anything of a generator there."""
    return None if made is None or real is None or real < _SAME else made / real
