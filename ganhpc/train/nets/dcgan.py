"""DCGAN: the two pairs of networks that the project grew from.

- `W13Generator`, `W13Discriminator`: the Simpsons networks of the internship notes, week 13 (their code is public as
  GoareguerLucas/GAN-SDPC): LeakyReLU before BatchNorm in the discriminator, and a BatchNorm whose eps is a choice.
- `TutorialGenerator`, `TutorialDiscriminator`: the PyTorch DCGAN tutorial, after Radford, Metz and Chintala,
  "Unsupervised representation learning with deep convolutional generative adversarial networks", 2016, figure 1.

Parameters at the defaults (64x64 RGB), each a test:
    W13: generator 6,065,155, discriminator 2,791,105.   Tutorial: generator 3,576,704, discriminator 2,765,568.
Discriminators end in logits; the tutorial's sigmoid is part of its loss here, which is the same function and never overflows.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganhpc.runs.gan_sizes import doublings, multiple
from ganhpc.train.nets.gan_init import dcgan_normal, positive, xavier_normal


class W13Generator(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1].

    With S = image_size / 8 and b = base_channels: linear to 8b x S x S and LeakyReLU 0.2; three times transposed convolution
    4/2/1, BatchNorm, LeakyReLU 0.2 to 4b x 2S, 2b x 4S, b x 8S; convolution 3x3 and tanh.

    Args:
        image_size: pixels, a multiple of 8 from 16 on.
        bn_eps: added to the variance in BatchNorm; the notes found that 0.5 learns faster than their own 5e-5.
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 100,
        base_channels: int = 64,
        bn_eps: float = 5e-5,
    ) -> None:
        super().__init__()
        positive(channels=channels, latent_dim=latent_dim, base_channels=base_channels, bn_eps=bn_eps)
        self.latent_dim = latent_dim
        self.start = (8 * base_channels, multiple(image_size, 8), multiple(image_size, 8))
        self.project = nn.Linear(latent_dim, self.start[0] * self.start[1] ** 2)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2, inplace=True)]
        for width in (8 * base_channels, 4 * base_channels, 2 * base_channels):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
                nn.BatchNorm2d(width // 2, eps=bn_eps),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.grow = nn.Sequential(*layers, nn.Conv2d(base_channels, channels, 3, padding=1), nn.Tanh())
        xavier_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.grow(self.project(z).view(-1, *self.start))


class W13Discriminator(nn.Module):
    """Images [N, channels, image_size, image_size] -> logits [N].

    4x4 convolutions to b, 2b, 4b, 8b channels with strides 2, 2, 1 (padding 2), 2, each followed by LeakyReLU 0.2 and, but for
    the first, then BatchNorm: the sides are S/2, S/4, S/4 + 1, S/8. A linear layer ends it.
    """

    def __init__(
        self, *, image_size: int = 64, channels: int = 3, base_channels: int = 64, bn_eps: float = 5e-5
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, bn_eps=bn_eps)
        side = multiple(image_size, 8)
        layers: list[nn.Module] = [nn.Conv2d(channels, base_channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for factor, stride, padding in ((1, 2, 1), (2, 1, 2), (4, 2, 1)):
            width = factor * base_channels
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride, padding),
                nn.LeakyReLU(0.2, inplace=True),
                nn.BatchNorm2d(2 * width, eps=bn_eps),
            ]
        self.shrink = nn.Sequential(*layers, nn.Flatten())
        self.score = nn.Linear(8 * base_channels * side**2, 1)
        xavier_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.shrink(images)).squeeze(1)


class TutorialGenerator(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1].

    Transposed convolutions 4x4 without biases: z as a 1x1 map to 4x4, then doubling to image_size / 2 while the channels halve
    down to `base_channels` (8b, 4b, 2b, b at 64 pixels), each with BatchNorm and ReLU; the last one with tanh.
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 100,
        base_channels: int = 64,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        positive(channels=channels, latent_dim=latent_dim, base_channels=base_channels, bn_eps=bn_eps)
        self.latent_dim = latent_dim
        steps = doublings(image_size, 4)
        width = base_channels * 2 ** (steps - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, width, 4, 1, 0, bias=False), *_normed(width, bn_eps)]
        for _ in range(steps - 1):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), *_normed(width // 2, bn_eps)]
            width //= 2
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())
        dcgan_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


def _normed(width: int, bn_eps: float) -> list[nn.Module]:
    return [nn.BatchNorm2d(width, eps=bn_eps), nn.ReLU(inplace=True)]


class TutorialDiscriminator(nn.Module):
    """Images [N, channels, image_size, image_size] -> logits [N].

    Convolutions 4/2/1 without biases, the channels doubling from `base_channels`, with BatchNorm (but for the first) and
    LeakyReLU 0.2 until the map is 4x4; a 4x4 convolution ends it.
    """

    def __init__(
        self, *, image_size: int = 64, channels: int = 3, base_channels: int = 64, bn_eps: float = 1e-5
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, bn_eps=bn_eps)
        width = base_channels
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(doublings(image_size, 4) - 1):
            layers += [
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(2 * width, eps=bn_eps),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=False), nn.Flatten(0))
        dcgan_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


PRESETS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "w13": (W13Generator, W13Discriminator),
    "tutorial": (TutorialGenerator, TutorialDiscriminator),
}
"""(generator, discriminator) of each preset."""


EXPORTED: dict[str, type[nn.Module]] = {"dcgan-w13": W13Generator, "dcgan-tutorial": TutorialGenerator}
"""Generators that a run exports: see `ganhpc.train.gan.generator_io.kinds`."""
