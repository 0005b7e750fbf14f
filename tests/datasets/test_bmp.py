"""BMP files that Pillow opens and would read wrongly, made here byte by byte."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ganhpc.datasets.image_decoding import Picture, Skip, decode

SIDE = 32
RNG = np.random.default_rng(5)


def bmp(bits: int, rows: bytes, palette: bytes = b"", compression: int = 0, masks: bytes = b"") -> bytes:
    """A BMP of SIDE pixels a side, `rows` from below, with a header of 40 bytes, or of 124 where it has `masks`."""
    size = 124 if masks else 40
    start = 14 + size + len(palette)
    fields = struct.pack("<IiiHHIIiiII", size, SIDE, SIDE, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    header = (fields + masks).ljust(size, b"\0")
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


def made(data: bytes) -> Picture:
    picture = decode(data, SIDE)
    assert isinstance(picture, Picture)
    return picture


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize(("bits", "levels"), [(4, 2), (8, 2), (4, 16), (8, 256)])
def test_greys_in_order_have_numbers_of_their_own_bits(bits: int, levels: int, runs: bool) -> None:
    """Pillow drops such a palette, and reads each number as one bit, or as a byte."""
    greys = [255 * n for n in range(2)] if levels == 2 else list(range(levels))
    numbers = RNG.integers(0, levels, (SIDE, SIDE)).astype(np.uint8)
    rows = numbers if bits == 8 else numbers[:, ::2] << 4 | numbers[:, 1::2]
    data, compression = rows[::-1].tobytes(), 0
    if runs:
        data = b"".join(bytes((0, SIDE)) + row.tobytes() + b"\0\0" for row in rows[::-1]) + b"\0\1"
        compression = {8: 1, 4: 2}[bits]
    picture = made(bmp(bits, data, b"".join(bytes((n, n, n, 0)) for n in greys), compression))
    assert (picture.pixels == np.array(greys)[numbers][..., None]).all()


def test_16_bits_with_transparency_are_refused_by_name() -> None:
    values = RNG.integers(0, 2**16, (SIDE, SIDE)).astype("<u2").tobytes()
    opaque, transparent = (struct.pack("<IIII", 0x7C00, 0x3E0, 0x1F, alpha) for alpha in (0, 0x8000))
    assert made(bmp(16, values, compression=3, masks=opaque)).change == ""
    with pytest.raises(Skip, match="a BMP of 16 or 24 bits with transparency is not read: save it as PNG"):
        decode(bmp(16, values, compression=3, masks=transparent), SIDE)
