"""BEGAN: an auto-encoder as discriminator, and a generator built like its decoder.

Berthelot, Schumm and Metz, "BEGAN: Boundary equilibrium generative adversarial networks", 2017, figure 1, in the form of the
internship notes, week 5 (their code is public as GoareguerLucas/GAN-SDPC): where the paper sub-samples by a strided convolution,
they widen by a 1x1 convolution and average 2x2 pixels; the generator ends in tanh, the auto-encoder in no activation.

Parameters at the defaults (32x32 RGB, 64 channels), each a test:
    began:   generator 489,539, discriminator 1,471,043 (encoder 981,504 + decoder 489,539)
    abegan:  generator 341,827, discriminator 1,323,331: the decoder and the generator have one convolution where began has two
    sabegan: the generator and the decoder are one network: 1,323,331 for both together, each shared parameter counted once
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import BEGAN_SIDE, doublings
from ganhpc.train.nets.gan_init import activation as find_activation
from ganhpc.train.nets.gan_init import positive, xavier_normal

_VARIANTS = ("began", "abegan", "sabegan")


class Encoder(nn.Module):
    """Images [N, channels, image_size, image_size] -> codes [N, latent_dim].

    A 3x3 convolution to b channels; per halving down to 8x8, two 3x3 convolutions, a 1x1 convolution to the next width
    (b, 2b, 3b, ...) and 2x2 averaging; two more 3x3 convolutions; a linear layer. An activation follows each 3x3.
    """

    def __init__(self, *, image_size: int, channels: int, latent_dim: int, base_channels: int, activation: str) -> None:
        super().__init__()
        act, steps = find_activation(activation), doublings(image_size, BEGAN_SIDE)
        width = base_channels
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), act()]
        for step in range(steps):
            wider = base_channels * (step + 1)
            layers += [*_convolutions(width, 2, activation), nn.Conv2d(width, wider, 1), nn.AvgPool2d(2)]
            width = wider
        self.shrink = nn.Sequential(*layers, *_convolutions(width, 2, activation), nn.Flatten())
        self.embed = nn.Linear(width * BEGAN_SIDE**2, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(self.shrink(images))


class Generator(nn.Module):
    """z, or codes, [N, latent_dim] -> images [N, channels, image_size, image_size]; in [-1, 1] where `tanh`.

    A linear layer to b x 8x8; per doubling, 3x3 convolutions of b channels with activations, and nearest-neighbour
    up-sampling; convolutions at full size; a 3x3 convolution to the image. began has two convolutions at each size, the
    simplified generation of abegan and sabegan one, and none at full size but the last.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        latent_dim: int = 64,
        base_channels: int = 64,
        activation: str = "elu",
        variant: str = "began",
        tanh: bool = True,
    ) -> None:
        super().__init__()
        _check(variant, channels=channels, latent_dim=latent_dim, base_channels=base_channels)
        self.latent_dim = latent_dim
        self.start = (base_channels, BEGAN_SIDE, BEGAN_SIDE)
        self.project = nn.Linear(latent_dim, base_channels * BEGAN_SIDE**2)
        deep = variant == "began"
        layers: list[nn.Module] = []
        for _ in range(doublings(image_size, BEGAN_SIDE)):
            layers += [
                *_convolutions(base_channels, 2 if deep else 1, activation),
                nn.UpsamplingNearest2d(scale_factor=2),
            ]
        layers += _convolutions(base_channels, 2 if deep else 0, activation)
        layers += [nn.Conv2d(base_channels, channels, 3, padding=1)] + [nn.Tanh()] * tanh
        self.grow = nn.Sequential(*layers)
        xavier_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.grow(self.project(z).view(-1, *self.start))


class Discriminator(nn.Module):
    """Images [N, channels, image_size, image_size] -> reconstructions of the same shape.

    `decoder` is the generator that sabegan shares with it; None builds one of its own, without tanh.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        latent_dim: int = 64,
        base_channels: int = 64,
        activation: str = "elu",
        variant: str = "began",
        decoder: Generator | None = None,
    ) -> None:
        super().__init__()
        _check(variant, channels=channels, latent_dim=latent_dim, base_channels=base_channels)
        if (variant == "sabegan") != (decoder is not None):
            raise ValueError("sabegan, and only sabegan, shares its generator as `decoder`")
        shape: dict[str, Any] = {"image_size": image_size, "channels": channels, "latent_dim": latent_dim}
        shape |= {"base_channels": base_channels, "activation": activation}
        self.encoder = Encoder(**shape)
        xavier_normal(self.encoder)
        self.decoder = decoder or Generator(**shape, variant=variant, tanh=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


def build(*, variant: str = "began", **shape: Any) -> tuple[Generator, Discriminator]:
    """The generator and the discriminator of a variant, both of one `shape`: their other arguments.

    sabegan's discriminator holds the very generator as its decoder.
    """
    generator = Generator(**shape, variant=variant)
    decoder = generator if variant == "sabegan" else None
    return generator, Discriminator(**shape, variant=variant, decoder=decoder)


def _convolutions(width: int, number: int, activation: str) -> list[nn.Module]:
    act = find_activation(activation)
    return [layer for _ in range(number) for layer in (nn.Conv2d(width, width, 3, padding=1), act())]


def _check(variant: str, **sizes: int) -> None:
    positive(**sizes)
    if variant not in _VARIANTS:
        raise UserError(f"--variant {variant!r}: choose one of {', '.join(_VARIANTS)}.")


EXPORTED: dict[str, type[nn.Module]] = {"began": Generator}
"""Generators that a run exports: see `ganhpc.train.gan.generator_io.kinds`."""
