"""Preparation of images for sparse coding: whitening, local contrast normalisation, one common scale, a soft border.

Whitening is Olshausen and Field's filter ("Sparse coding with an overcomplete basis set", 1997), R(f) = f exp(-(f / f0)^n), with f in cycles a
pixel: 0 at f = 0 and highest at f0 / n^(1/n). The authors of SDPC centre the filter and not the spectrum, so that theirs passes f = 0 and
mixes up the axes; here it is the one that they describe. Local contrast normalisation (Jarrett et al., 2009) cannot be undone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.datasets.types import Size, sides

_WHITENINGS = ("none", "blocked", "invertible")
"""invertible: f = 0 gets the gain of the lowest other frequency, so that an image can be had back from nothing else."""
_TINY = 1e-6


def whitening_filter(size: Size, f0: float, n: float, *, invertible: bool = False) -> Tensor:
    """R [height, width // 2 + 1] in the order of rfft2."""
    height, width = sides(size)
    f = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :])
    if invertible:
        f[0, 0] = 1 / max(height, width)
    return f * torch.exp(-((f / f0) ** n))


def local_contrast(images: Tensor, kernel: int) -> Tensor:
    """`images` [B, C, H, W] less the Gaussian mean around each pixel, over the deviation around it, but at least that deviation's mean.

    The Gaussian is exp(-r^2 / 0.5) on [-1, 1]^2; all channels share mean and deviation. Borders are mirrored.
    """
    at = torch.linspace(-1, 1, kernel, device=images.device)
    window = torch.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / 0.5)
    channels = images.shape[1]
    window = (window / (window.sum() * channels)).expand(1, channels, kernel, kernel)

    def around(x: Tensor) -> Tensor:
        before, after = (kernel - 1) // 2, kernel // 2
        return F.conv2d(F.pad(x, (before, after, before, after), mode="reflect"), window)

    centred = images - around(images)
    deviation = around(centred.square()).clamp(min=0).sqrt()
    least = deviation.mean((1, 2, 3), keepdim=True).clamp(min=_TINY)
    return centred / torch.maximum(deviation, least)


def border(size: Size) -> Tensor:
    """1 - r^10 on [-1, 1]^2, at least 0: [height, width]."""
    down, across = (torch.linspace(-1, 1, side) for side in sides(size))
    return (1 - torch.hypot(down[:, None], across[None, :]) ** 10).clamp(min=0)


class Preparation(nn.Module):
    """Images [B, C, H, W] in [-1, 1] -> what layers see, and back.

    Args:
        whitening: one of WHITENINGS. f0, n: of its filter. contrast: side of the window of local contrast normalisation (0: none).
        contrast_first: before whitening. mask: damp the border. grey: the mean of the channels, as one.
    """

    gain: Tensor
    mask: Tensor | None
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        image_size: Size = 32,
        channels: int = 3,
        whitening: str = "invertible",
        f0: float = 0.5,
        n: float = 2.0,
        contrast: int = 0,
        contrast_first: bool = False,
        mask: bool = False,
        grey: bool = False,
    ) -> None:
        super().__init__()
        assert whitening in _WHITENINGS, whitening
        self.sides, self.given = sides(image_size), channels
        self.channels = 1 if grey else channels
        self.whitening, self.contrast, self.contrast_first, self.grey = whitening, contrast, contrast_first, grey
        gain = whitening_filter(image_size, f0, n, invertible=whitening == "invertible")
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("mask", border(image_size) if mask else None, persistent=False)
        self.register_buffer("mean", torch.zeros(1, self.channels, 1, 1))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take mean and deviation from training images [n, C, S, S] in [-1, 1]."""
        self.mean.zero_()
        self.scale.fill_(1.0)
        shaped = self._shaped(images)
        self.mean.copy_(shaped.mean((0, 2, 3), keepdim=True))
        self.scale.copy_((shaped - self.mean).std().clamp(min=_TINY))

    def _shaped(self, images: Tensor) -> Tensor:
        x = images.mean(1, keepdim=True) if self.grey else images
        if self.contrast and self.contrast_first:
            x = local_contrast(x, self.contrast)
        if self.whitening != "none":
            x = self._filtered(x, self.gain)
        if self.contrast and not self.contrast_first:
            x = local_contrast(x, self.contrast)
        return x

    def _filtered(self, images: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=self.sides)

    def forward(self, images: Tensor) -> Tensor:
        prepared = (self._shaped(images.float()) - self.mean) / self.scale
        return prepared if self.mask is None else prepared * self.mask

    def undo(self, prepared: Tensor, images: Tensor | None = None) -> Tensor:
        """Images of what was prepared: exact for `none` and `invertible`; `blocked` takes each channel's mean from `images`.

        After contrast normalisation there is no way back: the normalised image itself, three deviations to either side.
        """
        if self.contrast:
            return self._as_given(prepared / 3)
        x = prepared * self.scale + self.mean
        if self.whitening != "none":
            x = self._filtered(x, torch.where(self.gain > 0, 1 / self.gain.clamp(min=1e-12), 0.0))
        if self.whitening == "blocked" and images is not None:
            known = images.mean(1, keepdim=True) if self.grey else images
            x = x - x.mean((2, 3), keepdim=True) + known.mean((2, 3), keepdim=True)
        return self._as_given(x)

    def _as_given(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.given, -1, -1) if self.grey else x
