"""Ranges of pixel values: which two values of a picture with more than 8 bits a channel are black and white.

The type of the file says it for 8 bits and for packed 12-bit pictures. For integers of 16 and 32 bits and for floats it says nothing:
their range follows from the values of the whole set, once for each type, so that pictures keep their brightness relative to one another.
Nothing here imports NumPy or Pillow before a picture is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_INTEGER_TOPS = (1, 255, 1023, 4095, 16383, 65535)
_SIGNED_TOPS = (*_INTEGER_TOPS[:-1], 32767)
_FLOAT_TOPS = (1, 255, 65535)
_FILLS = 4
"""A customary range is taken where the set's values fill at least a fourth of it; else the set's own highest value is white."""
_NOISE = 1e-3
"""Values below zero by at most this share of the highest are rounding, not a range that begins below zero."""
_HIGH_BYTE = 64
"""Pillow keeps only the upper byte of 16-bit colour: where it stays below this in the whole set, too little of each value is left."""


_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF."""
_UNSIGNED, _SIGNED = 1, 2
_VARIED = 255
"""In the container of a JPEG 2000: the codestream says the bits of each channel."""


class Type(StrEnum):
    """The types of pixels whose range a set decides."""

    SHORT = "16-bit integers"
    SIGNED = "16-bit integers with a sign"
    LONG = "32-bit integers"
    FLOAT = "floating-point numbers"
    COLOUR = "16-bit colours"


@dataclass(frozen=True)
class Extent:
    """The lowest and the highest value in pictures of one type."""

    type: Type
    low: float
    high: float
    pictures: int = 1


@dataclass(frozen=True)
class Range:
    """The values that become 0 and 255."""

    black: float
    white: float


class Unusable(Exception):
    """Reasons for which a picture's values can't be used."""


def extent_of(image: Image.Image, head: bytes) -> Extent | Range | None:
    """The values of a picture: an Extent where the set must decide, a Range where the file says it, None for 8 bits a channel.

    `head`: the first bytes of its file. Raises Unusable where no value is a number.
    """
    if image.mode == "L" and tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
        raise Unusable("integers of 8 bits with a sign are not read: save it without")
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return _colours(image, head)
    if stated := _stated_range(image, head):
        return stated
    values = _values(image)
    finite = values[_finite(values)]
    if not finite.size:
        raise Unusable("none of its pixels is a number")
    return Extent(_type_of(image, head), float(finite.min()), float(finite.max()))


def _type_of(image: Image.Image, head: bytes) -> Type:
    if image.mode == "F":
        return Type.FLOAT
    if _bits(image, head) != 16:
        return Type.LONG
    return Type.SIGNED if tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED else Type.SHORT


def merged(extents: Iterable[Extent]) -> dict[Type, Extent]:
    """One extent for each type."""
    found: dict[Type, Extent] = {}
    for each in extents:
        so_far = found.get(each.type)
        if so_far is None:
            found[each.type] = each
        else:
            low, high = min(so_far.low, each.low), max(so_far.high, each.high)
            found[each.type] = Extent(each.type, low, high, so_far.pictures + each.pictures)
    return found


def settled(extents: Mapping[Type, Extent]) -> dict[Type, Range]:
    """The range of each type that a set with these extents has."""
    return {kind: _range(each) for kind, each in extents.items()}


def sentence(extent: Extent) -> str:
    """Source of a type's range."""
    found = _range(extent)
    n = extent.pictures
    return (
        f"{n:,} picture{'s' * (n != 1)} of {extent.type}, with values from {extent.low:g} to {extent.high:g} in the whole set: "
        f"{found.black:g} is black, {found.white:g} white"
    )


def sentences(extents: Mapping[Type, Extent]) -> list[str]:
    """Source of each type's range, but for colours, whose file says it."""
    return [sentence(extent) for kind, extent in extents.items() if kind is not Type.COLOUR]


TOO_DARK = "16-bit colours that use only the lowest values, and the lower half of each is not read: save it with 8 bits"
"""Reason for which a picture is left out whose type is `too_dark` in its set."""


def too_dark(extent: Extent) -> bool:
    """True if 16-bit colours lost too much: Pillow drops the lower byte of each value."""
    return extent.type is Type.COLOUR and extent.high < _HIGH_BYTE


