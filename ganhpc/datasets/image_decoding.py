"""Pictures made from the files of a folder or zip: decoded, cleaned, cut to a square, or refused with the reason.

Nothing here imports torch, so that `inspect` can serve the login half.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable, slug
from ganhpc.core.units import counted
from ganhpc.datasets import pillow_corrections, pixel_range
from ganhpc.datasets.folder_index import content_digest, find, fingerprint_of
from ganhpc.datasets.image_cache import facts, place
from ganhpc.datasets.image_folder import READ_ERRORS, Item, Source, cause_of, unreadable
from ganhpc.datasets.picture_kinds import DAMAGED, FORMATS, HEAD, kind_of
from ganhpc.datasets.pixel_range import Extent, Range, Type, Unusable
from ganhpc.datasets.types import Size, sides

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL import Image

_MIN_SIDE = 16
"""Pictures with a shorter side, in pixels, are skipped as tiny. Larger ones are enlarged where the size asked for is larger still."""
_MAX_PIXELS = 80_000_000
"""Pictures with more pixels are skipped undecoded: a small file can claim a size that fills memory."""
_HEADER = 2**16
"""First bytes in which a file says its range: a PGM may have comments of any length before its highest value."""
SIZE = 64
"""Pixels where none are asked for."""
VERSION = 6
"""Raised whenever the same files would give other bytes, so that old caches are left alone."""
_FLAT = 2.0
"""A set whose pixels deviate from their mean by less than so many of 255 levels is said to be nearly constant."""
_WORKERS = 2
_COLOURLESS = "grey, kept as RGB"


@dataclass(frozen=True)
class Picture:
    """A usable picture: `pixels` uint8 [S, S, 3], and what was done to it ("" for nothing)."""

    pixels: np.ndarray
    change: str
    enlarged: bool


@dataclass(frozen=True)
class Inspection:
    """The contents of a folder or zip. `skipped` and `converted` hold "name: reason"."""

    path: str
    size: int | str
    """Pixels that the pictures were brought to."""
    files: int
    usable: int
    skipped: tuple[str, ...]
    converted: tuple[str, ...]
    enlarged: int
    """Usable pictures smaller than `size`."""
    seconds: float
    """Seconds of decoding, now or when the cache was made."""
    images_per_second: float
    ranges: tuple[str, ...] = ()
    """The range of pixels and its source, a sentence for each type of pixel that leaves it open."""
    warnings: tuple[str, ...] = ()
    """Oddities of the set as a whole."""


TELL_SECONDS = 10.0
"""Between two lines of progress."""
Tell = Callable[[str], None]
"""Takes a line of progress."""
_T = TypeVar("_T")


class Skip(Exception):
    """Reasons for which a file can't be used."""


def _shown(size: Size) -> int | str:
    """A square's side, or `171x120`: width and height."""
    height, width = sides(size)
    return height if height == width else f"{width}x{height}"


