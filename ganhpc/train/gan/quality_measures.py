"""Quality measures of a finished generator, on a fixed number of images: exact measures of lines, Frechet and kernel distances."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganhpc.datasets.types import ImageData
from ganhpc.train.gan import frechet, generator_io, line_measures
from ganhpc.train.gan.measure_time import TooSlow, in_time, left_out

_CHUNK = 64


@dataclass(frozen=True)
class _Exact:
    """An exact measure of pictures of one made data set.

    Args:
        headline: the name of its quick figure. quick: that figure of images [N, C, S, S] in [-1, 1]. full: all figures, of images
            in [-1, 1] or as bytes; they are called <prefix>_<name>.
    """

    prefix: str
    headline: str
    quick: Callable[[Tensor], float]
    full: Callable[[Tensor], dict[str, Any]]


EXACT = {
    "lines": _Exact(
        "lines",
        "valid",
        lambda images: line_measures.measure(images.cpu()).valid,
        lambda images: line_measures.measure(images).as_dict(),
    )
}
"""By the word in `ImageData.exact`."""


def exact(data: ImageData) -> _Exact | None:
    """The exact measure of pictures such as those of `data`, or None where there is none."""
    return EXACT.get(data.exact)


def measure(
    net: nn.Module, data: ImageData, seed: int, *, exact: int, distance: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """The measures of the generator `net`, and of real images beside them.

    Args:
        exact: measure so many generated images exactly, where the data set can be (0: none); the figures' names begin with the set's
            (`lines_`), and those of as many held-out images, the ceiling, are in `lines_real`.
        distance: Frechet and kernel distances between so many generated and held-out images (0: none; never more than are held
            out), and, as what can be reached, between training and held-out images.
        seconds: what doesn't fit into this time is left out, with a word to `say`.
    """
    end = time.monotonic() + seconds
    found: dict[str, Any] = {}
    with left_out(say):
        if exact and (by := EXACT.get(data.exact)):
            found |= _exact(net, data, by, min(exact, len(data.test_images)), seed, end)
        if distance:
            found |= _distances(net, data, min(distance, len(data.test_images), len(data.images)), seed, end)
    return found


def _images_of(net: nn.Module, n: int, seed: int, end: float) -> Tensor:
    """`n` generated images in [0, 1] on the CPU. Raises TooSlow as soon as they can't be ready by `end`."""
    z = generator_io.latents(n, int(net.latent_dim), seed, "measures")  # type: ignore[arg-type]
    # Twice: what measures them costs, too.
    return torch.cat([generator_io.draw(net, part, _CHUNK) for part in in_time(z.split(_CHUNK), end, 2.0)])


def _exact(net: nn.Module, data: ImageData, by: _Exact, n: int, seed: int, end: float) -> dict[str, Any]:
    fakes = _images_of(net, n, seed, end)
    found, real = by.full(fakes * 2 - 1), by.full(data.test_images[:n])
    return {**{f"{by.prefix}_{name}": value for name, value in found.items()}, f"{by.prefix}_real": real}


def _distances(net: nn.Module, data: ImageData, n: int, seed: int, end: float) -> dict[str, Any]:
    device = next(net.parameters()).device
    extractor = frechet.efflite0(device)
    fakes = _images_of(net, n, seed, end)
    sets = {"fake": fakes * 2 - 1, "real": data.test_images[:n], "train": data.images[:n]}
    features: dict[str, Tensor] = {}
    for name, images in sets.items():
        begun = time.monotonic()
        features[name] = extractor.features(images)
        if time.monotonic() + (3 - len(features)) * (time.monotonic() - begun) > end:
            raise TooSlow
    found = frechet.distances(extractor, features["real"], features["fake"])
    best = frechet.distances(extractor, features["real"], features["train"])
    number = found.pop("n")
    return {**found, "distance_images": number, "distances_of_training_images": best}
