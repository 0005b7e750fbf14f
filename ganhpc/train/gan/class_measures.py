"""Measures of a conditional generator: distances over all and of each class, whether its pictures show the class that they were asked for,
and how much they differ within a class. Each stands beside the same figure of real pictures, which is what can be reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.datasets.types import ImageData
from ganhpc.train.gan import frechet, generator_io
from ganhpc.train.gan.measure_time import TooSlow, check, in_time, left_out
from ganhpc.train.gan.similarity import pairwise, share
from ganhpc.train.gan.weight_averages import copied, set_standing_statistics
from ganhpc.train.runtime.step_random import generator_of

_THUMBNAIL = 4
"""Side of the thumbnails whose distribution every evaluation compares."""
_PAIRED = 64
"""Pictures of a class whose pairwise distances are taken."""
_STEPS, _BATCH = 400, 64
"""Of the classifier's training."""
_CHUNK = 64


def moments_distance(first: Tensor, second: Tensor) -> float:
    """The Frechet distance of the normal laws with the moments of `first` [n, d] and `second` [m, d], both of few rows: the product of
    their covariances is not needed, since the trace of its root is the sum of the singular values of a matrix [n, m]."""
    first, second = first.double(), second.double()
    means = first.mean(0), second.mean(0)
    scaled = [(x - mean) / max(1, len(x) - 1) ** 0.5 for x, mean in zip((first, second), means, strict=True)]
    shared = torch.linalg.svdvals(scaled[0] @ scaled[1].T).sum()
    own = sum(x.square().sum() for x in scaled)
    return max(0.0, float((means[0] - means[1]).square().sum() + own - 2 * shared))


def thumbnails(images: Tensor) -> Tensor:
    """`images` [n, C, H, W], each as THUMBNAIL x THUMBNAIL means of its pixels: [n, C x 16]."""
    return F.adaptive_avg_pool2d(images.float(), _THUMBNAIL).flatten(1).cpu()


def within_classes(images: Tensor, labels: Tensor) -> float | None:
    """The mean over classes of two or more `images` of their `pairwise` distance; None where there is no such class."""
    distances = (pairwise(images[labels == k], _PAIRED) for k in labels.unique().tolist())
    found = [distance for distance in distances if distance is not None]
    return sum(found) / len(found) if found else None


class _Classifier(nn.Sequential):
    """A small convolutional network for images [n, channels, S, S]."""

    def __init__(self, channels: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for width, out, stride in ((channels, 32, 1), (32, 64, 2), (64, 128, 2)):
            layers += [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, classes))


