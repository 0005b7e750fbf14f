"""The networks of my-name."""

from __future__ import annotations

from torch import Tensor, nn

from ganhpc.core.errors import UserError


def _doublings(image_size: int) -> int:
    """The number of times that a side of 4 is doubled to reach `image_size`. Raises UserError where it never is."""
    if image_size < 8 or image_size & (image_size - 1):
        raise UserError(f"--image-size {image_size}: the networks of my-name take a power of two from 8 on: try 32.")
    return image_size.bit_length() - 3


class MyNameGenerator(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1], by transposed convolutions from a map 4x4."""

    def __init__(self, *, image_size: int, channels: int, latent_dim: int, base_channels: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        width, layers = base_channels, [nn.ConvTranspose2d(latent_dim, base_channels, 4, 1, 0), *_normed(base_channels)]
        for _ in range(_doublings(image_size) - 1):
            out = max(width // 2, 4)
            layers += [nn.ConvTranspose2d(width, out, 4, 2, 1), *_normed(out)]
            width = out
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


def _normed(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


class MyNameDiscriminator(nn.Module):
    """Images [N, channels, image_size, image_size] -> logits [N], by convolutions of stride 2 down to a map 4x4."""

    def __init__(self, *, image_size: int, channels: int, base_channels: int) -> None:
        super().__init__()
        steps = _doublings(image_size)
        widths = [max(base_channels >> (steps - 1 - k), 4) for k in range(steps)]
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4), nn.Flatten(0))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


EXPORTED: dict[str, type[nn.Module]] = {"my-name": MyNameGenerator}
"""Generators that a run exports, by the name in their definition: `launch.py sample` builds them again."""
