"""A folder or zip of class folders: pictures with the class that a folder of their path names.

Pictures are read, cut and scaled as `image_folder` has them. Held-out ones are a share of each class: of its distinct pictures the first in
the order of a hash of their bytes, one at least. Copies of one picture, of one class or of several, go to one side.
"""

from __future__ import annotations

import collections
from pathlib import Path

import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.units import counted
from ganhpc.core.whoami import expand
from ganhpc.datasets import class_names
from ganhpc.datasets import image_decoding as pictures
from ganhpc.datasets.folder_index import find, fingerprint_of
from ganhpc.datasets.image_cache import WHOLE_NUMBERS, cached, strange
from ganhpc.datasets.image_folder import Item, Left, Source, hidden
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.train.data import image_folder

_MOST = 1_000
"""Pictures held out of all classes together, at most."""


def load(request: DataRequest) -> ImageData:
    """The pictures of `request.name` with their classes, in the order of the classes' names.

    Raises UserError as `image_folder.load` does, and where pictures lie in no class folder, or a class has fewer than two different ones.
    """
    path, size = expand(request.name), pictures.SIZE if request.image_size is None else request.image_size
    assert request.class_level is not None
    source = find(path)
    try:
        names = class_names.classes_of(source, request.class_level)
        identity = {**pictures.identity(source, size), "places": True}
        kept = cached(
            pictures.cache_name(source, size),
            identity,
            lambda: image_folder.decode(source, size, request.say, places=True),
        )
        seen = pictures.from_facts(source, kept.info)
        fingerprint = fingerprint_of(source)
        lost = _lost_classes(source, request.class_level, names)
    finally:
        source.close()
    if seen is None:
        raise strange(kept.path)
    images = kept.tensor("images", None, 3, size, size)
    places = kept.tensor("items", len(images), kinds=WHOLE_NUMBERS)
    if places.min() < 0 or places.max() >= len(names):
        raise strange(kept.path)
    used = [names[place] for place in places.tolist()]
    classes = tuple(sorted(set(names)))
    labels = torch.tensor([classes.index(name) for name in used])
    held = _held_out(images, labels, classes, path)
    train, test = (mask.nonzero().squeeze(1) for mask in (~held, held))
    train = image_folder.first(train, request.train_images, path)
    name = printable(path.stem if path.is_file() else path.resolve().name)
    note = f"{counted(len(classes), 'class')}; {image_folder.note(kept, seen)}"
    return ImageData(
        name,
        images[train],
        labels[train],
        images[test],
        labels[test],
        tuple(printable(each) for each in classes),
        note=note,
        skipped=seen.skipped,
        warnings=(*lost, *seen.ranges, *seen.warnings),
        fingerprint=fingerprint,
    )


def _lost_classes(source: Source, level: int, names: list[str]) -> list[str]:
    """A sentence on folders that would name a class, had they a picture that is read."""
    lost: dict[str, list[Left]] = {}
    for left in source.others:
        above = Item(left.name, 0).folders(in_zip=source.is_zip)
        if len(above) >= max(1, level) and not hidden(left.name.replace("\\", "/")):
            lost.setdefault(above[level - 1], []).append(left)
    for name in names:
        lost.pop(name, None)
    if not lost:
        return []
    some = "; ".join(
        f"{printable(name)} ({counted(len(left), 'file')}, first: {left[0]})" for name, left in sorted(lost.items())[:3]
    )
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return [f"no class, since no picture in it is read: {some}{more}"]


def _held_out(images: Tensor, labels: Tensor, classes: tuple[str, ...], path: Path) -> Tensor:
    """Mask [N] of the images that are held out. They come in the order of their hashes, so that copies are neighbours."""
    new = torch.ones(len(images), dtype=torch.bool)
    new[1:] = (images[1:] != images[:-1]).flatten(1).any(1)
    group = new.cumsum(0)
    counts = collections.Counter(label for label, _ in set(zip(labels.tolist(), group.tolist(), strict=True)))
    for index, name in enumerate(classes):
        if counts[index] < 2:
            raise UserError(class_names.too_few(path, name, counts[index], "usable picture"))
    share = min(image_folder.HELD_OUT, _MOST / sum(counts.values()))
    held: set[int] = set()
    for index in range(len(classes)):
        own = list(dict.fromkeys(group[labels == index].tolist()))
        held |= set(own[: max(1, round(share * len(own)))])
    chosen = torch.isin(group, torch.tensor(sorted(held)))
    for index, name in enumerate(classes):
        if chosen[labels == index].all():
            raise UserError(
                f"--data {printable(path)}: every picture of the class {printable(name)} is a copy of one that tests another class: take the "
                "copies out of one of the two."
            )
    return chosen
