"""DenseNet-BC for small images: every layer reads the maps of all layers before it.

G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, "Densely connected convolutional networks", 2017: bottlenecks of four times the
growth, and transitions that halve the number of maps (sections 3 and 4.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError


class DenseLayer(nn.Module):
    """[B, in, H, W] -> [B, in + growth, H, W]: the input, then the maps that BatchNorm, ReLU, 1x1, BatchNorm, ReLU, 3x3 make of it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.activation(self.norm1(x)))
        return torch.cat([x, self.conv2(self.activation(self.norm2(y)))], 1)


class Transition(nn.Sequential):
    """[B, in, H, W] -> [B, in // 2, H / 2, W / 2]: BatchNorm, ReLU, 1x1, average pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)
        )


class DenseNet(nn.Module):
    """[B, C, H, W] images -> [B, classes] scores before softmax. 222,845 parameters at its defaults (52 layers), 88.9 M
    multiply-accumulates.

    Args:
        layers: convolutions and the linear layer, transitions included: 6 n + 4, n being the dense layers of each of three blocks.
        growth: maps that each dense layer adds (k of the paper).
        input_shape: channels, height, width of an image, at least 4 pixels a side.
        classes: number of classes.

    Raises:
        UserError: `layers` is not 6 n + 4.
    """

    def __init__(
        self,
        *,
        layers: int = 52,
        growth: int = 11,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        each, rest = divmod(layers - 4, 6)
        if rest or each < 1:
            raise UserError(
                f"--dense-layers {layers} is not six times a whole number, plus four: type {6 * max(1, each) + 4} or {6 * max(2, each + 1) + 4}."
            )
        channels = 2 * growth
        self.stem = nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for block in range(1, 4):
            for layer in range(1, each + 1):
                self.blocks.add_module(f"dense{block}_{layer}", DenseLayer(channels, growth))
                channels += growth
            if block < 3:
                self.blocks.add_module(f"transition{block}", Transition(channels))
                channels //= 2
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm(self.blocks(self.stem(x))))
        return self.head(self.flatten(self.pool(x)))
