"""A generator that draws sparse codes, which the dictionaries of an SDPC paint.

A design of this project; generators as convolutional sparse coding: Ganz and Elad, "Improved image generation via sparse modeling", 2021.

    z -> linear -> 4x4 maps, batch normalisation, ReLU, 3x3 convolution -> gamma_2 = relu(. - theta) -> D_2
      -> gamma_1 = relu(. / v_1 + innovation) -> D_1 -> the inverse of the preparation -> images

The threshold between both dictionaries matters: without it the two are one linear transposed convolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.train.nets.sdpc import Layer, adjoint, synthesis, unit_atoms
from ganhpc.train.nets.sdpc_preparation import Preparation

KERNELS, STRIDES, PADDINGS = (8, 4), (4, 2), (2, 1)
LAYERS = tuple(Layer(stride, padding) for stride, padding in zip(STRIDES, PADDINGS, strict=True))
_SHRINK = 8
"""Pixels of an image for one unit of the second layer."""


class Painter(nn.Module):
    """z [N, latent_dim] -> images [N, channels, image_size, image_size] in [-1, 1]."""

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        latent_dim: int = 64,
        atoms: tuple[int, int] | list[int] = (64, 128),
        preparation: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        if image_size % _SHRINK:
            near = max(_SHRINK, image_size // _SHRINK * _SHRINK)
            raise UserError(f"--image-size {image_size} must be a multiple of {_SHRINK}: try {near}.")
        first, second = atoms
        self.latent_dim, self.side = latent_dim, image_size // _SHRINK
        self.linear = nn.Linear(latent_dim, second * self.side**2)
        self.norm = nn.BatchNorm2d(second)
        self.conv = nn.Conv2d(second, second, 3, padding=1, bias=False)
        self.theta = nn.Parameter(torch.zeros(1, second, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, first, 1, 1))
        self.innovation = nn.Parameter(torch.zeros(1, first, 1, 1))
        self.dictionaries = nn.ParameterList(
            [
                nn.Parameter(unit_atoms(torch.randn(first, channels, KERNELS[0], KERNELS[0]))),
                nn.Parameter(unit_atoms(torch.randn(second, first, KERNELS[1], KERNELS[1]))),
            ]
        )
        self.preparation = Preparation(image_size, channels, **(preparation or {}))  # type: ignore[arg-type]
        self.keeps_codes = False
        """True to keep gamma_2 of the last call in `drawn`, for a penalty on it."""
        self.drawn: Tensor | None = None

    def codes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(gamma_1, gamma_2), never negative."""
        maps = self.linear(z).unflatten(1, (-1, self.side, self.side))
        second = (self.conv(self.norm(maps).relu()) - self.theta).relu()
        painted = synthesis(second, self.dictionaries[1], LAYERS[1])
        return (painted / self.scale + self.innovation).relu(), second

    def forward(self, z: Tensor) -> Tensor:
        first, second = self.codes(z)
        self.drawn = second if self.keeps_codes else None
        # In single precision: Fourier transforms take no other.
        painted = synthesis(first, self.dictionaries[0], LAYERS[0]).float()
        return self.preparation.undo(painted).clamp(-1, 1)

    @torch.no_grad()
    def constrain(self) -> None:
        """Give atoms their norm, and the scale its sign back; frozen atoms keep every bit."""
        for weight in self.dictionaries:
            if weight.requires_grad:
                weight.copy_(unit_atoms(weight))
        self.scale.clamp_(min=1e-3)


@torch.no_grad()
def principal(prepared: Tensor, atoms: tuple[int, int] | list[int]) -> list[Tensor]:
    """Dictionaries of principal components and their negatives (codes are never negative) of the patches that each layer sees: of `prepared`
    images [n, C, S, S], then of the responses to the first dictionary."""
    found: list[Tensor] = []
    seen = prepared
    for many, kernel, layer in zip(atoms, KERNELS, LAYERS, strict=True):
        patches = F.unfold(seen, kernel, stride=layer.stride, padding=layer.padding).transpose(1, 2).flatten(0, 1)
        patches = patches.double()
        values = patches - patches.mean(0)
        _, vectors = torch.linalg.eigh(values.T @ values)
        half = (many + 1) // 2
        best = vectors.flip(1)[:, :half].T
        both = torch.cat([best, -best])[:many]
        weight = unit_atoms(both.to(prepared.dtype).view(many, seen.shape[1], kernel, kernel))
        found.append(weight)
        seen = adjoint(seen, weight, layer).relu()
    return found


EXPORTED: dict[str, type[nn.Module]] = {"sdpc-gan": Painter}
