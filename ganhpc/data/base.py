"""What every data set hands to the trainer, and how one is looked up by name."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ganhpc.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DataRequest:
    """Which images a run asks for.

    `name` is a module of `ganhpc.data` or the path of a folder or zip of images; `root` is where the user keeps data (None: look in
    the usual places); `train_images` keeps only the first N training images after a fixed shuffle (None: all);
    `image_size` is in pixels (None: the set's own); `seed` matters to made data only; `held_out`: see `hold_out`.
    """

    name: str
    root: Path | None = None
    train_images: int | None = None
    image_size: int | None = None
    seed: int = 0
    held_out: int | None = None


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def names() -> list[str]:
    """The data sets that can be asked for by name: every public module beside this one that has a `load`."""
    package = importlib.import_module("ganhpc.data")
    helpers = {"base", "loader", "augment", "cache", "folder"}
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in helpers and "_" not in m.name)


def load(request: DataRequest) -> ImageData:
    """The images of `request`. Raises UserError where the name is unknown or the data can't be had."""
    found = _load(request)
    return found if request.held_out is None else hold_out(found, request.held_out)


def hold_out(data: ImageData, n: int) -> ImageData:
    """`data` with `n` of its training images, always the same, in the place of the test images: to choose by, while the test images
    stay unseen. Raises UserError where no image would be left to train on."""
    import torch

    if n >= len(data.images):
        raise UserError(
            f"--held-out {n} leaves none of the {len(data.images):,} training images to train on: type less."
        )
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    kept, held = order[n:].sort().values, order[:n].sort().values
    labels = (None, None) if data.labels is None else (data.labels[kept], data.labels[held])
    note = f"{data.note}; accuracies are those of {n:,} training images held out, the test images are not used"
    return dataclasses.replace(
        data,
        images=data.images[kept],
        test_images=data.images[held],
        labels=labels[0],
        test_labels=labels[1],
        note=note,
    )


def _load(request: DataRequest) -> ImageData:
    if request.name in names():
        return importlib.import_module(f"ganhpc.data.{request.name}").load(request)
    if "/" in request.name or Path(request.name).exists():
        return importlib.import_module("ganhpc.data.folder").load(request)
    raise UserError(
        f"--data {request.name!r} is neither a data set nor a folder or zip of images: {nearest(request.name, names())}."
    )
