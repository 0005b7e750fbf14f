"""Types that every data set hands to the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Size = int | Sequence[int]
"""Pixels of the side of a square, or (height, width)."""


def sides(size: Size) -> tuple[int, int]:
    """(height, width)."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


@dataclass(frozen=True)
class DataRequest:
    """The images that a run asks for.

    `name` is a data set (`ganhpc.datasets.catalogue`) or the path of a folder or zip of images; `root` is where the user keeps data (None: look in
    the usual places); `train_images` keeps only the first N training images after a fixed shuffle (None: all);
    `image_size` is in pixels (None: the set's own); `seed` matters to made data only; `held_out`: see `hold_out`;
    `class_level`: which folder above a picture names its class, 0 the one that it lies in, 1 the first of its path (None: no classes are
    wanted).
    """

    name: str
    root: Path | None = None
    train_images: int | None = None
    image_size: int | None = None
    image_width: int | None = None
    """Of pictures that are not square, whose height is `image_size`."""
    seed: int = 0
    held_out: int | None = None
    class_level: int | None = None
    say: Callable[[str], None] | None = None
    """Takes lines of progress."""


@dataclass(frozen=True)
class ImageData:
    """Images held in memory as bytes.

    `images`, `test_images`: uint8 [N, C, H, W]. `labels`, `test_labels`: int64 [N], or None for unlabelled sets.
    `test_images` is never used to choose anything. `note` says in one line where the images came from.
    """

    name: str
    images: Tensor
    labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor | None
    classes: tuple[str, ...] = ()
    note: str = ""
    skipped: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = ()
    """Notes on the set as a whole: how the range of its pixels was found, that it is nearly constant."""
    fingerprint: str = ""
    """Of the pictures of a folder or zip (`ganhpc.datasets.folder_index`)."""
    exact: str = ""
    """Of a made set whose pictures can be told from others without a network: the measure that does it (`ganhpc.train.gan.quality_measures.EXACT`)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width
