"""Pictures made from the files of a folder or zip: decoded, cleaned, cut to a square, or refused with the reason.

Nothing here imports torch, so that `inspect` can serve the login half.
"""

from __future__ import annotations

import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.data.cache import facts, place
from ganhpc.data.folder_files import Item, Source, find

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no format that starts another program to be read
MIN_SIDE = 16
"""Pictures with a shorter side, in pixels, are skipped as tiny. Larger ones are enlarged where the size asked for is larger still."""
MAX_PIXELS = 80_000_000
"""Pictures with more pixels are skipped undecoded: a small file can claim a size that fills memory."""
SIZE = 64
"""Pixels where none are asked for."""
VERSION = 1
"""Raised whenever the same files would give other bytes, so that old caches are left alone."""
_WORKERS = 2


@dataclass(frozen=True)
class Picture:
    """A usable picture: `pixels` uint8 [S, S, 3], and what was done to it ("" for nothing)."""

    pixels: np.ndarray
    change: str
    enlarged: bool


@dataclass(frozen=True)
class Inspection:
    """What is in a folder or zip. `skipped` and `converted` hold "name: reason"."""

    path: str
    size: int
    """Pixels that the pictures were brought to."""
    files: int
    usable: int
    skipped: tuple[str, ...]
    converted: tuple[str, ...]
    enlarged: int
    """Usable pictures smaller than `size`."""
    seconds: float
    """What decoding took, now or when the cache was made."""
    images_per_second: float


class Skip(Exception):
    """Why a file can't be used."""


def decode(data: bytes, size: int) -> Picture:
    """The middle square of a picture, scaled to `size` pixels. Raises Skip where it can't be used."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Skip(f"huge, {width} x {height} pixels")
            if min(width, height) < MIN_SIDE:
                raise Skip(f"tiny, {width} x {height} pixels")
            image.draft(image.mode, (2 * size, 2 * size))  # big JPEGs are decoded at a fraction of their size
            return _square(image, size, enlarged=min(width, height) < size)
    except Image.DecompressionBombError:
        raise Skip("huge, too many pixels") from None
    except UnidentifiedImageError:
        raise Skip("unreadable (not an image, or its beginning is damaged)") from None
    except MemoryError:
        raise Skip("huge, no memory to decode it") from None
    except Skip:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise Skip(f"unreadable ({error or type(error).__name__})") from None


def _square(image: Image.Image, size: int, *, enlarged: bool) -> Picture:
    import numpy as np
    from PIL import Image, ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    changes = []
    if upright.has_transparency_data:
        with_alpha = upright.convert("RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        if not alpha.any():
            raise Skip("transparent all over")
        if alpha.min() < 255:
            changes.append("transparent, laid on white")
            with_alpha = Image.alpha_composite(Image.new("RGBA", with_alpha.size, "white"), with_alpha)
        colour = with_alpha.convert("RGB")
    else:
        colour = _eight_bits(upright).convert("RGB")
    fitted = ImageOps.fit(colour, (size, size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(fitted)
    if (pixels[..., :1] == pixels).all():
        changes.append("grey, kept as RGB")
    return Picture(pixels, "; ".join(changes), enlarged)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pictures of 16 or 32 bits a pixel brought to 0..255; Pillow would cut them off at 255."""
    import numpy as np
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = min(0.0, float(values.min())), float(values.max())
    if image.mode.startswith("I;16") or (low == 0 and 255 < high <= 65535):
        high = 65535.0
    elif low == 0 and high <= 255:
        high = 255.0
    return Image.fromarray(((values - low) * (255 / (high - low))).round().astype(np.uint8))


def decode_all(source: Source, size: int) -> Iterator[tuple[Item, Picture | str]]:
    """Each item in order with its picture, or the sentence that says why it is skipped. Two threads decode ahead."""
    from PIL import Image

    def one(item: Item) -> Picture | str:
        try:
            return decode(source.read(item), size)
        except Skip as reason:
            return str(reason)
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            return f"unreadable ({error or type(error).__name__})"

    with warnings.catch_warnings(), ThreadPoolExecutor(_WORKERS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for start in range(0, len(source.items), 256):  # a bounded number of pictures waits in memory
            part = source.items[start : start + 256]
            yield from zip(part, pool.map(one, part), strict=True)


def survey(source: Source, size: int, keep: Callable[[np.ndarray], None]) -> Inspection:
    """Decode every picture of `source`, hand the usable ones to `keep` in the order of their names, and sum up."""
    began = time.perf_counter()
    skipped, converted, usable, enlarged = list(source.others), [], 0, 0
    for item, result in decode_all(source, size):
        if isinstance(result, str):
            skipped.append(f"{item.shown}: {result}")
            continue
        keep(result.pixels)
        usable += 1
        enlarged += result.enlarged
        if result.change:
            converted.append(f"{item.shown}: {result.change}")
    seconds = time.perf_counter() - began
    return Inspection(
        path=str(source.path),
        size=size,
        files=len(source.items) + len(source.others),
        usable=usable,
        skipped=tuple(sorted(skipped)),
        converted=tuple(converted),
        enlarged=enlarged,
        seconds=seconds,
        images_per_second=len(source.items) / max(seconds, 1e-9),
    )


def identity(source: Source, size: int) -> dict[str, str | int]:
    """What the cache knows the pictures of `source` at `size` pixels by."""
    return {"source": source.fingerprint(), "size": size, "version": VERSION}


def cache_name(source: Source, size: int) -> str:
    """How the cache's file begins."""
    return f"{source.path.resolve().stem}-{size}"


def inspect(path: Path, size: int = SIZE) -> Inspection:
    """What is in the folder or zip `path`: every picture is decoded, unless the cache already knows this source at this size.

    Raises UserError where `path` is neither a folder nor a zip, or holds no picture at all.
    """
    source = find(path)
    try:
        known = facts(place(cache_name(source, size), identity(source, size)))
        fields = Inspection.__dataclass_fields__
        if known is None or not fields.keys() <= known.keys():
            return survey(source, size, lambda _: None)
        values: dict[str, Any] = {key: known[key] for key in fields}
        return Inspection(**values | {key: tuple(values[key]) for key in ("skipped", "converted")})
    finally:
        source.close()
