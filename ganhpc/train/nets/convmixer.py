"""ConvMixer for small images: the same two convolutions over and over at full resolution.

A. Trockman and J. Z. Kolter, "Patches are all you need?", 2022. Spatial mixing is depthwise and so nearly free of parameters:
almost the whole budget goes into pointwise convolutions, each used at every pixel.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganhpc.core.errors import UserError


class MixerBlock(nn.Module):
    """[B, d, H, W] -> [B, d, H, W]: depthwise k x k around which the input is added, then pointwise; GELU and BatchNorm after each
    (section 2 of the paper, equations 2 and 3)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm1 = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self.activation(self.depthwise(x)))
        return self.norm2(self.activation(self.pointwise(x)))


class ConvMixer(nn.Module):
    """[B, C, H, W] images -> [B, classes] scores before softmax. 246,282 parameters at its defaults, 241 M multiply-accumulates.

    Args:
        width: channels of every layer (d of the paper).
        layers: number of blocks.
        kernel: side of the depthwise convolutions in pixels, odd.
        patch: side and stride of the first convolution in pixels; 1 keeps the full resolution.
        input_shape: channels, height, width of an image.
        classes: number of classes.

    Raises:
        UserError: the kernel is even, or a patch is larger than the image.
    """

    def __init__(
        self,
        *,
        width: int = 128,
        layers: int = 12,
        kernel: int = 5,
        patch: int = 1,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError(
                f"--mixer-kernel {kernel} is even, and the maps must keep their size: type an odd number such as 5."
            )
        if patch > min(input_shape[1:]):
            raise UserError(
                f"--patch {patch} is larger than the images of {input_shape[2]}x{input_shape[1]} pixels: type less."
            )
        self.stem = nn.Conv2d(input_shape[0], width, patch, patch)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.GELU()
        self.blocks = nn.Sequential(*(MixerBlock(width, kernel) for _ in range(layers)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.norm(self.activation(self.stem(x))))
        return self.head(self.flatten(self.pool(x)))
