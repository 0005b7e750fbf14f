"""The images of a run: a data set by its name, or the user's folder or zip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from ganhpc.core.errors import UserError, nearest
from ganhpc.datasets.catalogue import names
from ganhpc.datasets.cifar10 import source
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.train.data import celeba, class_folders, image_folder, lines, synthetic

LOADERS: dict[str, Callable[[DataRequest], ImageData]] = {
    "celeba": celeba.load,
    "cifar10": source.load,
    "lines": lines.load,
    "negatives": lines.load_negatives,
    "synthetic": synthetic.load,
}
"""Name of a data set -> the function that loads it; the names are those of `catalogue.SETS`."""


def load(request: DataRequest) -> ImageData:
    """The images of `request`. Raises UserError where the name is unknown or the data can't be had."""
    found = _load(request)
    return found if request.held_out is None else hold_out(found, request.held_out)


def hold_out(data: ImageData, n: int) -> ImageData:
    """`data` with `n` of its training images, always the same, instead of the test images: to choose by, while the test images
    stay unseen. Raises UserError where no image would be left to train on."""
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
    if request.name in LOADERS and request.image_width not in (None, request.image_size):
        raise UserError(
            f"--image-width {request.image_width}: {request.name} has square images; leave the option out, or give --data a folder or zip of pictures."
        )
    if request.name in LOADERS:
        return LOADERS[request.name](request)
    if "/" in request.name or Path(request.name).exists():
        return (image_folder if request.class_level is None else class_folders).load(request)
    raise UserError(
        f"--data {request.name!r} is neither a data set nor a folder or zip of images: {nearest(request.name, names())}."
    )