def classifier(data: ImageData, seed: int, device: torch.device, end: float, steps: int = _STEPS) -> nn.Module:
    """A network trained on the real training pictures for `steps` mirrored batches. Raises TooSlow where that passes `end`."""
    assert data.labels is not None
    random = generator_of("classifier", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _Classifier(data.shape[0], len(data.classes)).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    begun = time.monotonic()
    for step in range(steps):
        index = torch.randint(len(data.images), (min(_BATCH, len(data.images)),), generator=random)
        images = data.images[index].to(device).float() / 127.5 - 1
        if float(torch.rand((), generator=random)) < 0.5:
            images = images.flip(3)
        loss = F.cross_entropy(net(images), data.labels[index].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step == 4 and begun + steps / 5 * (time.monotonic() - begun) > end:
            raise TooSlow
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of `images` (float [-1, 1], or bytes) that `net` takes for their `labels`."""
    device = next(net.parameters()).device
    hits = 0
    for part, wanted in zip(images.split(256), labels.split(256), strict=True):
        given = part.to(device).float() / 127.5 - 1 if part.dtype == torch.uint8 else part.to(device)
        hits += int((net(given).argmax(1).cpu() == wanted.cpu()).sum())
    return hits / len(images)


def balanced(labels: Tensor, n: int, classes: int) -> Tensor:
    """The places of `n` images with these `labels`, of each class as many as of any other as far as there are."""
    rank = torch.empty_like(labels)
    for k in range(classes):
        own = (labels == k).nonzero().squeeze(1)
        rank[own] = torch.arange(len(own))
    return torch.argsort(rank * classes + labels)[:n].sort().values


def measure(
    net: nn.Module, data: ImageData, *, n: int, seed: int, standing: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """The measures of the conditional generator `net` on `n` held-out pictures (0: none are made).

    Returns:
        Both distances over all, as `quality_measures` names them, with the same of training images; class_accuracy and
        class_accuracy_real (the ceiling); class_diversity, the mean pairwise distance within a class over real pictures'. `conditional`:
        the same of each class, with the number of pictures, and the distance with the other way of normalising (`other_statistics`).

    Args:
        standing: batches of standing statistics that `net` was given (0: it has its running averages).
        seconds: what doesn't fit into this time is left out, with a word to `say`.
    """
    assert data.labels is not None and data.test_labels is not None
    n = min(n, len(data.test_images), len(data.images))
    if n < 2:
        return {}
    end = time.monotonic() + seconds
    found: dict[str, Any] = {}
    with left_out(say):
        pictures = _Pictures(net, data, n, seed, end)
        found |= pictures.accuracies()
        found |= pictures.distances(standing)
    return found


class _Pictures:
    """Held-out, training and generated pictures, as many of each class.

    `n` of each kind in all; generated by `net` from latent vectors of `seed`; nothing is begun after `end`, by time.monotonic.
    """

    def __init__(self, net: nn.Module, data: ImageData, n: int, seed: int, end: float) -> None:
        assert data.labels is not None and data.test_labels is not None
        self.net, self.data, self.seed, self.end = net, data, seed, end
        self.device = next(net.parameters()).device
        classes = len(data.classes)
        test, train = balanced(data.test_labels, n, classes), balanced(data.labels, n, classes)
        self.labels, self.train_labels = data.test_labels[test], data.labels[train]
        self.real, self.train = data.test_images[test], data.images[train]
        self.fakes = self._drawn(net)

    def _drawn(self, net: nn.Module) -> Tensor:
        """A generated picture for the class of each held-out one, in [-1, 1]."""
        z = generator_io.latents(len(self.labels), int(net.latent_dim), self.seed, "measures")  # type: ignore[arg-type]
        pieces = list(zip(z.split(_CHUNK), self.labels.split(_CHUNK), strict=True))
        drawn = [generator_io.draw(net, part, _CHUNK, y) for part, y in in_time(pieces, self.end, 2.0)]
        return torch.cat(drawn) * 2 - 1

    def accuracies(self) -> dict[str, Any]:
        judge = classifier(self.data, self.seed, self.device, self.end)
        assert self.data.test_labels is not None
        real = within_classes(self.real.float() / 127.5 - 1, self.labels)
        self.of_classes: dict[str, dict[str, Any]] = {
            name: {
                "n": int((mask := self.labels == k).sum()),
                "accuracy": accuracy(judge, self.fakes[mask], self.labels[mask]),
                "accuracy_real": accuracy(judge, self.real[mask], self.labels[mask]),
                "diversity": pairwise(self.fakes[mask], _PAIRED),
                "diversity_real": pairwise(self.real[mask].float() / 127.5 - 1, _PAIRED),
            }
            for k, name in enumerate(self.data.classes)
            if bool((self.labels == k).any())
        }
        found = {
            "class_accuracy": accuracy(judge, self.fakes, self.labels),
            "class_accuracy_real": accuracy(judge, self.data.test_images, self.data.test_labels),
            "class_diversity": share(within_classes(self.fakes, self.labels), real),
            "conditional": {"classes": self.of_classes},
        }
        return {name: value for name, value in found.items() if value is not None}

    def distances(self, standing: int) -> dict[str, Any]:
        extractor = frechet.efflite0(self.device)
        sets = {"real": self.real, "train": self.train, "fake": self.fakes}
        features = {name: self._features(extractor, images) for name, images in sets.items()}
        found = frechet.distances(extractor, features["real"], features["fake"])
        best = frechet.distances(extractor, features["real"], features["train"])
        number = found.pop("n")
        for k, name in enumerate(self.data.classes):
            mine, trained = self.labels == k, self.train_labels == k
            if min(int(mine.sum()), int(trained.sum())) < 2:
                continue
            real, fake, floor = features["real"][mine], features["fake"][mine], features["train"][trained]
            self.of_classes[name] |= {
                extractor.frechet: moments_distance(real, fake),
                f"{extractor.frechet}-train": moments_distance(real, floor),
                extractor.kernel: frechet.kernel_distance(real, fake)[0],
            }
        other = self._other_statistics(standing)
        beside = moments_distance(features["real"], self._features(extractor, other))
        tree = {"classes": self.of_classes, "other_statistics": {"standing": not standing, extractor.frechet: beside}}
        return {**found, "distance_images": number, "distances_of_training_images": best, "conditional": tree}

    def _other_statistics(self, standing: int) -> Tensor:
        """The pictures with the normalisation that the generator was not given: its running averages, or standing statistics."""
        before = copied(self.net)
        if standing:
            running = getattr(self.net, "running_statistics", before)
            self.net.load_state_dict(running)
        else:
            give_standing(self.net, 16, self.seed)
        try:
            return self._drawn(self.net)
        finally:
            self.net.load_state_dict(before)

    def _features(self, extractor: frechet.Extractor, images: Tensor) -> Tensor:
        check(self.end)
        return extractor.features(images)


def give_standing(net: nn.Module, batches: int, seed: int, size: int = _CHUNK) -> None:
    """Standing statistics of the conditional generator `net` over `batches` batches of random latent vectors and classes."""
    device = next(net.parameters()).device
    classes, dim = int(net.classes), int(net.latent_dim)  # type: ignore[arg-type]
    random = generator_of("standing", seed)
    z = generator_io.latents(batches * size, dim, seed, "standing").to(device)
    y = torch.randint(classes, (batches * size,), generator=random).to(device)
    set_standing_statistics(net, list(zip(z.split(size), y.split(size), strict=True)))