def decode(data: bytes, size: Size, ranges: Mapping[Type, Range] | None = None) -> Picture | Extent:
    """The middle of a picture, in the shape that is asked for, scaled to `size` pixels. Raises Skip where it can't be used.

    `ranges` are those of the whole set. Where it lacks the type of this picture, the answer is the picture's extent; without any set
    (None) the picture decides by itself.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=_formats()) as image:
            width, height = image.size
            if width * height > _MAX_PIXELS:
                raise Skip(f"huge, {width} x {height} pixels")
            if min(width, height) < _MIN_SIDE:
                raise Skip(f"tiny, {width} x {height} pixels")
            pillow_corrections.before_load(image, data[:_HEADER])
            high, wide = sides(size)
            # Big JPEGs are decoded at a fraction of their size.
            image.draft(image.mode, (2 * max(high, wide), 2 * max(high, wide)))
            image.load()
            extent = pixel_range.extent_of(image, data[:_HEADER])
            if isinstance(extent, Extent):
                if ranges is None:
                    if pixel_range.too_dark(extent):
                        raise Skip(pixel_range.TOO_DARK)
                    ranges = pixel_range.settled({extent.type: extent})
                if extent.type not in ranges:
                    return extent
                extent = None if extent.type is Type.COLOUR else ranges[extent.type]
            return _fitted(image, size, extent, enlarged=width < wide or height < high)
    except Image.DecompressionBombError:
        raise Skip("huge, too many pixels") from None
    except UnidentifiedImageError:
        kind = kind_of(data[:HEAD])
        such = ", such as numbers of 64 bits, and of 32 bits in colour" * (
            kind == "TIFF"
        ) + ", such as PAM and floats in colour" * (kind == "PPM")
        known = f"damaged, or a kind of {kind} that Pillow does not read{such}"
        raise Skip(unreadable(known if kind else DAMAGED)) from None
    except MemoryError:
        raise Skip("huge, no memory to decode it") from None
    except Unusable as reason:
        raise Skip(str(reason)) from None
    except Skip:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise Skip(unreadable(error)) from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _fitted(image: Image.Image, size: Size, values: Range | None, *, enlarged: bool) -> Picture:
    """`values`: what becomes 0..255, for pictures of more than 8 bits."""
    import numpy as np
    from PIL import Image, ImageOps

    changes = [_first_of(image)]
    if values is not None:
        orientation = image.getexif().get(0x0112, 1)
        image, odd = pixel_range.scaled(image, values)
        image.getexif()[0x0112] = orientation
        if odd:
            are = "is no finite number" if odd == 1 else "are no finite numbers"
            changes.append(f"{counted(odd, 'pixel')} {are}, taken as black or white")
    upright = ImageOps.exif_transpose(colours(image))
    if "A" in upright.getbands():
        alpha = np.asarray(upright.getchannel("A"))
        if not alpha.any():
            raise Skip("transparent all over")
        if alpha.min() < 255:
            changes.append("transparent, laid on white")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        upright = upright.convert("RGB")
    fitted = ImageOps.fit(upright, sides(size)[::-1], method=Image.Resampling.BICUBIC)
    pixels = np.asarray(fitted)
    if (pixels[..., :1] == pixels).all():
        changes.append(_COLOURLESS)
    return Picture(pixels, "; ".join(filter(None, changes)), enlarged)


def colours(image: Image.Image) -> Image.Image:
    """A picture of 8 bits a channel (or 1, or a palette) as RGB, or as RGBA where parts of it are transparent. Raises Skip."""
    from PIL import ImageChops, ImageCms

    turned = image.getexif().get(0x0112, 1)
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        made = ImageChops.invert(image).convert("RGB")  # Pillow takes every one for inverted, as Adobe's are
    elif image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    elif image.mode == "La":
        made = image.convert("LA").convert("RGBA")
    elif image.has_transparency_data:
        made = image.convert("RGBA")
    elif image.mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        made = image.convert("RGB")
    else:
        raise Skip(f"pictures of mode {image.mode} are not read: save it as PNG")
    pillow_corrections.after_load(image, made)
    if turned != 1 and made.getexif().get(0x0112, 1) != turned:
        made.getexif()[0x0112] = turned
    return made


def _first_of(image: Image.Image) -> str:
    """The note on a file with several pictures."""
    try:
        several = bool(getattr(image, "is_animated", False))
        image.seek(0)
    except Exception:  # the pictures behind the first are damaged
        several = True
    if not several:
        return ""
    return "several pages, its first" if image.format in ("TIFF", "MPO") else "animated, its first frame"


def _decode_all(
    source: Source, size: Size, ranges: Mapping[Type, Range] | None = None
) -> Iterator[tuple[Item, Picture | Extent | str]]:
    """Each item in order with its picture, its extent where `ranges` lacks its type, or the sentence that says why it is skipped.

    Two threads decode ahead. Raises UserError where a file is not what it was when the set was looked through: the pictures that are made
    are kept under the fingerprint of that moment.
    """
    from PIL import Image

    def one(item: Item) -> Picture | Extent | str:
        if not item.digest:  # a published set, known by its lists
            return decoded(source, item, size, ranges)
        return _picture_or_reason(_unchanged(source, item), size, ranges)

    with warnings.catch_warnings(), ThreadPoolExecutor(_WORKERS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # Pillow's on odd metadata
        for start in range(0, len(source.items), 256):  # a bounded number of pictures waits in memory
            part = source.items[start : start + 256]
            yield from zip(part, pool.map(one, part), strict=True)


def _unchanged(source: Source, item: Item) -> bytes:
    """The content of a file of `source`. Raises UserError where it is another one by now, or can't be read any more."""
    try:
        data = source.read(item, None)
        why = "has changed" if content_digest(data) != item.digest else ""
    except READ_ERRORS as error:
        why = f"can't be read any more ({cause_of(error)})"
    if why:
        raise UserError(
            f"--data {printable(source.path)}: {item.shown} {why} since the set was looked through, a moment ago: type the command again "
            "when nothing writes there any more."
        )
    return data


