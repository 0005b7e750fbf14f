"""The tutorial's DCGAN at 32 pixels, which the sizes of the fused networks are held against: counts of the notes on systems."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganhpc.train.nets.dcgan import TutorialDiscriminator, TutorialGenerator
from tests.train import convolution_counts


def counts(net: nn.Module, given: Tensor) -> tuple[int, int]:
    """(parameters, multiply-accumulate pairs of the convolutions for one image)."""
    return sum(p.numel() for p in net.parameters()), convolution_counts.pairs(net, given)


def test_the_tutorial_s_networks_at_32_pixels_have_the_stated_counts() -> None:
    assert counts(TutorialGenerator(image_size=32, base_channels=32), torch.zeros(1, 100)) == (370_624, 4_792_320)
    parameters, pairs = counts(TutorialDiscriminator(image_size=32, base_channels=32), torch.zeros(1, 3, 32, 32))
    assert (parameters, round(pairs, -5)) == (167_808, 4_600_000)
