"""The data sets that can be asked for by name: one entry each, known without importing what reads them."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from ganhpc.core.errors import UserError, nearest
from ganhpc.datasets.cifar10 import spec


class DataSet(NamedTuple):
    """A data set that can be asked for by name."""

    name: str
    what: str
    """Its images in one sentence."""
    shape: tuple[int, int, int] | None
    """(channels, height, width) of an image; None where --image-size alone tells it."""
    classes: int = 0
    """Number of classes; 0 without labels."""
    source: str = ""
    """The module with `status(root)`, `ensure(root)` and `SPEC`, free of torch and NumPy; empty for a set that is made, or that
    the user brings."""

    any_size: bool = True
    """True if its images can be had in any size."""
    images: int | None = None
    """Number of its training images where --train-images asks for none; None where that is not known before they are found."""
    bounds: tuple[int, int | None] = (1, None)
    """The least and the most that --train-images may ask for; None where its size in memory alone tells."""

    @property
    def fetched(self) -> bool:
        """True if it lies in files that can be fetched."""
        return bool(self.source)

    def module(self) -> Any:
        """The module that finds and fetches it."""
        return importlib.import_module(self.source)


SETS = (
    DataSet("celeba", "CelebA by torchvision's own class: `--data celeba`, where its files are on this machine.", None),
    DataSet(
        "cifar10",
        "CIFAR-10: found on this machine or fetched once, checked against known figures, and kept as one file of bytes.",
        spec.SHAPE,
        len(spec.CLASSES),
        source="ganhpc.datasets.cifar10.source",
        any_size=False,
        images=spec.Spec().train.count,
        bounds=(1, spec.Spec().train.count),
    ),
    DataSet(
        "lines",
        "Coloured lines, made on the spot: black images with one vertical and two horizontal lines.",
        (3, 128, 128),
        images=10_000,
    ),
    DataSet(
        "negatives",
        "Negatives of other coloured lines, made on the spot: a second set for translations between two.",
        (3, 128, 128),
        images=10_000,
    ),
    DataSet(
        "synthetic",
        "A small made data set for tests and a first try: ten classes of gratings in noise, 32x32 in colour. No file is needed.",
        (3, 32, 32),
        10,
        any_size=False,
        images=2_000,
        bounds=(10, 100_000),
    ),
)


def names() -> list[str]:
    """The names of all data sets, sorted."""
    return [each.name for each in SETS]


def data_sets(name: str | None = None) -> list[DataSet]:
    """Every data set, or the one called `name`. Raises UserError with the nearest names where there is none."""
    found = [each for each in SETS if name in (None, each.name)]
    if not found:
        assert name
        raise UserError(
            f"there is no data set {name!r}: {nearest(name, names())}. A folder or zip of images needs no name: --data PATH."
        )
    return found
