"""Residual networks whose filters are used several times: few parameters, many operations.

A residual block is applied over and over with the same convolutions, and with a BatchNorm of its own each time, since the statistics
differ from one iteration to the next. After Q. Liao and T. Poggio, "Bridging the gaps between residual learning, recurrent neural
networks and visual cortex", 2016 (section 4: a normalisation for each time step); the block is that of K. He et al., "Identity mappings in deep
residual networks", 2016 (figure 4e).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.train.nets.compact import whitening_filters


class RecurrentBlock(nn.Module):
    """[B, c, H, W] -> [B, c, H, W]: x + conv(act(norm(conv(act(norm(x)))))), `iterations` times with the same two 3x3 convolutions."""

    def __init__(self, channels: int, iterations: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms1 = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(iterations))
        self.norms2 = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(iterations))
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        for norm1, norm2 in zip(self.norms1, self.norms2, strict=True):
            x = x + self.conv2(self.activation(norm2(self.conv1(self.activation(norm1(x))))))
        return x


class RecurrentNet(nn.Module):
    """[B, C, H, W] images -> [B, classes] scores before softmax.

    A frozen whitening stem (see `compact`), then stages: a 1x1 convolution to the stage's width, `blocks` residual blocks, each applied
    `iterations` times; 2x2 average pooling between stages; BatchNorm, SiLU, global average, linear.

    Args:
        channels: width of each stage, the first at full resolution.
        blocks: residual blocks in each stage, each with filters of its own.
        iterations: how often each block is applied, one number for each stage; 1 shares nothing.
        stem: filters of the 3x3 first layer, at most 54 for colour images.
        input_shape: channels, height, width of an image.
        classes: number of classes.

    Raises:
        UserError: the numbers of stages differ, or the image is too small for them.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (48, 64, 80),
        blocks: tuple[int, ...] = (1, 1, 1),
        iterations: tuple[int, ...] = (3, 3, 3),
        stem: int = 32,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        if not len(channels) == len(blocks) == len(iterations):
            raise UserError(
                f"--widths {_words(channels)}, --blocks {_words(blocks)} and --iterations {_words(iterations)} must be equally long: "
                "one number each for every stage."
            )
        if min(input_shape[1:]) < 2 ** (len(channels) - 1):
            raise UserError(
                f"{len(channels)} stages halve an image of {input_shape[2]}x{input_shape[1]} pixels too often: give fewer --widths."
            )
        self.stem = nn.Conv2d(input_shape[0], stem, 3, padding=1)
        self.stem.weight.requires_grad_(False)
        self.stages = nn.Sequential()
        before = stem
        for number, (width, depth, times) in enumerate(zip(channels, blocks, iterations, strict=True), start=1):
            if number > 1:
                self.stages.add_module(f"pool{number - 1}", nn.AvgPool2d(2))
            self.stages.add_module(f"enter{number}", nn.Conv2d(before, width, 1, bias=False))
            for block in range(1, depth + 1):
                self.stages.add_module(f"block{number}_{block}", RecurrentBlock(width, times))
            before = width
        self.norm = nn.BatchNorm2d(before)
        self.activation = nn.SiLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm(self.stages(self.stem(x))))
        return self.head(self.flatten(self.pool(x)))

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Fit the stem to `images` [N, C, H, W], normalised as in training."""
        self.stem.weight.copy_(whitening_filters(images, self.stem.kernel_size[0], len(self.stem.weight)))
        assert self.stem.bias is not None
        self.stem.bias.zero_()


def _words(sizes: tuple[int, ...]) -> str:
    return ",".join(map(str, sizes))
