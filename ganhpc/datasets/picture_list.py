"""The pictures of a file, folder or zip at one size, in memory: for what a user wants translated, and not for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.core.files import open_regular
from ganhpc.core.printable import printable
from ganhpc.core.whoami import expand, other_case
from ganhpc.datasets import image_decoding, pixel_range
from ganhpc.datasets.data_path import exists
from ganhpc.datasets.folder_index import find
from ganhpc.datasets.image_decoding import Tell
from ganhpc.datasets.pixel_range import Extent, Range, Type
from ganhpc.datasets.types import Size

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 200_000_000


class PictureList(NamedTuple):
    """Pictures that a user wants translated."""

    pictures: list[tuple[str, np.ndarray]]
    """The name and the pixels, uint8 [height, width, 3], of each."""
    skipped: list[str]
    """Reasons for which others can't be used."""
    ranges: list[str]
    """The range of pixels in a folder or zip, a sentence for each type of pixel that leaves it open."""


def pictures(word: str, size: Size, most: int, tell: Tell | None = None) -> PictureList:
    """The pictures that `word` holds, `most` at most. `tell` gets lines of progress. Raises UserError where it is nothing that holds a picture."""
    path = expand(word)
    if not exists(path):
        near = other_case(path)
        way = f"did you mean {printable(near)}?" if near else "check the path."
        raise UserError(f"--input {printable(word)}: there is no such picture, folder or zip; {way}")
    try:
        if path.is_file() and path.suffix.lower() != ".zip":
            return PictureList(_of_file(path, size), [], [])
        return _of_set(path, size, most, tell)
    except UserError as error:
        raise UserError(str(error).replace("--data ", "--input ", 1)) from None


def _of_file(path: Path, size: Size) -> list[tuple[str, np.ndarray]]:
    with open_regular(path, MOST_BYTES) as file:
        data = file.read()
    try:
        made = image_decoding.decode(data, size)
    except image_decoding.Skip as reason:
        raise UserError(f"--input {printable(path)}: it can't be used: {reason}.") from None
    assert isinstance(made, image_decoding.Picture), "a picture by itself decides its range"
    return [(path.name, made.pixels)]


def _of_set(path: Path, size: Size, most: int, tell: Tell | None) -> PictureList:
    source = find(path)
    found: list[tuple[str, np.ndarray]] = []
    skipped = [str(left) for left in source.others]
    extents: dict[Type, Extent] = {}
    ranges: dict[Type, Range] = {}
    try:
        for item in image_decoding.with_progress(source.items, len(source.items), tell, "--input: decoding"):
            if len(found) == most:
                break
            made = image_decoding.decoded(source, item, size, ranges)
            if isinstance(made, Extent) and not extents:
                # As a training finds them: once, from the whole set.
                extents = image_decoding.extents_of(source, size, tell)
                ranges = pixel_range.settled({t: each for t, each in extents.items() if not pixel_range.too_dark(each)})
                made = image_decoding.decoded(source, item, size, ranges)
            if isinstance(made, image_decoding.Picture):
                found.append((item.name, made.pixels))
            else:
                skipped.append(f"{item.shown}: {_why(made, extents)}")
    finally:
        source.close()
    if not found:
        raise UserError(f"--input {printable(path)}: none of its pictures can be used (first: {skipped[0]}).")
    return PictureList(found, skipped, pixel_range.sentences(extents))


def _why(made: Extent | str, extents: Mapping[Type, Extent]) -> str:
    """The reason for which a picture of a set can't be used."""
    if isinstance(made, str):
        return made
    known = extents.get(made.type)
    return pixel_range.TOO_DARK if known and pixel_range.too_dark(known) else "it has changed since it was read first"