def decoded(source: Source, item: Item, size: Size, ranges: Mapping[Type, Range] | None) -> Picture | Extent | str:
    """As `decode`, of a file of `source`; the sentence where it can't be used."""
    try:
        return _picture_or_reason(source.read(item, None), size, ranges)
    except READ_ERRORS as error:
        return unreadable(error)


def _picture_or_reason(data: bytes, size: Size, ranges: Mapping[Type, Range] | None) -> Picture | Extent | str:
    """As `decode`; the sentence where the picture is skipped."""
    try:
        return decode(data, size, ranges)
    except Skip as reason:
        return str(reason)


def extents_of(source: Source, size: Size, tell: Tell | None = None) -> dict[Type, Extent]:
    """The lowest and the highest values in the whole set, for each type of pixel whose range the set decides. `tell` gets lines of progress."""
    decoding = with_progress(_decode_all(source, size, {}), len(source.items), tell, "range of the whole set: decoding")
    return pixel_range.merged(each for _, each in decoding if isinstance(each, Extent))


def with_progress(results: Iterable[_T], total: int, tell: Tell | None, what: str) -> Iterator[_T]:
    """The `results`, `total` in number; `tell` gets a line now and then while they take long."""
    began = told = time.perf_counter()
    for number, each in enumerate(results, start=1):
        yield each
        now = time.perf_counter()
        if tell and now - told > TELL_SECONDS:
            told = now
            tell(f"{what}, {number:,} of {total:,} files, {(total - number) * (now - began) / number:.0f} s more")


class _Survey:
    """The sums over a set while it is decoded."""

    def __init__(self, source: Source, keep: Callable[[Item, np.ndarray], None]) -> None:
        self.keep = keep
        self.skipped = [str(left) for left in source.others]
        self.converted: list[str] = []
        self.usable = self.enlarged = 0
        self.count, self.sum, self.squares = 0, 0.0, 0.0
        self.open: list[tuple[Item, Extent]] = []

    def take(self, item: Item, result: Picture | Extent | str) -> None:
        if isinstance(result, str):
            self.skipped.append(f"{item.shown}: {result}")
        elif isinstance(result, Extent):
            self.open.append((item, result))
        else:
            self._picture(item, result)

    def _picture(self, item: Item, result: Picture) -> None:
        import numpy as np

        self.keep(item, result.pixels)
        values = result.pixels.astype(np.int64)
        self.count, self.sum, self.squares = (
            self.count + values.size,
            self.sum + float(values.sum()),
            self.squares + float((values * values).sum()),
        )
        self.usable += 1
        self.enlarged += result.enlarged
        if result.change:
            self.converted.append(f"{item.shown}: {result.change}")

    def warnings(self) -> tuple[str, ...]:
        """A sentence where the pictures hold next to nothing."""
        if not self.count:
            return ()
        mean = self.sum / self.count
        deviation = max(0.0, self.squares / self.count - mean * mean) ** 0.5
        if deviation >= _FLAT:
            return ()
        return (
            f"the pictures are nearly constant: all their pixels lie at {mean:.1f} ± {deviation:.2f} of 255; look at the files, there is "
            "little in them to learn",
        )


def survey(
    source: Source, size: Size, keep: Callable[[Item, np.ndarray], None], tell: Tell | None = None
) -> Inspection:
    """Decode every picture of `source`, hand the usable ones to `keep` in the order of their names, and sum up.

    Pictures whose range the whole set decides come after the others. `tell` gets a line of progress now and then.
    """
    began = time.perf_counter()
    sums = _Survey(source, keep)
    for item, result in with_progress(_decode_all(source, size, {}), len(source.items), tell, "data: decoding"):
        sums.take(item, result)
    extents = pixel_range.merged(extent for _, extent in sums.open)
    wide = []
    for item, extent in sums.open:
        if pixel_range.too_dark(extents[extent.type]):
            sums.skipped.append(f"{item.shown}: {pixel_range.TOO_DARK}")
        else:
            wide.append(item)
    if wide:
        again = _decode_all(dataclasses.replace(source, items=tuple(wide)), size, pixel_range.settled(extents))
        for item, result in with_progress(again, len(wide), tell, "data: decoding with the range of the whole set"):
            sums.take(item, result)
    seconds = time.perf_counter() - began
    return Inspection(
        path=printable(source.path),
        size=_shown(size),
        files=len(source.items) + len(source.others),
        usable=sums.usable,
        skipped=tuple(sorted(sums.skipped)),
        converted=tuple(sorted(sums.converted)),
        enlarged=sums.enlarged,
        seconds=seconds,
        images_per_second=len(source.items) / max(seconds, 1e-9),
        ranges=tuple(pixel_range.sentences(extents)),
        warnings=sums.warnings(),
    )


