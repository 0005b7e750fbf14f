"""Compact networks for small images: a frozen whitening stem and few, wide convolutions at low resolution.

After K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024 (cifar10-airbench), with the channels cut to fit a budget
of parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """[B, in, H, W] -> [B, out, H/pool, W/pool]: 3x3 convolution, maximum pooling, BatchNorm without scale, activation."""

    def __init__(self, channels_in: int, channels: int, pool: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        # The first filters pass their input on, so that a deep stack starts as a shallow one.
        nn.init.dirac_(self.conv.weight.data[:channels_in])
        self.pool = nn.MaxPool2d(pool) if pool > 1 else nn.Identity()
        self.norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.3)
        self.norm.weight.requires_grad_(False)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.pool(self.conv(x))))


class CompactNet(nn.Module):
    """[B, C, H, W] images -> [B, classes] scores before softmax.

    Args:
        stem: filters of the first layer, at most 2 C k k; they whiten patches of the training images and are not trained.
        stem_kernel, stem_stride: side and stride of the first layer, in pixels.
        channels: output channels of the 3x3 convolutions.
        pools: which of them, counted from 1, halve the resolution.
        scale: factor of the scores, which keeps the first loss small under a high learning rate.
    """

    def __init__(
        self,
        *,
        stem: int = 48,
        stem_kernel: int = 4,
        stem_stride: int = 2,
        channels: tuple[int, ...] = (40, 80, 80, 96, 96),
        pools: tuple[int, ...] = (2, 4),
        scale: float = 1 / 9,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        border = (stem_kernel - stem_stride + 1) // 2
        self.stem = nn.Conv2d(input_shape[0], stem, stem_kernel, stem_stride, border)
        self.stem.weight.requires_grad_(False)
        self.stem_activation = nn.ReLU()
        widths = (stem, *channels)
        blocks = (ConvBlock(a, b, 2 if i in pools else 1, nn.ReLU) for i, (a, b) in enumerate(zip(widths, channels, strict=False), 1))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(channels[-1], classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem_activation(self.stem(x)))
        return self.head(self.flatten(self.pool(x))) * self.scale

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Fit the stem to `images` [N, C, H, W], normalised as in training: N of a few thousand is plenty."""
        self.stem.weight.copy_(whitening_filters(images, self.stem.kernel_size[0], len(self.stem.weight)))
        assert self.stem.bias is not None
        self.stem.bias.zero_()


def whitening_filters(images: Tensor, kernel: int, n: int, eps: float = 5e-4) -> Tensor:
    """Filters [n, C, k, k] that whiten the patches of `images` [N, C, H, W]: principal directions over the root of their variance,
    the largest first; then the same with the sign changed (cifar10-airbench, section 3.2)."""
    channels = images.shape[1]
    patches = F.unfold(images, kernel).transpose(1, 2).reshape(-1, channels * kernel * kernel)
    variances, directions = torch.linalg.eigh((patches.T @ patches / len(patches)).double())
    filters = (directions / (variances + eps).sqrt()).T.flip(0).float().view(-1, channels, kernel, kernel)
    return torch.cat([filters, -filters])[:n]
