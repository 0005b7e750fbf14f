"""Scores averaged over variants of an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ganhpc.train.tasks import tta


class Corner(nn.Module):
    """Scores that are the pixel in the upper left corner, and how many images were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += 1
        return images[:, :, 0, 0]


IMAGE = torch.arange(16.0).view(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", 0.0),
        ("flip", (0 + 3) / 2),
        # Down and right: the corner shows the mirrored border, 5 and (from the right) 6; up and left: 5 and 6 of the image itself.
        ("shift", (1.5 + ((5 + 6) / 4 + (5 + 6) / 4)) / 2),
    ],
)
def test_the_mean_is_over_the_variants_that_are_named(how: str, expected: float) -> None:
    net = Corner()
    plain, averaged = tta.scores(net, IMAGE, how)
    assert plain.item() == 0.0
    assert averaged.item() == pytest.approx(expected)
    assert net.seen == tta.PASSES[how]


def test_weights_add_up_to_one() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 3)

    for how in tta.PASSES:
        torch.testing.assert_close(tta.scores(Constant(), IMAGE, how)[1], torch.ones(1, 3))
