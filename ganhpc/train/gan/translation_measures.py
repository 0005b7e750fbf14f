"""Measures of two trained translators on held-out images, with the references that say what they are worth.

Distances (`train.gan.frechet`) between translations and images of the target set stand beside four others: of training images of the
target (the floor), of the sources as they are (doing nothing), of the sources with the mean and the deviation of each colour of a target
image (colour transfer: Reinhard et al., "Color transfer between images", 2001), and of the untrained networks' translations. The error of
the cycle is told as it is, and with translations that were disturbed: a network can hide the source in differences that nobody sees
(Chu et al., "CycleGAN, a master of steganography", 2017), which noise or JPEG destroy.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ganhpc.datasets.types import ImageData
from ganhpc.train.gan import frechet
from ganhpc.train.gan.measure_time import check, in_time, left_out
from ganhpc.train.gan.similarity import pairwise
from ganhpc.train.runtime.image_files import unit
from ganhpc.train.runtime.step_random import generator_of

_NOISE = 3 / 255
"""Deviation of the noise, of images in [0, 1]."""
_JPEG_QUALITY = 75
_PAIRED = 128
"""Images whose pairwise distances are taken."""
_CHUNK = 16


def measure(
    nets: Mapping[str, nn.Module],
    untrained: Mapping[str, nn.Module],
    sets: Mapping[str, ImageData],
    *,
    n: int,
    seed: int,
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """frechet_a2b, kernel_a2b and so on, and `translation`: everything, by direction.

    Args:
        nets, untrained: the translators a2b and b2a. sets: the data of a and b. n: held-out images, at most (0: nothing is measured).
        seconds: what doesn't fit into this time is left out, with a word to `say`.
    """
    n = min(n, *(len(part) for data in sets.values() for part in (data.images, data.test_images)))
    if not n:
        return {}
    if n < 2:
        say("warning: translations are not measured: a set has one held-out picture, and distances take two")
        return {}
    end = time.monotonic() + seconds
    found: dict[str, Any] = {}
    with left_out(say, "measures of translations"):
        extractor = frechet.efflite0(next(nets["a2b"].parameters()).device)
        tree: dict[str, Any] = {"images": n}
        for there, back, source, target in (("a2b", "b2a", "a", "b"), ("b2a", "a2b", "b", "a")):
            pair = _Pair(nets[there], nets[back], untrained[there], sets[source], sets[target], n, seed, end)
            tree[there] = pair.measure(extractor)
        distances = [(name, there) for there in ("a2b", "b2a") for name in ("frechet", "kernel")]
        found = {f"{name}_{there}": tree[there][name]["translated"] for name, there in distances}
        found["translation"] = tree
    return found


class _Pair:
    """One direction of translation.

    `there` translates pictures of `source` into those of `target`, `back` the other way, `untrained` is `there` before its training. `n` held-out
    pictures of each set are taken; `seed` orders them; nothing is begun after `end`, by time.monotonic.
    """

    def __init__(
        self,
        there: nn.Module,
        back: nn.Module,
        untrained: nn.Module,
        source: ImageData,
        target: ImageData,
        n: int,
        seed: int,
        end: float,
    ) -> None:
        self.there, self.back, self.untrained, self.end = there, back, untrained, end
        self.source, self.target = (data.test_images[:n].float() / 127.5 - 1 for data in (source, target))
        self.train = target.images[:n]
        self.random = generator_of("translation", seed)

    def measure(self, extractor: frechet.Extractor) -> dict[str, Any]:
        translated = self._apply(self.there, self.source)
        order = torch.randperm(len(self.target), generator=self.random)
        candidates = {
            "translated": translated,
            "floor": self.train,
            "nothing": self.source,
            "colour": _colour_transfer(self.source, self.target[order]),
            "untrained": self._apply(self.untrained, self.source),
        }
        real = self._features(extractor, self.target)
        found = {
            name: frechet.distances(extractor, real, self._features(extractor, images))
            for name, images in candidates.items()
        }
        cycles = {"plain": translated, "noise": _noisy(translated, self.random), "jpeg": jpeg(translated)}
        return {
            "frechet": {name: each[extractor.frechet] for name, each in found.items()},
            "kernel": {name: each[extractor.kernel] for name, each in found.items()},
            "cycle": {name: _error(self._apply(self.back, images), self.source) for name, images in cycles.items()},
            "identity": _error(self._apply(self.there, self.target), self.target),
            "content": {"kept": _content_kept(self.source, translated), "chance": 1 / len(self.source)},
            "diversity": {"translated": pairwise(translated, _PAIRED), "target": pairwise(self.target, _PAIRED)},
        }

    @torch.no_grad()
    def _apply(self, net: nn.Module, images: Tensor) -> Tensor:
        """`net` of `images` [n, C, H, W] in [-1, 1], on the CPU. Raises TooSlow as soon as that can't be ready."""
        device = next(net.parameters()).device
        training = net.training
        net.eval()
        parts = [net(part.to(device)).float().cpu() for part in in_time(images.split(_CHUNK), self.end)]
        net.train(training)
        return torch.cat(parts)

    def _features(self, extractor: frechet.Extractor, images: Tensor) -> Tensor:
        check(self.end)
        return extractor.features(images)


def _error(images: Tensor, wanted: Tensor) -> float:
    """The mean absolute error, of images in [-1, 1]."""
    return float((images - wanted).abs().mean())


def _colour_transfer(images: Tensor, others: Tensor) -> Tensor:
    """`images` with the mean and the deviation of each channel of `others`, one for one; both [n, C, H, W] in [-1, 1]."""
    dims = (2, 3)
    mean, std = images.mean(dims, keepdim=True), images.std(dims, keepdim=True)
    wanted = others.std(dims, keepdim=True) / std.clamp(min=1e-6)
    return ((images - mean) * wanted + others.mean(dims, keepdim=True)).clamp(-1, 1)


def _noisy(images: Tensor, random: torch.Generator) -> Tensor:
    """`images` in [-1, 1] with normal noise of NOISE."""
    return (images + 2 * _NOISE * torch.randn(images.shape, generator=random)).clamp(-1, 1)


def jpeg(images: Tensor) -> Tensor:
    """`images` [n, 1 or 3, H, W] in [-1, 1], written as JPEG and read again."""
    levels = (unit(images) * 255).round().to(torch.uint8)
    read = []
    for picture in levels:
        pixels = picture.permute(1, 2, 0).squeeze(2) if len(picture) == 1 else picture.permute(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray(pixels.contiguous().numpy()).save(file, "JPEG", quality=_JPEG_QUALITY)
        data = torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8)
        read.append(data.view(*picture.shape[1:], len(picture)).permute(2, 0, 1))
    return torch.stack(read).float() / 127.5 - 1


def _edges(images: Tensor) -> Tensor:
    """Outlines of `images` [n, C, H, W]: [n, pixels], each of mean 0 and length 1, blind to colours and their order."""
    grey = F.avg_pool2d(images.mean(1, keepdim=True), max(1, images.shape[-1] // 32))
    down, across = grey.diff(dim=2)[:, :, :, 1:], grey.diff(dim=3)[:, :, 1:]
    strength = F.avg_pool2d((down.square() + across.square()).sqrt(), 3, stride=1).flatten(1)
    return F.normalize(strength - strength.mean(1, keepdim=True), dim=1)


def _content_kept(sources: Tensor, translations: Tensor) -> float:
    """The share of translations whose outlines are most like those of their own source, of all sources."""
    likeness = _edges(translations) @ _edges(sources).T
    return float((likeness.argmax(1) == torch.arange(len(sources))).float().mean())
