"""Compact networks for small images: a frozen whitening stem, then few 3x3 convolutions at low resolution.

After K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024 (cifar10-airbench), with the channels cut to fit a budget
of parameters, and the stem's stride to fit a slow device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "hardswish": nn.Hardswish}


class ConvBlock(nn.Module):
    """[B, in, H, W] -> [B, out, H, W]: 3x3 convolution, BatchNorm without a trained scale, activation.

    With `pooled`, 2x2 maximum pooling follows the convolution: [B, out, H/2, W/2].
    """

    def __init__(self, channels_in: int, channels: int, activation: str = "silu", *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        # The first filters pass their input on, so that a deep stack starts as a shallow one.
        nn.init.dirac_(self.conv.weight.data[:channels_in])
        self.pool = nn.MaxPool2d(2) if pooled else None
        self.norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.3)
        self.norm.weight.requires_grad_(False)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.pool is not None:
            x = self.pool(x)
        return self.activation(self.norm(x))


class CompactNet(nn.Module):
    """[B, C, H, W] images -> [B, classes] scores before softmax.

    Args:
        channels: output channels of each stage; 2x2 maximum pooling stands between stages.
        depths: convolutions in each stage.
        stem: filters of the first layer, at most 2 C k k; they whiten patches of the training images, and only their bias is trained.
        stem_kernel, stem_stride: side and stride of the first layer, in pixels.
        pooling: what the pooling follows: "activation", or the last "convolution" of a stage, so that BatchNorm and activation work on a
            quarter of the pixels (as in cifar10-airbench).
        nonlinearity: "silu" or "hardswish" (Howard et al., 2019), which takes no exponentials.
        scale: factor of the scores, which keeps the first loss small under a high learning rate.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 64, 104),
        depths: tuple[int, ...] = (1, 2, 2),
        stem: int = 32,
        stem_kernel: int = 3,
        stem_stride: int = 2,
        pooling: str = "activation",
        nonlinearity: str = "silu",
        scale: float = 1 / 9,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        border = (stem_kernel - stem_stride + 1) // 2 if stem_stride > 1 else stem_kernel // 2
        self.stem = nn.Conv2d(input_shape[0], stem, stem_kernel, stem_stride, border)
        self.stem.weight.requires_grad_(False)
        self.stem_activation = ACTIVATIONS[nonlinearity]()
        self.stages = nn.Sequential()
        before = stem
        for number, (width, depth) in enumerate(zip(channels, depths, strict=True), start=1):
            if number > 1 and pooling == "activation":
                self.stages.add_module(f"pool{number - 1}", nn.MaxPool2d(2))
            for layer in range(1, depth + 1):
                pooled = pooling == "convolution" and layer == depth and number < len(channels)
                block = ConvBlock(before, width, nonlinearity, pooled=pooled)
                self.stages.add_module(f"conv{number}_{layer}", block)
                before = width
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem_activation(self.stem(x)))
        return self.head(self.flatten(self.pool(x))) * self.scale

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Fit the stem to `images` [N, C, H, W], normalised as in training: N of a thousand or two is plenty."""
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