def scaled(image: Image.Image, found: Range) -> tuple[Image.Image, int]:
    """(the picture with `found` spread over 0..255, how many of its pixels are no finite numbers). NaN becomes black."""
    import numpy as np
    from PIL import Image

    values = _values(image)
    odd = int(values.size - np.count_nonzero(_finite(values)))
    if tag(image, _PHOTOMETRIC, 1) == 0:
        found = Range(found.white, found.black)  # in this file the lowest value is white; Pillow turns 8 bits only
    spread = (found.white - found.black) or 1.0
    values = np.nan_to_num(values, nan=found.black, posinf=found.white, neginf=found.black)
    grey = ((values - found.black) * (255 / spread)).round().clip(0, 255).astype(np.uint8)
    made = Image.fromarray(grey)
    key = image.info.get("transparency")
    if isinstance(key, int):
        made = Image.merge("LA", (made, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))))
    return made, odd


def _range(extent: Extent) -> Range:
    low, high = extent.low, extent.high
    if extent.type is Type.COLOUR:
        return Range(0, 255)
    if low < -_NOISE * max(high, 0):
        return Range(-1.0, 1.0) if low >= -1 and high <= 1 and extent.type is Type.FLOAT else Range(low, high)
    tops = {Type.FLOAT: _FLOAT_TOPS, Type.SIGNED: _SIGNED_TOPS}.get(extent.type, _INTEGER_TOPS)
    top = next((top for top in tops if high <= top * (1 + 1e-6)), None)
    if top is None or high * _FILLS < top:
        return Range(0.0, high)
    return Range(0.0, float(top))


def _values(image: Image.Image) -> np.ndarray:
    import numpy as np

    values = np.asarray(image)
    if image.mode == "I" and tag(image, _BITS, 0) == 32 and tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
        values = values.view(np.uint32)  # Pillow keeps 32 bits as if they had a sign
    return values.astype(np.float64)


def _finite(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.isfinite(values)


def _colours(image: Image.Image, head: bytes) -> Extent | None:
    """The upper bytes of a 16-bit picture with several channels, which is all that Pillow gives."""
    if image.mode not in ("RGB", "RGBA", "LA", "RGBX", "RGBa", "CMYK") or _bits(image, head) != 16:
        return None
    if image.format == "PPM" and _maximum(head) != 65535:
        return None  # Pillow has spread the file's own maximum over 0..255
    bands = 1 if image.mode == "LA" else 3
    extremes: Any = image.getextrema()
    return Extent(Type.COLOUR, min(low for low, _ in extremes[:bands]), max(high for _, high in extremes[:bands]))


def _stated_range(image: Image.Image, head: bytes) -> Range | None:
    """The range that the file's type states."""
    if image.format == "PPM":
        # Pillow has spread the file's own maximum over 0..65535; one of 65535 is what programs write for any 16-bit values.
        return Range(0, 65535) if image.mode != "F" and _maximum(head) != 65535 else None
    bits = _bits(image, head)
    # Of JPEG 2000, Pillow has moved the bits to the upper end of 16.
    scale = 2 ** (16 - bits) if image.format == "JPEG2000" else 1
    return Range(0, (2**bits - 1) * scale) if 8 < bits < 16 else None


def _bits(image: Image.Image, head: bytes) -> int:
    """Bits a channel as the file's header has them; 16 for Pillow's modes of 16 bits, 8 where nothing says more."""
    if image.format == "PNG" and head[:4] == b"\x89PNG":
        return head[24]
    if image.format == "PPM":
        return 16 if _maximum(head) > 255 else 8
    if image.format == "JPEG2000":
        return jpeg_2000(head)[0]
    if hasattr(image, "tag_v2"):
        return tag(image, _BITS, 8)
    return 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8


def jpeg_2000(head: bytes) -> tuple[int, bool]:
    """(bits a channel, 16 at most; whether they have a sign) of a JPEG 2000, by the header of its container, or of its codestream; (8, False)
    where neither is found."""
    for mark, offset in ((b"ihdr", 14), (b"\xff\x4f\xff\x51", 42)):
        at = head.find(mark) + offset
        if offset <= at < len(head) and head[at] != _VARIED:
            return min(16, (head[at] & 0x7F) + 1), head[at] > 0x7F
    return 8, False


def tag(image: Image.Image, number: int, default: int) -> int:
    """A whole number among the tags of a TIFF; `default` where there is none, or the file is no TIFF."""
    tags: Any = getattr(image, "tag_v2", {})
    value = tags.get(number, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


def _maximum(head: bytes) -> int:
    """The highest value that a PGM or PPM states, 0 where it states none."""
    plain = re.sub(rb"#[^\n]*", b"", head)
    found = re.match(rb"P[2356]\s+\d+\s+\d+\s+(\d+)\s", plain)
    return int(found[1]) if found else 0
