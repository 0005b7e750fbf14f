"""Corrections of pictures that Pillow opens and reads wrongly, each for a kind of file; what can't be put right is refused by name.

Each correction looks at what Pillow itself plans to do, so that it ends by itself where a later Pillow is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganhpc.datasets.pixel_range import Unusable, jpeg_2000, tag

if TYPE_CHECKING:
    from PIL import Image

_NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS", "I;32B": "I;32N"}
"""Pillow's raw modes of big-endian numbers, and the same in the byte order of this machine."""
_KIND, _BITS, _COMPRESSION, _FILL_ORDER, _PLANES, _PREDICTOR = 254, 258, 259, 266, 284, 317
"""Tags of TIFF."""
_PLAIN = (1, 32_773)
"""Compressions of TIFF that know no differences: none, and PackBits."""
_REDUCED = 1
"""Bit of a page's kind: it is a smaller version of another page."""
_COVERED = "covered by the first frame"
"""Key of `info`: the box outside of which a picture is transparent."""
_GREY, _COLOUR = 0, 2
"""Types of colour in the header of a PNG."""
_CORE, _WITH_ALPHA_MASK, _BITFIELDS = 12, 56, 3
"""Of a BMP: the header of the oldest kind, the smallest with a mask for transparency, and the compression by which masks count."""
_PALETTE_MODES = {4: "P;4", 8: "P"}
"""Bits of a number in a palette, and Pillow's raw mode of it."""


def before_load(image: Image.Image, head: bytes) -> None:
    """Correct how `image` will be read, before it is; `head`: the first bytes of its file. Raises Unusable."""
    if image.format == "TIFF":
        _tiff(image)
    elif image.format == "PNG":
        _transparent_png(image, head)
    elif image.format == "JPEG2000":
        _jpeg_2000(image, head)
    elif image.format == "BMP":
        _bmp(image, head)
    elif image.format == "GIF" and "transparency" not in image.info:
        _gif(image)


def after_load(image: Image.Image, made: Image.Image) -> None:
    """Correct `made`, which is `image` in colours."""
    if box := image.info.get(_COVERED):
        alpha = made.getchannel("R").point(lambda _: 0)
        alpha.paste(255, box)
        made.putalpha(alpha)


def _gif(image: Any) -> None:
    """The first frame may leave a part of the picture open, which Pillow fills with the first colour."""
    boxes = [tuple(tile[1]) for tile in image.tile]
    if boxes and boxes[0] != (0, 0, *image.size):
        image.info[_COVERED] = boxes[0]


def _tiff(image: Any) -> None:
    if tag(image, _KIND, 0) & _REDUCED:
        raise Unusable("its first page is a smaller version of another one, as in a camera's raw file: save it as PNG")
    tiles = getattr(image, "tile", [])
    codecs, planes = {tile[0] for tile in tiles}, tag(image, _PLANES, 1) == 2
    if codecs == {"raw"} and planes and tag(image, _BITS, 8) == 16:
        # Pillow reads each plane as if it had 8 bits.
        raise Unusable("16-bit colours in planes, uncompressed, are not read: save it as PNG or with compression")
    if codecs == {"raw"} and planes and tag(image, _FILL_ORDER, 1) == 2:
        # Pillow reads the bits of each plane in the other order.
        raise Unusable("planes, uncompressed, whose bits are in reverse order are not read: save it as PNG")
    if tag(image, _PREDICTOR, 1) != 1 and tag(image, _COMPRESSION, 1) in _PLAIN:
        # Differences between neighbours, which Pillow takes for the values.
        raise Unusable("differences of pixels without a compression that has them are not read: save it as PNG")
    if planes and image.mode in ("LA", "PA"):
        # Pillow leaves the plane of the transparency empty.
        raise Unusable("grey or a palette with its transparency in a plane is not read: save it as PNG")
    if codecs == {"libtiff"}:
        # libtiff gives numbers in the byte order of this machine; Pillow would swap them once more.
        image.tile = [_in_native_order(tile) for tile in tiles]


def _in_native_order(tile: Any) -> Any:
    """A tile with its raw mode in this machine's byte order."""
    return _with_raw_mode(tile, _NATIVE.get(tile[3][0], tile[3][0]))


def _with_raw_mode(tile: Any, mode: str) -> Any:
    """A tile that is read in another raw mode. Pillow 10 has plain tuples there."""
    *place, (_, *more) = tile
    parts = (*place, (mode, *more))
    return parts if type(tile) is tuple else type(tile)(*parts)


def _bmp(image: Any, head: bytes) -> None:
    from PIL import ImagePalette

    size = int.from_bytes(head[14:18], "little")
    bits = int.from_bytes(head[24:26] if size == _CORE else head[28:30], "little")
    masks = size >= _WITH_ALPHA_MASK and int.from_bytes(head[30:34], "little") == _BITFIELDS
    if bits in (16, 24) and masks and any(head[66:70]):
        # Pillow reads the colours alone.
        raise Unusable("a BMP of 16 or 24 bits with transparency is not read: save it as PNG")
    if bits in _PALETTE_MODES and image.mode in ("1", "L") and (image.mode, bits) != ("L", 8):
        # Of greys in order, Pillow drops the palette and takes a number of several bits for one bit, or of 4 bits for a byte.
        greys = (0, 255) if image.mode == "1" else range(2**bits)
        image._mode = "P"
        image.palette = ImagePalette.raw("RGB", bytes(grey for grey in greys for _ in range(3)))
        image.tile = [_with_raw_mode(tile, _PALETTE_MODES[bits]) for tile in image.tile]


def _transparent_png(image: Image.Image, head: bytes) -> None:
    """The one transparent colour of a PNG is given in the file's own bits, which Pillow compares with 8 bits."""
    key, bits, kind = image.info.get("transparency"), head[24], head[25]
    if kind == _COLOUR and bits == 16 and key is not None:
        raise Unusable("16-bit colours, one of which is transparent, are not read: save it with 8 bits")
    if kind == _GREY and bits in (2, 4) and isinstance(key, int) and image.mode == "L":
        image.info["transparency"] = key * 255 // (2**bits - 1)


def _jpeg_2000(image: Image.Image, head: bytes) -> None:
    bits, signed = jpeg_2000(head)
    if signed:
        raise Unusable("a JPEG 2000 of integers with a sign is not read: save it as TIFF")
    if bits > 8 and image.mode != "I;16":
        # Pillow rounds to 8 bits, and the highest values, which become 256, are 0 then: white turns black.
        raise Unusable("a JPEG 2000 with more than 8 bits a colour is not read: save it with 8 bits, or as PNG")
