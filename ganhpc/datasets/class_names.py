"""Classes of pictures by the folders that they lie in: read from names alone, before anything is submitted."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.units import counted
from ganhpc.datasets import catalogue
from ganhpc.datasets.data_path import FIRST, is_path
from ganhpc.datasets.folder_index import find
from ganhpc.datasets.image_folder import Source

LEVEL = "class_level"
"""The field of a definition that says which folder of a picture's path names its class: its network learns classes."""


def require(definition: Mapping[str, Any]) -> None:
    """Raise UserError where the network of `definition` learns classes and its data have none, one, or one of a single picture."""
    level, word = definition.get(LEVEL), definition.get(FIRST, "")
    if not isinstance(level, int):
        return
    if not is_path(word):
        number, asked = catalogue.data_sets(word)[0].classes, definition.get("classes")
        if not number:
            raise UserError(no_classes(word))
        if level:
            raise UserError(
                f"--class-level {level} is for folders and zips of pictures, and --data {word} has labels of its own: leave it out."
            )
        if asked not in (None, number):
            raise UserError(f"--classes {asked}: --data {word} has {number}: type --classes {number}, or leave it out.")
        return
    source = find(Path(word))
    try:
        counts = collections.Counter(classes_of(source, level))
    finally:
        source.close()
    for name, count in sorted(counts.items()):
        if count < 2:
            raise UserError(too_few(word, name, count, "picture"))
    check_number(definition.get("classes"), word, sorted(counts))


def check_number(asked: int | None, word: str, found: Sequence[str]) -> None:
    """Raise UserError where another number of classes is asked for than there are."""
    if asked is not None and asked != len(found):
        some = ", ".join(map(printable, found[:3]))
        raise UserError(
            f"--classes {asked}: --data {printable(word)} has {len(found)} ({some}{' and more' * (len(found) > 3)}); "
            f"type --classes {len(found)}, or look at the folder and --class-level."
        )


def no_classes(word: str) -> str:
    """The sentence on a set without classes."""
    return (
        f"--data {printable(word)} has no classes, and biggan is a conditional network: give cifar10, synthetic, or a folder with a folder "
        "of pictures for each class; dcgan, began and wgan-gp need none."
    )


def too_few(path: Path | str, name: str, count: int, what: str) -> str:
    """The sentence on a class with less than two pictures."""
    return (
        f"--data {printable(path)}: the class {printable(name)} has {counted(count, what)}, and 2 different ones are the "
        "least of a class, one to learn from and one to test on: add some, or take its folder away."
    )


def classes_of(source: Source, level: int) -> list[str]:
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
