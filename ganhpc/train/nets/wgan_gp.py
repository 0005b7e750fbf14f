"""WGAN-GP: the generator and the critic that draw coloured lines.

Gulrajani et al., "Improved training of Wasserstein GANs", 2017, in the form of the course "Models and words" (lines, 128x128), which
takes its Keras networks from David Foster, "Generative deep learning", 2019. "same" padding is Keras's: a convolution of kernel 3
and stride 2 on an even side pads one pixel on the right and bottom only; a transposed convolution of kernel 6 and stride 2 trims two
pixels on every side. Keras's BatchNorm has eps 1e-3, and its momentum 0.9 is 0.1 in PyTorch's reading.

Parameters at the defaults (128x128 RGB), each a test: critic 6,264,065, generator 18,727,043. Of the latter, 65,536 belong to the
BatchNorm of the linear layer, which has a scale and a shift for each of its 8 x 8 x 512 outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import multiple
from ganhpc.train.nets.gan_init import keras_normal, positive

_KERAS_EPS = 1e-3


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1].

    With b = base_channels, n = depth, S = image_size / 2^n: linear to 2^(n-2) b x S x S, BatchNorm, LeakyReLU 0.2; n transposed
    convolutions 6/2 "same" to 2^(n-2) b, ..., 2b, b and `channels` maps (512, 256, 128, 3), each but the last with BatchNorm and
    LeakyReLU 0.2; tanh.

    Args:
        image_size: pixels, a multiple of 2^depth.
        depth: doublings; 3 gives 32 and 64 pixels maps of 4x4 and 8x8 to start from, with fewer channels.
    """

    def __init__(
        self,
        *,
        image_size: int = 128,
        channels: int = 3,
        latent_dim: int = 100,
        base_channels: int = 128,
        depth: int = 4,
        bn_eps: float = _KERAS_EPS,
    ) -> None:
        super().__init__()
        positive(channels=channels, latent_dim=latent_dim, base_channels=base_channels, bn_eps=bn_eps)
        _check_depth(depth)
        side = multiple(image_size, 2**depth)
        width = base_channels * 2 ** (depth - 2)
        self.latent_dim = latent_dim
        self.start = (width, side, side)
        self.project = nn.Sequential(
            nn.Linear(latent_dim, width * side**2), nn.BatchNorm1d(width * side**2, eps=bn_eps), nn.LeakyReLU(0.2)
        )
        layers: list[nn.Module] = []
        for step in reversed(range(depth - 1)):
            narrower = base_channels * 2**step
            layers += [
                nn.ConvTranspose2d(width, narrower, 6, 2, 2),
                nn.BatchNorm2d(narrower, eps=bn_eps),
                nn.LeakyReLU(0.2),
            ]
            width = narrower
        self.grow = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 6, 2, 2), nn.Tanh())
        keras_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.grow(self.project(z).view(-1, *self.start))


class Critic(nn.Module):
    """Images [N, channels, image_size, image_size] -> scores [N], of any sign and size.

    `depth` convolutions 3/2 "same" to b, 2b, 4b, 8b, ... channels with LeakyReLU 0.2; a linear layer. No normalisation, so that
    each image's gradient is its own (Gulrajani et al., section 4).
    """

    def __init__(self, *, image_size: int = 128, channels: int = 3, base_channels: int = 128, depth: int = 4) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels)
        _check_depth(depth)
        side = multiple(image_size, 2**depth)
        layers: list[nn.Module] = []
        width = channels
        for step in range(depth):
            wider = base_channels * 2**step
            layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, wider, 3, 2), nn.LeakyReLU(0.2)]
            width = wider
        self.shrink = nn.Sequential(*layers, nn.Flatten())
        self.score = nn.Linear(width * side**2, 1)
        keras_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.shrink(images)).squeeze(1)


def _check_depth(depth: int) -> None:
    if not 2 <= depth <= 7:
        raise UserError(f"--depth {depth}: the networks halve the image 2 to 7 times; the published ones 4 times.")


EXPORTED: dict[str, type[nn.Module]] = {"wgan-gp": Generator}
"""Generators that a run exports: see `ganhpc.train.gan.generator_io.kinds`."""
