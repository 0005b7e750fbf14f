"""The tutorial's DCGAN at 32 pixels, which the sizes of the fused networks are held against: counts of the notes on systems."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganhpc.train.nets.dcgan import TutorialDiscriminator, TutorialGenerator


def counts(net: nn.Module, given: Tensor) -> tuple[int, int]:
    """(parameters, multiply-accumulate pairs of the convolutions for one image)."""
    total = 0

    def count(module: Any, given: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        image = given[0] if isinstance(module, nn.ConvTranspose2d) else out
        total += module.weight.numel() * image.shape[-1] * image.shape[-2]

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(given)
    return sum(p.numel() for p in net.parameters()), total


def test_the_tutorial_s_networks_at_32_pixels_have_the_stated_counts() -> None:
    assert counts(TutorialGenerator(image_size=32, base_channels=32), torch.zeros(1, 100)) == (370_624, 4_792_320)
    parameters, pairs = counts(TutorialDiscriminator(image_size=32, base_channels=32), torch.zeros(1, 3, 32, 32))
    assert (parameters, round(pairs, -5)) == (167_808, 4_600_000)