def require_two(path: Path) -> None:
    """Raise UserError where fewer than two different pictures of a folder or zip can be used. They are tried until two are found."""
    source = find(path)
    try:
        usable, dark, skipped = set[str](), list[Item](), [str(left) for left in source.others]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's
            for item in source.items:
                result = decoded(source, item, _MIN_SIDE, {})
                if isinstance(result, Extent) and pixel_range.too_dark(result):
                    dark.append(item)  # usable where another one of the set is bright
                    continue
                if isinstance(result, Extent):
                    usable |= {each.digest for each in dark if result.type is Type.COLOUR}
                    result = decoded(source, item, _MIN_SIDE, None)
                if isinstance(result, str):
                    skipped.append(f"{item.shown}: {result}")
                else:
                    usable.add(item.digest)
                if len(usable) > 1:
                    return
        skipped += [f"{item.shown}: {pixel_range.TOO_DARK}" for item in dark if item.digest not in usable]
        raise too_few(printable(source.path), len(usable), sorted(skipped))
    finally:
        source.close()


def too_few(path: str, usable: int, skipped: Sequence[str]) -> UserError:
    """The error on a set with fewer than two different pictures."""
    why = f"; skipped, for example, {skipped[0]}" if skipped else ""
    return UserError(
        f"--data {path}: it has {counted(usable, 'usable image')}, and 2 different ones are the least: one to learn from and one to test on{why}."
    )


def identity(source: Source, size: Size) -> dict[str, str | int]:
    """The cache's key for the pictures of `source` at `size` pixels: their names and contents, wherever they lie."""
    return {"pictures": fingerprint_of(source), "size": _shown(size), "version": VERSION}


def cache_name(source: Source, size: Size) -> str:
    """First words of the cache's file name."""
    return f"{slug(source.path.resolve().stem)[:80]}-{_shown(size)}"


def known(source: Source, size: Size) -> Inspection | None:
    """The inspection that the cache keeps of these pictures, with the path and the files that are left out as they are now."""
    info = facts(place(cache_name(source, size), identity(source, size)))
    return None if info is None else from_facts(source, info)


def from_facts(source: Source, info: Mapping[str, Any]) -> Inspection | None:
    """The inspection in the facts that were kept; None where they are not whole."""
    fields = Inspection.__dataclass_fields__
    if not fields.keys() <= info.keys() or not all(is_lines(info.get(key)) for key in _LINES):
        return None
    if not all(_is_amount(info[key]) for key in _NUMBERS) or not isinstance(info["size"], int | str):
        return None
    values: dict[str, Any] = {key: info[key] for key in fields}
    lists = {key: tuple(values[key]) for key in ("converted", "ranges", "warnings")}
    skipped = tuple(sorted([*info["undecoded"], *(str(left) for left in source.others)]))
    files = len(source.items) + len(source.others)
    return Inspection(**values | lists | {"skipped": skipped, "files": files, "path": printable(source.path)})


_LINES = ("converted", "ranges", "warnings", "undecoded")
_NUMBERS = ("usable", "enlarged", "seconds", "images_per_second")


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and (0 <= value < 1e15 or value == math.inf)  # images a second of no time at all


def is_lines(value: Any) -> bool:
    """True for a list of texts."""
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def to_facts(source: Source, seen: Inspection) -> dict[str, Any]:
    """The part of an inspection that the cache keeps: of the skipped pictures those that only decoding told."""
    others = {str(left) for left in source.others}
    return {**dataclasses.asdict(seen), "undecoded": [line for line in seen.skipped if line not in others]}


def inspect(path: Path, size: int = SIZE) -> Inspection:
    """Inspect the folder or zip `path`: every picture is decoded, unless the cache already knows these pictures at this size.

    Raises UserError where `path` is neither a folder nor a zip, or holds no picture at all.
    """
    source = find(path)
    try:
        return known(source, size) or survey(source, size, lambda _, __: None)
    finally:
        source.close()
