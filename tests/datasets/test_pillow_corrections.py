"""Files that Pillow reads wrongly: read right, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganhpc.datasets import pillow_corrections
from ganhpc.datasets.image_decoding import Skip, decode
from ganhpc.datasets.pixel_range import Range, Type
from tests.datasets.picture_modes import CASES, RNG, SIDE, big_endian_tiff, bytes_of, grey, plain_tiff, png_of
from tests.train.data.test_image_folder import encoded

pytestmark = pytest.mark.usefixtures("kept")


@pytest.mark.parametrize(
    ("dtype", "sample_format", "low", "high"),
    [
        ("<u2", 1, 0, 4095),
        ("<u4", 1, 0, 4095),
        ("<u4", 1, 0, 2**32 - 1),
        ("<i4", 2, 0, 70_000),
        ("<i2", 2, -1000, 2000),
        ("<i2", 2, 0, 4095),
        ("<i2", 2, 0, 32767),
        ("<f4", 3, 0, 1),
    ],
)
@pytest.mark.parametrize("photometric", [1, 0])
def test_types_of_numbers_in_a_tiff(dtype, sample_format, low, high, photometric):
    share = RNG.random((SIDE, SIDE))
    share[0, :2] = 0, 1
    values = (low + share * (high - low)).round(0 if dtype[1] != "f" else 7).astype(dtype)
    data = plain_tiff(values, sample_format, photometric)
    if photometric == 0 and dtype in ("<u4", "<i4", "<i2"):  # Pillow opens none of them
        with pytest.raises(Skip, match="a kind of TIFF that Pillow does not read"):
            decode(data, SIDE)
        return
    made = decode(data, SIDE).pixels[..., 0]
    wanted = share if photometric else 1 - share
    assert np.abs(made - wanted * 255).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "sample_format", "words"),
    [("<f8", 3, "numbers of 64 bits"), ("<u8", 1, "numbers of 64 bits"), ("|i1", 2, "8 bits with a sign")],
)
def test_types_of_numbers_that_are_refused_by_name(dtype, sample_format, words):
    with pytest.raises(Skip, match=words):
        decode(plain_tiff(np.zeros((SIDE, SIDE), dtype), sample_format), SIDE)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_grey_of_few_bits_shows_white(bits):
    values = RNG.integers(0, 2**bits, (SIDE, SIDE)).astype(np.uint8)
    values[:4] = 1
    digits = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(SIDE, -1)
    made = decode(png_of([row.tobytes() for row in np.packbits(digits, axis=1)], bits, 0, (1,)), SIDE)
    wanted = grey(np.where(values == 1, 255.0, values * (255.0 / (2**bits - 1))))
    assert "transparent, laid on white" in made.change
    assert np.abs(made.pixels - wanted).max() <= 1


def test_a_transparent_colour_of_16_bits_is_refused_by_name():
    values = RNG.integers(0, 65536, (SIDE, SIDE, 3)).astype(">u2")
    with pytest.raises(Skip, match="16-bit colours, one of which is transparent"):
        decode(png_of([row.tobytes() for row in values], 16, 2, (1000, 2000, 3000)), SIDE)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("dtype", "sample_format", "low", "high"),
    [("u2", 1, 0, 4095), ("i2", 2, -1000, 2000), ("i4", 2, -70_000, 70_000), ("f4", 3, -1, 1), ("f4", 3, -3, 5)],
)
def test_big_endian_numbers_compressed_or_not(dtype, sample_format, low, high, deflate):
    share = RNG.random((SIDE, SIDE))
    share[0, :2] = 0, 1
    values = (low + share * (high - low)).round(0 if dtype != "f4" else 7).astype(dtype)
    made = decode(big_endian_tiff(values[..., None], sample_format, deflate=deflate), SIDE)
    assert "finite" not in made.change
    assert np.abs(made.pixels - grey(share * 255)).max() <= 1


def test_16_bit_colours_in_planes_are_right_or_refused_by_name():
    values = RNG.integers(0, 65536, (SIDE, SIDE, 3)).astype("u2")
    values[0, 0] = 65535
    made = decode(big_endian_tiff(values, 1, deflate=True, planes=True), SIDE).pixels
    assert np.abs(made - values / 257).max() <= 1
    with pytest.raises(Skip, match="16-bit colours in planes, uncompressed"):
        decode(big_endian_tiff(values, 1, deflate=False, planes=True), SIDE)
    eight = (values >> 8).astype("u1")
    assert (decode(big_endian_tiff(eight, 1, deflate=False, planes=True), SIDE).pixels == eight).all()


@pytest.mark.parametrize(
    ("channels", "deflate", "tags", "words"),
    [
        (3, False, [(266, [2])], "planes, uncompressed, whose bits are in reverse order"),
        (2, True, [(338, [2])], "grey or a palette with its transparency in a plane"),
        (3, False, [(254, [1])], "its first page is a smaller version of another one"),
    ],
)
def test_tiffs_that_pillow_reads_wrongly_are_refused_by_name(channels, deflate, tags, words):
    values = bytes_of(channels)
    data = big_endian_tiff(values, 1, deflate=deflate, planes=True, more_tags=tags)
    with pytest.raises(Skip, match=words):
        decode(data, SIDE)


@pytest.mark.parametrize("dtype", ["f4", "u4", "f2", "f8"])
def test_wide_colours_of_a_tiff_are_refused_by_name(dtype):
    with pytest.raises(Skip, match=r"a kind of TIFF that Pillow does not read, such as .* 32 bits in colour"):
        decode(big_endian_tiff(bytes_of(3).astype(dtype), 3 if dtype[0] == "f" else 1, deflate=False), SIDE)


@pytest.mark.parametrize("kind", [0, 2, 4])
def test_a_first_page_of_its_own_is_read(kind):
    values = bytes_of(3)
    made = decode(big_endian_tiff(values, 1, deflate=True, planes=True, more_tags=[(254, [kind])]), SIDE)
    assert (made.pixels == values).all()


@pytest.mark.parametrize("codestream", [False, True])
def test_a_jpeg_2000_states_its_bits(codestream):
    """Pillow writes 16 bits alone: here both headers are changed to 12, and the values moved to where a decoder puts them back."""
    values = RNG.integers(0, 1000, (SIDE, SIDE))
    data = bytearray(
        encoded(
            Image.fromarray((values - 2**11 + 2**15).astype(np.uint16)),
            "JPEG2000",
            no_jp2=codestream,
            irreversible=False,
        )
    )
    for mark, offset in ((b"ihdr", 14), (b"\xff\x4f\xff\x51", 42)):
        if (at := data.find(mark)) >= 0:
            assert data[at + offset] == 15
            data[at + offset] = 11
    made = decode(bytes(data), SIDE).pixels
    assert np.abs(made - grey(values / 4095 * 255)).max() <= 1
    wide = encoded(Image.fromarray(values.astype(np.uint16)), "JPEG2000", no_jp2=codestream, irreversible=False)
    assert np.abs(decode(wide, SIDE, {Type.SHORT: Range(0, 1000)}).pixels - grey(values / 1000 * 255)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "bits", "codestream", "words"),
    [
        ("RGB", 12, False, "more than 8 bits a colour"),
        ("RGB", 12, True, "more than 8 bits a colour"),
        ("L", 9, False, "more than 8 bits a colour"),
        ("L", 8 + 0x80, True, "a sign"),
        ("I;16", 16 + 0x80, False, "a sign"),
    ],
)
def test_a_jpeg_2000_that_pillow_reads_wrongly_is_refused_by_name(mode, bits, codestream, words):
    """Of more than 8 bits, Pillow 13 makes white black: 4095 of 12 bits becomes 256, and 0 then."""
    _, image, *_ = next(case for case in CASES if case[0] == mode)
    data = bytearray(encoded(image, "JPEG2000", no_jp2=codestream))
    for mark, offset in ((b"ihdr", 14), (b"\xff\x4f\xff\x51", 42)):
        if (at := data.find(mark)) >= 0:
            data[at + offset] = bits - 1
    with pytest.raises(Skip, match=words):
        decode(bytes(data), SIDE)


def test_what_the_first_frame_of_a_gif_leaves_open_is_transparent():
    half = SIDE // 2
    image = Image.fromarray(np.full((half, half), 7, np.uint8), "P")
    image.putpalette(bytes_of(3).tobytes()[:768])
    data = encoded(image, "GIF")
    frame = b"\x2c" + bytes((0, 0, 0, 0, half, 0, half, 0))
    assert data.count(frame) == 1
    moved = (
        data[:6] + bytes((SIDE, 0, SIDE, 0)) + data[10:].replace(frame, b"\x2c" + bytes((8, 0, 8, 0, half, 0, half, 0)))
    )
    made = decode(moved, SIDE)
    wanted = np.full((SIDE, SIDE, 3), 255)
    wanted[8 : 8 + half, 8 : 8 + half] = decode(data, half).pixels[0, 0]
    assert (made.pixels == wanted).all() and made.change == "transparent, laid on white"


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_tiles_that_are_plain_tuples_are_read_too(kind, monkeypatch):
    """As Pillow 10 has them, the oldest that is allowed."""
    before_load = pillow_corrections.before_load
    values = RNG.random((SIDE, SIDE, 1)).astype("f4")
    grey_levels = Image.fromarray(bytes_of(1)[..., 0])
    data = encoded(grey_levels, "GIF") if kind == "GIF" else big_endian_tiff(values, 3, deflate=True)
    wanted = decode(data, SIDE).pixels

    def with_tuples(image, head):
        named = type(image.tile[0])
        image.tile = [tuple(tile) for tile in image.tile]
        before_load(image, head)
        assert all(type(tile) is tuple for tile in image.tile)
        image.tile = [named(*tile) for tile in image.tile]

    monkeypatch.setattr(pillow_corrections, "before_load", with_tuples)
    assert (decode(data, SIDE).pixels == wanted).all()


def test_a_dark_ppm_that_states_its_highest_value_is_kept():
    values = RNG.integers(0, 200, (SIDE, SIDE, 3)).astype(">u2")
    made = decode(b"P6 32 32 1023\n" + values.tobytes(), SIDE).pixels
    assert np.abs(made - values / 1023 * 255).max() <= 1


@pytest.mark.parametrize("compression", [1, 32773])
def test_a_tiff_of_differences_without_a_compression_that_has_them_is_refused(compression):
    def entry(value):
        return (259).to_bytes(2, "big") + bytes((0, 4, 0, 0, 0, 1)) + value.to_bytes(4, "big")

    data = big_endian_tiff(bytes_of(1), 1, deflate=False, more_tags=[(317, [2])])
    with pytest.raises(Skip, match="differences of pixels"):
        decode(data.replace(entry(1), entry(compression)), SIDE)
