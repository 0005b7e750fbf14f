"""The course's family of networks for small images: convolutions with pooling, then linear layers.

At its defaults, the network of the PyTorch tutorial "Training a classifier" (a LeNet-5 after LeCun et al., 1998):
62,006 parameters on 32x32 colour images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ganhpc.core.errors import UserError, nearest

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_PADDINGS = ("valid", "same")


class Inception(nn.Module):
    """Parallel branches whose maps are concatenated, after Szegedy et al., "Going deeper with convolutions", 2014.

    (B, C, H, W) -> (B, channels, H, W): 1x1, 3x3 and kernel x kernel convolutions, and a 3x3 maximum pooling followed by
    a 1x1 convolution; a quarter of the channels each, the first branches taking what is left over.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        a, b, c, d = (channels // 4 + (i < channels % 4) for i in range(4))
        self.point = nn.Conv2d(in_channels, a, 1, bias=bias)
        self.small = nn.Conv2d(in_channels, b, 3, padding=1, bias=bias)
        self.large = nn.Conv2d(in_channels, c, kernel, padding=kernel // 2, bias=bias)
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(in_channels, d, 1, bias=bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.point(x), self.small(x), self.large(x), self.pooled(x)], dim=1)


class CourseNet(nn.Module):
    """(B, *input_shape) images -> (B, classes) scores before softmax.

    Args:
        conv: output channels of the convolutions, each followed by the activation and 2x2 maximum pooling.
        kernel: side of the convolutions, in pixels.
        padding: `valid` crops the borders as the tutorial does, `same` keeps the size (odd kernels).
        extra_conv: output channels of further 3x3 convolutions after the last pooling, which keep the size.
        linear: units of the hidden linear layers.
        split_conv: which of `conv`, counted from 1, become a chain of 3x3 convolutions that crops as much: two for a
            5x5, three for a 7x7.
        inception: which of `conv`, counted from 1, become parallel branches (see `Inception`), which keep the size.
        dropout: probability that a hidden linear unit is dropped in training; 0 for no dropout layers.
        batch_norm: normalise after every convolution, which then needs no bias.
        activation: one of relu, elu, leaky_relu, gelu, silu, tanh.
        input_shape: channels, height, width of an image.
        classes: number of classes.

    Raises:
        UserError: a value is out of range, or the layers do not fit one another.
    """

    def __init__(
        self,
        *,
        conv: tuple[int, ...] = (6, 16),
        kernel: int = 5,
        padding: str = "valid",
        extra_conv: tuple[int, ...] = (),
        linear: tuple[int, ...] = (120, 84),
        split_conv: tuple[int, ...] = (),
        inception: tuple[int, ...] = (),
        dropout: float = 0.0,
        batch_norm: bool = False,
        activation: str = "relu",
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        _check_values(conv=conv, extra_conv=extra_conv, linear=linear, input_shape=input_shape)
        _check_choices(conv, kernel, padding, split_conv, inception)
        if activation not in ACTIVATIONS:
            raise UserError(f"unknown activation {activation!r}: {nearest(activation, ACTIVATIONS)}.")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout is {dropout}: give a probability from 0 to below 1, for example 0.5.")
        if classes < 1:
            raise UserError(f"classes is {classes}: give a whole number of at least 1.")
        self._activation = ACTIVATIONS[activation]
        self._batch_norm = batch_norm
        self._shape = input_shape
        self.features = nn.Sequential()
        for stage, channels in enumerate(conv, start=1):
            if stage in inception:
                self._add_inception(stage, channels, kernel)
            elif stage in split_conv:
                for part in range(kernel // 2):
                    self._add_conv(f"{stage}_{part + 1}", channels, 3, padding)
            else:
                self._add_conv(f"{stage}", channels, kernel, padding)
            self._add_pool(stage)
        for i, channels in enumerate(extra_conv, start=len(conv) + 1):
            self._add_conv(f"{i}", channels, 3, "same")
        self.flatten = nn.Flatten()
        self.classifier = self._linear_layers(linear, dropout, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, *input_shape) -> (B, classes)."""
        scores: torch.Tensor = self.classifier(self.flatten(self.features(x)))
        return scores

    def _add_conv(self, name: str, channels: int, kernel: int, padding: str) -> None:
        before, height, width = self._shape
        border = kernel // 2 if padding == "same" else 0
        height, width = height + 2 * border - kernel + 1, width + 2 * border - kernel + 1
        if min(height, width) < 1:
            raise UserError(
                f"convolution {name} of {kernel}x{kernel} does not fit its input of {self._shape[1]}x{self._shape[2]}: "
                f"choose a kernel of at most {min(self._shape[1:])}, fewer convolutions, or padding same."
            )
        layer = nn.Conv2d(before, channels, kernel, padding=border, bias=not self._batch_norm)
        self._add(name, "conv", layer, (channels, height, width))

    def _add_inception(self, stage: int, channels: int, kernel: int) -> None:
        before, height, width = self._shape
        layer = Inception(before, channels, kernel, bias=not self._batch_norm)
        self._add(f"{stage}", "inception", layer, (channels, height, width))

    def _add(self, name: str, kind: str, layer: nn.Module, shape: tuple[int, int, int]) -> None:
        self.features.add_module(f"{kind}{name}", layer)
        if self._batch_norm:
            self.features.add_module(f"norm{name}", nn.BatchNorm2d(shape[0]))
        self.features.add_module(f"act{name}", self._activation())
        self._shape = shape

    def _add_pool(self, stage: int) -> None:
        channels, height, width = self._shape
        if min(height, width) < 2:
            raise UserError(
                f"the pooling after convolution {stage} has an input of {height}x{width}, and needs 2x2: give at most "
                f"{stage - 1} sizes to conv (further ones to extra_conv), a smaller kernel, or padding same."
            )
        self.features.add_module(f"pool{stage}", nn.MaxPool2d(2))
        self._shape = channels, height // 2, width // 2

    def _linear_layers(self, sizes: tuple[int, ...], dropout: float, classes: int) -> nn.Sequential:
        channels, height, width = self._shape
        before, layers = channels * height * width, nn.Sequential()
        for i, units in enumerate(sizes, start=1):
            layers.add_module(f"fc{i}", nn.Linear(before, units))
            layers.add_module(f"act{i}", self._activation())
            if dropout:
                layers.add_module(f"drop{i}", nn.Dropout(dropout))
            before = units
        layers.add_module(f"fc{len(sizes) + 1}", nn.Linear(before, classes))
        return layers


def _check_values(**sizes: tuple[int, ...]) -> None:
    for name, values in sizes.items():
        wrong = next((value for value in values if value < 1), None)
        if wrong is not None:
            raise UserError(f"{name} contains {wrong}: give whole numbers of at least 1.")


def _check_choices(
    conv: tuple[int, ...], kernel: int, padding: str, split_conv: tuple[int, ...], inception: tuple[int, ...]
) -> None:
    if kernel < 1:
        raise UserError(f"kernel is {kernel}: give a whole number of at least 1, for example 5.")
    if padding not in _PADDINGS:
        raise UserError(f"unknown padding {padding!r}: {nearest(padding, _PADDINGS)}.")
    for option, used, least in (
        ("padding same", padding == "same", 1),
        ("split_conv", split_conv, 5),
        ("inception", inception, 3),
    ):
        if used and (kernel % 2 == 0 or kernel < least):
            raise UserError(f"{option} needs an odd kernel of at least {least}, not {kernel}: choose 5 or 7.")
    for option, places in (("split_conv", split_conv), ("inception", inception)):
        wrong = next((place for place in places if not 1 <= place <= len(conv)), None)
        if wrong is not None:
            raise UserError(f"{option} names convolution {wrong}, but conv has {len(conv)}: count them from 1.")
    both = set(split_conv) & set(inception)
    if both:
        raise UserError(f"convolution {min(both)} is in split_conv and in inception: leave it in one of them.")
    narrow = next((place for place in inception if conv[place - 1] < 4), None)
    if narrow is not None:
        raise UserError(
            f"inception has four branches, but convolution {narrow} has {conv[narrow - 1]} channels: give it 4 or more."
        )
