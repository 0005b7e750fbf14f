"""CelebA by torchvision's own class: `--data celeba`, where its files are on this machine.

202,599 aligned faces of 178 x 218 pixels (Liu et al., "Deep learning face attributes in the wild", 2015), of which the set's authors
keep 162,770 for training and 19,962 for tests; the 19,867 for validation are left alone. Each picture becomes its middle square, scaled
to `image_size`, and is kept in the cache. No labels. torchvision checks the lists of the set by their checksums; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, first_bytes, open_regular
from ganhpc.datasets import image_decoding as pictures
from ganhpc.datasets.image_cache import VARIABLE, cache_folder, cached
from ganhpc.datasets.image_folder import Item, Source
from ganhpc.datasets.types import DataRequest, ImageData

_BASE = "celeba"
_LIST, _IMAGES = "list_eval_partition.txt", "img_align_celeba"
_LISTS = (
    _LIST,
    "identity_CelebA.txt",
    "list_attr_celeba.txt",
    "list_bbox_celeba.txt",
    "list_landmarks_align_celeba.txt",
)
_LONGEST_LIST = 2**26
"""Bytes of a text file of the set; the longest published one has 27 million."""


def load(request: DataRequest) -> ImageData:
    """CelebA at `image_size` (64) pixels; `train_images` takes the first of a fixed shuffle.

    Raises UserError where the files are not there or are not the published ones, and where more images are asked for than there are.
    """
    size = pictures.SIZE if request.image_size is None else request.image_size
    if not 8 <= size <= 178:
        raise UserError(f"--image-size {size}: CelebA's faces can be brought to 8 to 178 pixels.")
    root = _root(request)
    kept = cached(f"celeba-{size}", _identity(root, size), lambda: _decode(root, size, request.say))
    images, test_images = (kept.tensor(name, None, 3, size, size) for name in ("images", "test_images"))
    skipped = kept.fact("skipped", pictures.is_lines)
    if request.train_images is not None:
        if not 1 <= request.train_images <= len(images):
            raise UserError(
                f"--train-images {request.train_images}: CelebA has {len(images)}; ask for 1 to {len(images)}."
            )
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        images = images[order[: request.train_images]]
    origin = f"decoded, kept in {kept.path}" if kept.made else f"from the cache {kept.path}"
    note = f"CelebA in {root / _BASE} at {size} pixels; {origin}"
    return ImageData("celeba", images, None, test_images, None, note=note, skipped=tuple(skipped))


def _root(request: DataRequest) -> Path:
    """The folder that holds `celeba/`, in the places where it may be."""
    places = [request.root] if request.root else [cache_folder(), Path("data"), Path.home() / "data"]
    for place in places:
        if (place / _BASE / _LIST).is_file() and (place / _BASE / _IMAGES).is_dir():
            return place
    looked = ", ".join(str(place / _BASE) for place in places)
    raise UserError(
        f"--data celeba: no folder holds {_LIST} and {_IMAGES}/ (looked in {looked}). Put the published files there, or in "
        f"{VARIABLE}/{_BASE}; or give any folder or zip of faces by its path: --data PATH."
    )


def _identity(root: Path, size: int) -> dict[str, Any]:
    """Changes with the list and with the folder of images; the list of 202,599 names is not read for it."""
    listed, folder = (root / _BASE / _LIST).stat(), (root / _BASE / _IMAGES).stat()
    stamps = [listed.st_size, listed.st_mtime_ns, folder.st_mtime_ns]
    return {"celeba": stamps, "size": size, "version": pictures.VERSION}


def _decode(root: Path, size: int, say: Callable[[str], None] | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    images, seen = _part(root, "train", size, say)
    test_images, test_seen = _part(root, "test", size, say)
    info = {**asdict(seen), "skipped": [*seen.skipped, *test_seen.skipped]}
    return {"images": images, "test_images": test_images}, info


def _part(root: Path, split: str, size: int, say: Callable[[str], None] | None) -> tuple[Tensor, pictures.Inspection]:
    from torchvision.datasets import CelebA

    try:
        for name in _LISTS:  # torchvision itself would wait for a fifo, and read whatever there is
            with open_regular(root / _BASE / name, _LONGEST_LIST):
                pass
        names = CelebA(root, split=split, download=False).filename
    except (RuntimeError, OSError, Damaged):
        raise UserError(
            f"--data celeba: the text files in {root / _BASE} are not all there or not the published ones; copy them again, or give "
            f"the folder of images by its path: --data {root / _BASE / _IMAGES}."
        ) from None
    folder = root / _BASE / _IMAGES
    items = tuple(Item(name, 0) for name in names)
    pixels = np.empty((len(items), size, size, 3), dtype=np.uint8)
    number = 0

    def keep(item: Item, picture: np.ndarray) -> None:
        del item
        nonlocal number
        pixels[number] = picture
        number += 1

    source = Source(
        folder, items, (), lambda item, limit: first_bytes(folder / item.name, -1 if limit is None else limit)
    )
    seen = pictures.survey(source, size, keep, say)
    if not number:
        raise UserError(
            f"--data celeba: no {split} image in {folder} can be used, of {len(items):,} ({seen.skipped[0]})."
        )
    return torch.from_numpy(pixels[:number]).permute(0, 3, 1, 2).contiguous(), seen
