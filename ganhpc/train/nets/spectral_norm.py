"""Layers whose weights are divided by an estimate of their largest singular value.

Miyato et al., "Spectral normalization for generative adversarial networks", 2018, algorithm 1, as the authors of BigGAN run it: a normal
vector u to begin with, one power iteration for each training forward pass, the estimate differentiated with respect to the weight alone. In
evaluation u stays. torch's own parametrization begins with 15 iterations, and so differs in the first steps.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-6
"""Added to the lengths that the power iteration divides by; the published training scripts set it so."""

if TYPE_CHECKING:
    _Module = nn.Module
else:
    _Module = object


class Spectral(_Module):
    """Parametrization of a layer's `weight` with spectral norm 1; rows of the matrix are the weight's first axis."""

    u: Tensor

    def _begin(self) -> None:
        self.register_buffer("u", torch.randn(1, cast("Tensor", self.weight).shape[0]))

    def normalised(self) -> Tensor:
        """The weight over its spectral norm; a training pass moves u on by one iteration."""
        weight = cast("Tensor", self.weight)
        kind = weight.device.type
        # Tensors without values, by which sizes are found, know no autocast.
        with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            matrix = weight.float().flatten(1)
            with torch.no_grad():
                v = F.normalize(self.u.float() @ matrix, eps=_EPS)
                u = F.normalize(v @ matrix.T, eps=_EPS)
                if self.training:
                    self.u.copy_(u)
            sigma = (v @ matrix.T @ u.T).squeeze()
            return weight / sigma


class SpectralConv2d(Spectral, nn.Conv2d):
    """A convolution of spectral norm 1, its filters taken as a matrix [out, in x height x width]."""

    def __init__(self, width: int, out: int, side: int, *, bias: bool = True) -> None:
        nn.Conv2d.__init__(self, width, out, side, padding=side // 2, bias=bias)
        self._begin()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalised(), self.bias, padding=self.padding)


class SpectralLinear(Spectral, nn.Linear):
    """A linear layer of spectral norm 1."""

    def __init__(self, width: int, out: int, *, bias: bool = True) -> None:
        nn.Linear.__init__(self, width, out, bias=bias)
        self._begin()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised(), self.bias)


class SpectralEmbedding(Spectral, nn.Embedding):
    """A table of vectors of spectral norm 1."""

    def __init__(self, rows: int, width: int) -> None:
        nn.Embedding.__init__(self, rows, width)
        self._begin()

    def forward(self, y: Tensor) -> Tensor:
        return F.embedding(y, self.normalised())
