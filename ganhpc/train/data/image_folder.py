"""Any folder or zip of images: `--data PATH`.

Folders inside are looked through, and not taken for classes: there are no labels (`class_folders` reads them). Each picture becomes its middle square, scaled to
`image_size` (64 where not given); with `image_width`, its middle of that shape. What can't be used is skipped with its name and the reason. The result is kept in the cache
(`ganhpc.datasets.image_cache`), so that pictures are decoded once, and the zip is never unpacked.

Held-out images are a share of HELD_OUT of the distinct pictures, from 1 to 1,000, and always the same: pictures are put in the order of a
hash of their bytes, a fixed shuffle, and the first ones are held out. Copies of one picture have one hash and go to one side, so
none is on both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.units import counted, human_rate
from ganhpc.core.whoami import expand
from ganhpc.datasets import image_decoding as pictures
from ganhpc.datasets.folder_index import find, fingerprint_of
from ganhpc.datasets.image_cache import Cached, cached, strange
from ganhpc.datasets.image_folder import Item, Source
from ganhpc.datasets.types import DataRequest, ImageData, Size, sides
from ganhpc.runs.run_files import is_count

HELD_OUT = 0.05
MOST_HELD_OUT = 1_000


def load(request: DataRequest) -> ImageData:
    """The pictures of the folder or zip `request.name`.

    Raises UserError where it can't be found or has fewer than two different usable pictures, where the cache can't be written, and where
    `train_images` asks for more than there are.
    """
    path, height = expand(request.name), pictures.SIZE if request.image_size is None else request.image_size
    width = height if request.image_width is None else request.image_width
    for flag, side in (("--image-size", height), ("--image-width", width)):
        if not 8 <= side <= 1024:
            raise UserError(f"{flag} {side}: pictures can be brought to 8 to 1024 pixels.")
    size: Size = height if width == height else (height, width)
    kept, seen, fingerprint = prepare(path, size, request.say)
    images = kept.tensor("images", None, 3, height, width)
    held_out = kept.fact("held_out", lambda number: is_count(number) and 0 < number < len(images))
    train = first(images[held_out:], request.train_images, path)
    return ImageData(
        printable(path.stem if path.is_file() else path.resolve().name),
        train,
        None,
        images[:held_out],
        None,
        note=note(kept, seen),
        skipped=seen.skipped,
        warnings=(*seen.ranges, *seen.warnings),
        fingerprint=fingerprint,
    )


def prepare(
    path: Path, size: Size, say: Callable[[str], None] | None = None
) -> tuple[Cached, pictures.Inspection, str]:
    """(`images` uint8 [N, 3, height, width] of a folder or zip, held-out ones first, from the cache or decoded now; what is in it; its
    fingerprint). `say` gets lines of progress."""
    source = find(path)
    try:
        name, identity = pictures.cache_name(source, size), pictures.identity(source, size)
        kept = cached(name, identity, lambda: decode(source, size, say))
        seen = pictures.from_facts(source, kept.info)
        if seen is None:
            raise strange(kept.path)
        return kept, seen, fingerprint_of(source)
    finally:
        source.close()


def note(kept: Cached, seen: pictures.Inspection) -> str:
    """One line on where the images came from, what was skipped and what was changed."""
    place = printable(kept.path)
    if kept.made:
        origin = f"decoded {counted(seen.files, 'file')} in {seen.seconds:.1f} s ({human_rate(seen.images_per_second)} images/s), kept in {place}"
    else:
        origin = f"from the cache {place}"
    parts = [f"{counted(seen.usable, 'image')} of {seen.path} at {seen.size} pixels", origin]
    parts += ["the cache was damaged and was made again"] * kept.repaired
    for lines, word in ((seen.skipped, "skipped"), (seen.converted, "converted")):
        if lines:
            parts.append(f"{len(lines)} {word} (first: {lines[0]})")
    if seen.enlarged:
        parts.append(f"{seen.enlarged} enlarged")
    if copies := kept.fact("copies", is_count):
        parts.append(f"{copies} are copies of others")
    return "; ".join(parts)


def decode(
    source: Source, size: Size, say: Callable[[str], None] | None = None, *, places: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(`images` in the order of a hash of their pixels; facts). `say` gets lines of progress; `places`: also `items`, the place of each
    among the source's files."""
    pixels = np.empty((len(source.items), *sides(size), 3), dtype=np.uint8)
    hashes: list[bytes] = []
    names: list[str] = []

    def keep(item: Item, picture: np.ndarray) -> None:
        pixels[len(hashes)] = picture
        names.append(item.name)
        hashes.append(hashlib.blake2b(picture.tobytes(), digest_size=16).digest())

    seen = pictures.survey(source, size, keep, say)
    split = {"held_out": _held_out(hashes, seen), "copies": len(hashes) - len(set(hashes))}
    order = sorted(range(len(hashes)), key=lambda index: hashes[index])
    images = torch.from_numpy(pixels[order]).permute(0, 3, 1, 2).contiguous()
    tensors = {"images": images}
    if places:
        known = {item.name: index for index, item in enumerate(source.items)}
        tensors["items"] = torch.tensor([known[names[index]] for index in order])
    return tensors, {**pictures.to_facts(source, seen), **split}


def _held_out(hashes: list[bytes], seen: pictures.Inspection) -> int:
    """Number of pictures, first in the order of their hashes, that are held out: whole groups of copies."""
    distinct = sorted(set(hashes))
    if len(distinct) < 2:
        raise pictures.too_few(seen.path, len(distinct), seen.skipped)
    last = distinct[min(MOST_HELD_OUT, max(1, round(HELD_OUT * len(distinct)))) - 1]
    return sum(value <= last for value in hashes)


def first(images: Tensor, number: int | None, path: Path) -> Tensor:
    if number is None:
        return images
    if not 1 <= number <= len(images):
        raise UserError(
            f"--train-images {number}: {path} has {len(images)} training images; ask for 1 to {len(images)}."
        )
    return images[:number]
