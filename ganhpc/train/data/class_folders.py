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
        names = _classes_of(source, request.class_level)
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


def _classes_of(source: Source, level: int) -> list[str]:
    """Of each file, the folder that names its class. Raises UserError where one has none."""
    folders = [item.folders(in_zip=source.is_zip) for item in source.items]
    without = [item for item, above in zip(source.items, folders, strict=True) if len(above) < max(1, level)]
    if without:
        where = "in no class folder" if level <= 1 else f"less than {level} folders deep"
        raise UserError(
            f"--data {printable(source.path)}: {len(without):,} of its {counted(len(folders), 'picture')} "
            f"{'lies' if len(without) == 1 else 'lie'} {where} (first: {without[0].shown}), and this network learns classes: give a folder with "
            "a folder of pictures for each class."
        )
    found = [above[level - 1] for above in folders]
    if len(set(found)) < 2:
        raise UserError(_one_class(source, folders, found[0]))
    return found


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


def _one_class(source: Source, folders: list[list[str]], only: str) -> str:
    """The sentence on pictures of a single class, with the level that has several where there is one."""
    way_on = "give a folder with a folder of pictures for each class, or train dcgan, began or wgan-gp, which need no classes"
    for level in range(1, min(map(len, folders)) + 1):
        there = sorted({above[level - 1] for above in folders})
        if len(there) > 1:
            some = ", ".join(printable(each) for each in there[:3])
            way_on = f"type --class-level {level} for the {len(there)} folders of that level ({some}{' and more' * (len(there) > 3)})"
            break
    return (
        f"--data {printable(source.path)}: all its {counted(len(folders), 'picture')} are of one class, {printable(only)}, and a "
        f"conditional network needs two or more: {way_on}."
    )


def _held_out(images: Tensor, labels: Tensor, classes: tuple[str, ...], path: Path) -> Tensor:
    """Mask [N] of the images that are held out. They come in the order of their hashes, so that copies are neighbours."""
    new = torch.ones(len(images), dtype=torch.bool)
    new[1:] = (images[1:] != images[:-1]).flatten(1).any(1)
    group = new.cumsum(0)
    counts = collections.Counter(label for label, _ in set(zip(labels.tolist(), group.tolist(), strict=True)))
    for index, name in enumerate(classes):
        if counts[index] < 2:
            raise UserError(
                f"--data {printable(path)}: the class {printable(name)} has {counted(counts[index], 'usable picture')}, and 2 different ones are the "
                "least of a class, one to learn from and one to test on: add some, or take its folder away."
            )
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
