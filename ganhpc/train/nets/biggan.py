"""BigGAN: a generator and a discriminator of images that know their class, for 32, 64 and 128 pixels.

Brock et al., "Large scale GAN training for high fidelity natural image synthesis", 2019, as its authors' PyTorch code builds both: residual
blocks of convolutions of spectral norm 1; batch normalisation in the generator whose scale and shift follow from the class; self-attention
(Zhang et al., "Self-attention generative adversarial networks", 2019); a discriminator that adds to its score the scalar product of the
image's features and the class's vector (Miyato and Koyama, "cGANs with projection discriminator", 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import biggan_pieces, check_biggan
from ganhpc.train.nets.gan_init import positive
from ganhpc.train.nets.spectral_norm import SpectralConv2d, SpectralEmbedding, SpectralLinear

_INITS = ("ortho", "normal")
_NORMAL_GAIN = 0.02
_BOTTOM = 4
"""Side of the generator's first maps."""


@dataclass(frozen=True)
class _Widths:
    """Widths of a pair of networks, in multiples of the base channels, block by block; `halved`: how many of the discriminator's
    blocks, from the first on, halve the side."""

    g_in: tuple[int, ...]
    g_out: tuple[int, ...]
    d_out: tuple[int, ...]
    halved: int


_WIDTHS = {
    32: _Widths((4, 4, 4), (4, 4, 4), (4, 4, 4, 4), 2),
    64: _Widths((16, 16, 8, 4), (16, 8, 4, 2), (1, 2, 4, 8, 16), 4),
    128: _Widths((16, 16, 8, 4, 2), (16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
}
"""By the side of the images; those of the authors' code."""


class Attention(nn.Module):
    """x plus gamma times what each place gathers from all places; gamma begins at 0, so that the layer begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 8:
            raise UserError(
                f"self-attention needs 8 channels and has {width}: type a larger --base-channels or --attention 0."
            )
        self.theta = SpectralConv2d(width, width // 8, 1, bias=False)
        self.phi = SpectralConv2d(width, width // 8, 1, bias=False)
        self.g = SpectralConv2d(width, width // 2, 1, bias=False)
        self.o = SpectralConv2d(width // 2, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        n, width, height, across = x.shape
        theta = self.theta(x).flatten(2)
        phi = F.max_pool2d(self.phi(x), 2).flatten(2)
        g = F.max_pool2d(self.g(x), 2).flatten(2)
        shares = torch.bmm(theta.transpose(1, 2), phi).softmax(-1)
        gathered = torch.bmm(g, shares.transpose(1, 2)).view(n, width // 2, height, across)
        return self.gamma * self.o(gathered) + x


class ClassNorm(nn.Module):
    """Batch normalisation with a scale and a shift of each class: a table (`given` None), or linear in a vector of `given` numbers."""

    def __init__(self, width: int, classes: int, given: int | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gain, self.bias = (
            nn.Embedding(classes, width) if given is None else SpectralLinear(given, width, bias=False)
            for _ in range(2)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.norm(x) * (1 + _looked_up(self.gain, y)) + _looked_up(self.bias, y)


def _looked_up(layer: nn.Module, y: Tensor) -> Tensor:
    """Output of `layer` for `y`, as [n, width, 1, 1]."""
    return mixed(layer, y)[:, :, None, None]


def mixed(layer: nn.Module, y: Tensor) -> Tensor:
    """A table's rows for classes [n]; their weighted means for shares of classes [n, classes]; a linear layer of vectors."""
    if isinstance(layer, nn.Embedding) and y.is_floating_point():
        return y @ layer.weight
    found: Tensor = layer(y)
    return found


class _Up(nn.Module):
    """Class norm, ReLU, doubled, convolution, class norm, ReLU, convolution; beside it doubled and a convolution 1x1; the sum."""

    def __init__(self, width: int, out: int, classes: int, given: int | None) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = ClassNorm(width, classes, given), ClassNorm(out, classes, given)
        self.conv_1, self.conv_2 = SpectralConv2d(width, out, 3), SpectralConv2d(out, out, 3)
        self.beside = SpectralConv2d(width, out, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv_1(_doubled(self.norm_1(x, y).relu()))
        h = self.conv_2(self.norm_2(h, y).relu())
        return h + self.beside(_doubled(x))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)


class Generator(nn.Module):
    """Latent vectors [n, latent_dim] and classes -> images [n, channels, S, S] in [-1, 1].

    Args:
        classes: number of them. shared: numbers of the class's vector that all blocks share (0: each block has a table of its own).
        hierarchical: give each block a piece of the latent vector of its own, beside the class's vector; the vector is cut down to a whole
            number of pieces. attention: side of the maps behind which self-attention stands (0: nowhere).
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        base_channels: int = 64,
        latent_dim: int = 128,
        classes: int = 10,
        shared: int = 0,
        hierarchical: bool = False,
        attention: int = 0,
        init: str = "normal",
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, latent_dim=latent_dim, classes=classes)
        check_biggan(image_size, attention)
        widths = _WIDTHS[image_size]
        pieces = biggan_pieces(image_size, latent_dim, shared, hierarchical=hierarchical)
        self.piece = latent_dim // pieces
        self.latent_dim, self.classes = self.piece * pieces, classes
        self.image_shape = (channels, image_size, image_size)
        self._hierarchical = hierarchical
        self.embedding = nn.Embedding(classes, shared) if shared else None
        given = shared + self.piece * hierarchical if shared else None
        ins, outs = ([base_channels * each for each in part] for part in (widths.g_in, widths.g_out))
        self.linear = SpectralLinear(self.piece, ins[0] * _BOTTOM**2)
        self.blocks = nn.ModuleList(_Up(width, out, classes, given) for width, out in zip(ins, outs, strict=True))
        self.attention = nn.ModuleDict(
            {str(k): Attention(out) for k, out in enumerate(outs) if _BOTTOM * 2 ** (k + 1) == attention}
        )
        self.last = nn.Sequential(nn.BatchNorm2d(outs[-1]), nn.ReLU(), SpectralConv2d(outs[-1], channels, 3))
        _initialise(self, init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`y`: the classes [n] (None: the first one), or shares of all classes [n, classes], which mix their vectors."""
        y = torch.zeros(len(z), dtype=torch.long, device=z.device) if y is None else y
        if self.embedding is not None:
            y = mixed(self.embedding, y)
        first, *rest = z.split(self.piece, 1)
        # No number of images in it: ONNX files would be held to it.
        h = self.linear(first).unflatten(1, (-1, _BOTTOM, _BOTTOM))
        for k, block in enumerate(self.blocks):
            h = block(h, torch.cat([y, rest[k]], 1) if self._hierarchical else y)
            if str(k) in self.attention:
                h = self.attention[str(k)](h)
        return self.last(h).tanh()


class _Down(nn.Module):
    """ReLU (but in the first block), convolution, ReLU, convolution, halved; beside it a convolution 1x1 where widths or sides change; the
    sum."""

    def __init__(self, width: int, out: int, *, first: bool, halves: bool) -> None:
        super().__init__()
        self._first, self._halves = first, halves
        self.conv_1, self.conv_2 = SpectralConv2d(width, out, 3), SpectralConv2d(out, out, 3)
        self.beside = SpectralConv2d(width, out, 1) if width != out or halves else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_2(self.conv_1(x if self._first else F.relu(x)).relu())
        if self._first:
            x = self._halved(x)
        if self.beside is not None:
            x = self.beside(x)
        return self._halved(h) + (x if self._first else self._halved(x))

    def _halved(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self._halves else x


class Discriminator(nn.Module):
    """Images [n, channels, S, S] and classes [n] -> scores [n]: linear in the features plus their product with the class's vector."""

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 3,
        base_channels: int = 64,
        classes: int = 10,
        attention: int = 0,
        init: str = "normal",
    ) -> None:
        super().__init__()
        positive(channels=channels, base_channels=base_channels, classes=classes)
        check_biggan(image_size, attention)
        widths = _WIDTHS[image_size]
        outs = [base_channels * each for each in widths.d_out]
        parts: list[nn.Module] = []
        side, width = image_size, channels
        for k, out in enumerate(outs):
            parts.append(_Down(width, out, first=k == 0, halves=k < widths.halved))
            side, width = side // 2 if k < widths.halved else side, out
            if attention == side:
                parts.append(Attention(out))
        self.blocks = nn.Sequential(*parts)
        self.linear = SpectralLinear(width, 1)
        self.embedding = SpectralEmbedding(classes, width)
        _initialise(self, init)

    def forward(self, images: Tensor, y: Tensor | None = None) -> Tensor:
        """`y`: the classes [n] (None: the first one)."""
        y = torch.zeros(len(images), dtype=torch.long, device=images.device) if y is None else y
        features = self.blocks(images).relu().sum((2, 3))
        return (self.linear(features) + (self.embedding(y) * features).sum(1, keepdim=True)).squeeze(1)


@torch.no_grad()
def _initialise(net: nn.Module, init: str) -> None:
    """Orthogonal weights (ortho), or N(0, 0.02) (deviation; normal); biases keep PyTorch's own values."""
    if init not in _INITS:
        raise UserError(f"--init {init!r}: choose one of {', '.join(_INITS)}.")
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            if init == "ortho":
                nn.init.orthogonal_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, _NORMAL_GAIN)


EXPORTED: dict[str, type[nn.Module]] = {"biggan": Generator}
"""Generators that a run exports: see `train.gan.generator_io.kinds`."""
