"""A generator that paints lines: it chooses where each line lies and its colour, and lays one line over another.

For small pictures of lines that go from border to border, as `ganhpc.train.data.lines` draws them. Its form knows that lines are straight and how
many there are of each direction, and it begins with choices that are sharp and about even. Colours, thickness, how likely each place and
colour is, and to choose one rather than halves of two are learned from the images through the critic alone.

Convolutions are far from such pictures after minutes: a choice among 32 places is a jump, which smooth maps blur.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, softplus

from ganhpc.core.errors import UserError
from ganhpc.train.nets.gan_init import positive

_REACH = 3  # a line is at most 2 x 3 + 1 pixels thick
_SHARP_PLACE, _SHARP_COLOUR = 20.0, 10.0  # deviations of the logits of softmax at the start


class Choice(nn.Module):
    """Features [N, width] -> weights [N, lines, among] that sum to 1 along the last axis.

    Softmax of linear logits which are normalised over the batch (Ioffe and Szegedy, 2015, without a shift), each with a scale of its own:
    so every place and every colour keeps being chosen now and then, where plain logits soon choose the same few, and those left out
    receive no gradient. The weights begin `sharp` / sqrt(width) large, so that steps of Adam turn them slowly.
    """

    def __init__(self, width: int, lines: int, among: int, sharp: float) -> None:
        super().__init__()
        self.lines = lines
        self.logits = nn.Linear(width, lines * among, bias=False)
        nn.init.normal_(self.logits.weight, 0.0, sharp / width**0.5)
        self.norm = nn.BatchNorm1d(lines * among, affine=False)
        self.scale = nn.Parameter(torch.full((lines * among,), sharp))

    def forward(self, features: Tensor) -> Tensor:
        logits = self.norm(self.logits(features)) * self.scale
        return logits.unflatten(1, (self.lines, -1)).softmax(2)


class Generator(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1].

    Two linear layers with BatchNorm and LeakyReLU 0.2; from them, for each line, a softmax over the places along the side and one over
    `colours` learned colours. A line at weights p covers the share 1 - exp(-p * t) of each row or column, t >= 0 a learned profile of 7 pixels that
    all share. On a learned background the lines are laid one over the other, the vertical ones first.

    Args:
        image_size: pixels.
        columns, rows: vertical and horizontal lines.
        width: features.
        colours: learned colours; more than the images have, since some end up alike.

    Raises UserError where a size makes no sense.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        latent_dim: int = 16,
        columns: int = 1,
        rows: int = 2,
        width: int = 256,
        colours: int = 6,
    ) -> None:
        super().__init__()
        positive(image_size=image_size, channels=channels, latent_dim=latent_dim, width=width, colours=colours)
        if min(columns, rows) < 0 or not columns + rows:
            raise UserError(f"{columns} vertical and {rows} horizontal lines: ask for one line or more.")
        self.latent_dim, self.columns, self.lines = latent_dim, columns, columns + rows
        self.trunk = nn.Sequential(
            nn.Linear(latent_dim, width, bias=False),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(0.2),
        )
        for layer in self.trunk:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, 0.2)
        self.place = Choice(width, self.lines, image_size, _SHARP_PLACE)
        self.colour = Choice(width, self.lines, colours, _SHARP_COLOUR)
        # As arguments of tanh. Grey colours, a dark background, lines of about one pixel.
        self.palette = nn.Parameter(0.5 * torch.randn(colours, channels))
        self.background = nn.Parameter(torch.full((channels,), -2.0))
        profile = torch.full((2 * _REACH + 1,), -4.0)
        profile[_REACH] = 4.0
        self.profile = nn.Parameter(profile)

    def forward(self, z: Tensor) -> Tensor:
        features = self.trunk(z)
        colours = self.colour(features) @ self.palette.tanh()  # [N, lines, C]
        covers = self._covers(self.place(features))
        side = covers.shape[2]
        image = self.background.tanh()[None, :, None, None].expand(z.shape[0], -1, side, side)
        for line, cover in enumerate(covers.unbind(1)):
            share = cover[:, None, None, :] if line < self.columns else cover[:, None, :, None]
            image = image + share * (colours[:, line, :, None, None] - image)
        return image

    def _covers(self, places: Tensor) -> Tensor:
        """Shares [N, lines, side] in 0..1 of what each line covers."""
        profile = softplus(self.profile).expand(self.lines, 1, -1)
        return 1 - torch.exp(-conv1d(places, profile, padding=_REACH, groups=self.lines))


EXPORTED: dict[str, type[nn.Module]] = {"strips": Generator}
"""Generators that a run exports: see `ganhpc.train.gan.generator_io.kinds`."""
