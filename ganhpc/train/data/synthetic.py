"""A small made data set for tests and a first try: ten classes of gratings in noise, 32x32 in colour. No file is needed."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ganhpc.datasets import batch_sizes
from ganhpc.datasets.types import DataRequest, ImageData

SHAPE = (3, 32, 32)
CLASSES = tuple(f"grating-{k}" for k in range(10))
TEST = 500
_CHUNK = 500  # images made at a time: bounds the memory
NOISE = 0.55
"""Standard deviation of the noise, in units of the grating's amplitude times two: enough that no net gets all of them right."""


def load(request: DataRequest) -> ImageData:
    """2,000 training images (or `request.train_images`) and 500 test images. The same on every machine, whatever the run's seed.

    The class sets a grating's direction and colour; phase, wavelength and contrast vary, and noise covers them. Raises
    UserError where the number asked for is out of range.
    """
    n = batch_sizes.number("synthetic", request.train_images)
    assert n is not None
    images, labels = _make(n, seed=1)
    test_images, test_labels = _make(TEST, seed=2)
    return ImageData("synthetic", images, labels, test_images, test_labels, CLASSES, note="made on the spot")


def _make(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """`n` images uint8 [n, 3, 32, 32] and labels [n], each class as often as any other (to within one).

    Reckoned in float64: vector units differ in the last bit of a sine or logarithm, and in float32 that shows in some bytes.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(n) % len(CLASSES))[torch.randperm(n, generator=generator)]
    traits = torch.rand(3, n, generator=generator).double()
    angle = labels.double() * (math.pi / len(CLASSES)) + 0.12 * _normal(n, generator)
    images = torch.empty(n, *SHAPE, dtype=torch.uint8)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        clean = _gratings(labels[part], angle[part], traits[:, part])
        noise = _normal(clean.numel(), generator).view_as(clean)
        images[part] = clean.add_(noise, alpha=NOISE / 2).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return images, labels


def _gratings(labels: Tensor, angle: Tensor, traits: Tensor) -> Tensor:
    """float64 [n, 3, 32, 32] around 0.5, of labels [n], angles [n] in radians, and phase, wavelength and contrast [3, n] from 0 to 1."""
    phase, wavelength, contrast = traits[:, :, None, None]
    y, x = torch.meshgrid(*(torch.arange(side).double() for side in SHAPE[1:]), indexing="ij")
    along = x * torch.cos(angle)[:, None, None] + y * torch.sin(angle)[:, None, None]
    wave = torch.sin(2 * math.pi * (along / (5 + 6 * wavelength) + phase)) * (0.3 + 0.7 * contrast)
    hue = torch.cos(labels.double()[:, None] * 1.9 + torch.tensor([0, 2.1, 4.2], dtype=torch.float64))
    return 0.5 + 0.25 * wave[:, None] * (1 + 0.5 * hue[:, :, None, None])


def _normal(n: int, generator: Generator) -> Tensor:
    """`n` normal numbers, float64 [n], out of float32 uniform ones, whose bits are the same on every machine.

    Box and Muller, 1958, in blocks of 16 as `torch.randn` has them: its numbers, but for their last bits, where n is at least 16.
    """

    def transform(uniform: Tensor) -> Tensor:
        first, second = uniform.double().view(-1, 2, 8).unbind(1)
        radius, turn = torch.sqrt(-2 * torch.log1p(-first)), 2 * math.pi * second
        return torch.stack([radius * torch.cos(turn), radius * torch.sin(turn)], 1).view(-1)

    whole = n // 16 * 16
    uniform = torch.rand(n, generator=generator)
    if n == whole:
        return transform(uniform)
    last = transform(torch.rand(16, generator=generator))
    return torch.cat([transform(uniform[:whole])[: max(n - 16, 0)], last])[-n:]
