"""CycleGAN: a generator that translates images by residual blocks, and a discriminator that judges overlapping patches.

Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", 2017, as its authors' code builds both.
Instance normalisation has neither parameters nor running figures, so every convolution has a bias and each image is on its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import check_patches, multiple
from ganhpc.train.nets.gan_init import positive

_UPSAMPLINGS = ("transposed", "resize")


class _Residual(nn.Module):
    """x plus two convolutions 3x3 of it, without an activation after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> images of the same shape in [-1, 1]; sides are multiples of 4.

    A convolution 7x7 to f channels; two 3x3/2 to 2f and 4f; `blocks` residual blocks; back to 2f and f by transposed convolutions 3x3/2,
    or (`resize`) by doubling each pixel before a convolution 3x3, which leaves no checkerboards; a convolution 7x7, tanh. Instance
    normalisation and ReLU after all but the last one.

    Args:
        image_size: side of the images it is trained on. init_gain: deviation of the initial weights.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        channels: int = 3,
        base_channels: int = 64,
        blocks: int = 9,
        upsampling: str = "transposed",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, blocks=blocks, init_gain=init_gain)
        multiple(image_size, 4)
        if upsampling not in _UPSAMPLINGS:
            raise UserError(f"--upsampling {upsampling!r}: choose one of {', '.join(_UPSAMPLINGS)}.")
        self.image_shape = (channels, image_size, image_size)
        f = base_channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, f, 7), nn.InstanceNorm2d(f), nn.ReLU()]
        for width in (f, 2 * f):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [_Residual(4 * f) for _ in range(blocks)]
        for width in (4 * f, 2 * f):
            layers += [*_doubling(width, width // 2, upsampling), nn.InstanceNorm2d(width // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(f, channels, 7), nn.Tanh())
        _normal(self, init_gain)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def _doubling(width: int, narrower: int, upsampling: str) -> list[nn.Module]:
    if upsampling == "resize":
        return [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(width, narrower, 3)]
    return [nn.ConvTranspose2d(width, narrower, 3, 2, 1, output_padding=1)]


class Discriminator(nn.Module):
    """Images [N, channels, H, W] -> a map [N, 1, h, w] of scores, each of a patch: a PatchGAN of `layers` strided convolutions.

    Convolutions 4x4/2 to f, 2f, 4f, .. channels (8f at most), `layers` of them; 4x4/1 to twice as many; 4x4/1 to one. LeakyReLU 0.2 after
    all but the last one, instance normalisation before it but for the first.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        channels: int = 3,
        base_channels: int = 64,
        layers: int = 3,
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, layers=layers, init_gain=init_gain)
        check_patches(image_size, layers)
        f = base_channels
        parts: list[nn.Module] = [nn.Conv2d(channels, f, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = f
        for step in range(1, layers + 1):
            wider = f * min(2**step, 8)
            parts += [
                nn.Conv2d(width, wider, 4, 2 if step < layers else 1, 1),
                nn.InstanceNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        self.layers = nn.Sequential(*parts, nn.Conv2d(width, 1, 4, 1, 1))
        _normal(self, init_gain)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def receptive_field(layers: int) -> int:
    """The side in pixels of the patch that one score judges."""
    field = 1
    for stride in (1, 1, *[2] * layers):
        field = (field - 1) * stride + 4
    return field


@torch.no_grad()
def _normal(net: nn.Module, gain: float) -> None:
    """Weights N(0, gain) (deviation), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, gain)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


EXPORTED: dict[str, type[nn.Module]] = {"cyclegan": Generator}
"""Generators that a run exports: see `train.gan.generator_io.kinds`."""
