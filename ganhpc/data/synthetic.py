"""A small made data set for tests and a first try: ten classes of gratings in noise, 32x32 in colour. No file is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganhpc.data.base import DataRequest, ImageData
from ganhpc.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SHAPE = (3, 32, 32)
CLASSES = tuple(f"grating-{k}" for k in range(10))
TRAIN, TEST, MOST = 2000, 500, 100_000
NOISE = 0.55
"""Standard deviation of the noise, in units of the grating's amplitude times two: enough that no net gets all of them right."""


def load(request: DataRequest) -> ImageData:
    """2,000 training images (or `request.train_images`) and 500 test images. The same on every machine.

    The class sets a grating's direction and colour; phase, wavelength and contrast vary, and noise covers them. Raises
    UserError where the number asked for is out of range.
    """
    n = TRAIN if request.train_images is None else request.train_images
    if not 10 <= n <= MOST:
        raise UserError(
            f"--train-images {n} is out of range: the made data set has from 10 to {MOST:,} training images."
        )
    images, labels = _make(n, seed=1)
    test_images, test_labels = _make(TEST, seed=2)
    return ImageData("synthetic", images, labels, test_images, test_labels, CLASSES, note="made on the spot")


def _make(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """`n` images uint8 [n, 3, 32, 32] and labels [n], each class as often as any other (to within one)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(n) % len(CLASSES))[torch.randperm(n, generator=generator)]
    phase, wavelength, contrast = torch.rand(3, n, 1, 1, generator=generator)
    angle = (labels * math.pi / len(CLASSES))[:, None, None] + 0.12 * torch.randn(n, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    along = x * torch.cos(angle) + y * torch.sin(angle)
    wave = torch.sin(2 * math.pi * (along / (5 + 6 * wavelength) + phase)) * (0.3 + 0.7 * contrast)
    hue = torch.stack([torch.cos(labels * 1.9), torch.cos(labels * 1.9 + 2.1), torch.cos(labels * 1.9 + 4.2)], 1)
    clean = 0.5 + 0.25 * wave[:, None] * (1 + 0.5 * hue[:, :, None, None])
    noisy = clean + NOISE / 2 * torch.randn(n, *SHAPE, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8), labels
