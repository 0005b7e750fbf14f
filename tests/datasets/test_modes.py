"""Every mode of Pillow, and the containers that hold it, against conversions made here with NumPy alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_decoding, pillow_corrections
from ganhpc.datasets.image_decoding import Skip, colours, decode, inspect, require_two
from ganhpc.datasets.picture_list import pictures
from ganhpc.datasets.pixel_range import Extent, Range, Type, merged, settled
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.image_folder import load
from tests.train.data.test_image_folder import encoded, make

SIDE = 32
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))


def bytes_of(*shape, low=0, high=255):
    """Values that reach both ends, so that a picture by itself has the full range."""
    made = RNG.integers(low, high + 1, (SIDE, SIDE, *shape)).astype(np.uint8)
    made[0, 0], made[0, 1] = low, high
    return made


def grey(values):
    return np.repeat(np.round(values)[..., None], 3, 2)


def over_white(rgb, alpha):
    a = alpha[..., None] / 255
    return rgb * a + 255 * (1 - a)


def rgb_of_cmyk(cmyk):
    k = 255 - cmyk[..., 3:].astype(float)
    return (255 - cmyk[..., :3].astype(float)) * k / 255


def rgb_of_ycc(ycc):
    y, cb, cr = (ycc[..., i].astype(float) - (0, 128, 128)[i] for i in range(3))
    return np.clip(np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1), 0, 255)


def rgb_of_hsv(hsv):
    h, s, v = (hsv[..., i].astype(float) / 255 for i in range(3))

    def f(n):
        k = (n + h * 6) % 6
        return v - v * s * np.clip(np.minimum(k, 4 - k), 0, 1)

    return np.stack([f(5), f(3), f(1)], -1) * 255


def rgb_of_lab(lab):
    """CIELAB of white D50 to sRGB, by the formulas of CIE and IEC, adapted after Bradford."""
    light = lab[..., 0] / 255 * 100
    a, b = (lab[..., i].view(np.int8).astype(float) for i in (1, 2))
    fy = (light + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    matrix = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = np.clip(xyz @ matrix.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def mild_lab():
    """Colours that sRGB has."""
    signed = RNG.integers(-8, 9, (2, SIDE, SIDE)).astype(np.int8).view(np.uint8)
    return np.stack([RNG.integers(90, 190, (SIDE, SIDE)).astype(np.uint8), *signed], -1)


def raw(mode, array):
    return Image.frombytes(mode, (SIDE, SIDE), np.ascontiguousarray(array).tobytes())


def cases():
    one = bytes_of()
    bits = one > 127
    rgb, rgba = bytes_of(3), bytes_of(4)
    la = np.stack([bytes_of(), bytes_of()], -1)
    cmyk, ycc, hsv, lab = bytes_of(4), bytes_of(3), bytes_of(3), mild_lab()
    shorts = RNG.integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)
    shorts[0, :2] = 0, 65535
    palette = bytes_of(3, low=1, high=254).reshape(-1, 3)[:256]
    indexed = raw("P", one)
    indexed.putpalette(palette.tobytes())
    pa = Image.frombytes("PA", (SIDE, SIDE), la.tobytes())
    pa.putpalette(palette.tobytes())
    longs, floats = shorts.astype(np.int32), (shorts / 65535).astype(np.float32)
    of_bits, wide = grey(bits * 255.0), grey(shorts / 257)
    yield "1", Image.fromarray(bits), of_bits, 0, ("PNG", "TIFF", "BMP", "PPM")
    yield "L", raw("L", one), grey(one), 0, ("PNG", "TIFF", "BMP", "PPM", "GIF", "WEBP", "JPEG2000")
    yield "P", indexed, palette[one], 0, ("PNG", "TIFF", "BMP", "GIF")
    yield "RGB", raw("RGB", rgb), rgb, 0, ("PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000", "QOI")
    yield "RGBX", raw("RGBX", rgba), rgba[..., :3], 0, ("TIFF",)
    yield "RGBA", raw("RGBA", rgba), over_white(rgba[..., :3], rgba[..., 3]), 1, ("PNG", "TIFF", "WEBP")
    yield "LA", raw("LA", la), over_white(grey(la[..., 0]), la[..., 1]), 1, ("PNG", "TIFF")
    yield "PA", pa, over_white(palette[la[..., 0]], la[..., 1]), 1, ("TIFF",)
    yield "CMYK", raw("CMYK", cmyk), rgb_of_cmyk(cmyk), 1, ("TIFF",)
    yield "YCbCr", raw("YCbCr", ycc), rgb_of_ycc(ycc), 2, ("TIFF",)
    yield "LAB", raw("LAB", lab), rgb_of_lab(lab), 3, ("TIFF",)
    yield "HSV", raw("HSV", hsv), rgb_of_hsv(hsv), 4, ()
    yield "I;16", Image.fromarray(shorts), wide, 1, ("PNG", "TIFF", "PPM")
    yield "I;16B", raw("I;16B", shorts.astype(">u2")), wide, 1, ("TIFF",)
    yield "I;16L", raw("I;16L", shorts.astype("<u2")), wide, 1, ("TIFF",)
    yield "I", Image.fromarray(longs), wide, 1, ("TIFF",)
    yield "F", Image.fromarray(floats), wide, 1, ("TIFF", "PPM")
    pre = np.round(la[..., 0].astype(float) * la[..., 1] / 255).astype(np.uint8)
    yield (
        "La",
        Image.frombytes("La", (SIDE, SIDE), np.stack([pre, la[..., 1]], -1).tobytes()),
        over_white(grey(la[..., 0]), la[..., 1]),
        3,
        (),
    )
    yield "RGBa", raw("RGBA", rgba).convert("RGBa"), over_white(rgba[..., :3], rgba[..., 3]), 3, ()


CASES = list(cases())
FILES = [(mode, container) for mode, *_, containers in CASES for container in containers]


@pytest.mark.parametrize(("mode", "container"), FILES)
def test_a_file_of_each_mode_and_container(mode, container):
    _, image, wanted, tolerance, _ = next(case for case in CASES if case[0] == mode)
    options = {"WEBP": {"lossless": True, "exact": True}, "JPEG2000": {"irreversible": False}}.get(container, {})
    made = decode(encoded(image, container, **options), SIDE).pixels
    assert np.abs(made - wanted).max() <= tolerance


@pytest.mark.parametrize(
    "mode", [case[0] for case in CASES if case[0] not in ("I", "F") and not case[0].startswith("I;")]
)
def test_a_picture_of_each_mode_in_memory(mode):
    _, image, wanted, tolerance, _ = next(case for case in CASES if case[0] == mode)
    made = colours(image)
    if made.mode == "RGBA":
        made = Image.alpha_composite(Image.new("RGBA", made.size, "white"), made).convert("RGB")
    assert np.abs(np.asarray(made) - wanted).max() <= tolerance


def test_no_mode_of_pillow_is_forgotten():
    from PIL import ImageMode  # noqa: F401

    named = {case[0] for case in CASES}
    for mode in Image.MODES:
        if mode not in named:
            with pytest.raises((Skip, ValueError)):
                colours(Image.new(mode, (20, 20)))


def test_a_cmyk_jpeg_of_adobe_and_one_of_nobody():
    cmyk = np.zeros((SIDE, SIDE, 4), np.uint8)
    cmyk[..., 0], cmyk[: SIDE // 2, :, 2] = 200, 250
    data = encoded(raw("CMYK", cmyk), "JPEG", quality=100, subsampling=0)
    wanted = rgb_of_cmyk(cmyk)
    assert np.abs(decode(data, SIDE).pixels - wanted).max() <= 4
    at = data.index(b"\xff\xee")
    bare = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    plain = decode(bare, SIDE).pixels
    assert np.abs(plain - rgb_of_cmyk(255 - cmyk)).max() <= 4, "without Adobe's mark the values are as they stand"


# -- ranges of a whole set ----------------------------------------------------------------------------------------------


def tiffs(*arrays):
    return {f"{i}.tif": encoded(Image.fromarray(array), "TIFF") for i, array in enumerate(arrays)}


def sets():
    """name -> (two pictures, what is black, what is white)."""
    base = RNG.random((2, SIDE, SIDE))
    base[1] *= 0.5
    base[0, 0, :2] = 0, 1
    for name, top, kind in (
        ("floats to 1", 1, np.float32), ("floats to 255", 255, np.float32), ("floats to 65535", 65535, np.float32), ("floats beyond", 3e6, np.float32),
        ("10 bits", 1023, np.uint16), ("12 bits", 4095, np.uint16), ("14 bits", 16383, np.uint16), ("16 bits", 65535, np.uint16), ("8 bits in 16", 255, np.uint16),
        ("int32 to 255", 255, np.int32), ("int32 of 12 bits", 4095, np.int32), ("int32 of 16 bits", 65535, np.int32), ("int32 of 24 bits", 2**24 - 1, np.int32),
        ("two values", 1, np.uint16), ("floats of 20", 20, np.float32),
    ):  # fmt: skip
        values = base * top
        yield name, (values.round() if kind != np.float32 else values).astype(kind), 0, top
    yield "floats to a tenth", (base * 0.1).astype(np.float32), 0, 0.1
    yield "floats to a millionth", (base * 1e-6).astype(np.float32), 0, 1e-6
    yield "floats from -1", (base * 2 - 1).astype(np.float32), -1, 1
    yield "int32 with a sign", (base * 3000 - 1000).round().astype(np.int32), -1000, 2000


@pytest.mark.parametrize(
    ("name", "arrays", "black", "white"), list(sets()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_range_follows_from_the_whole_set(tmp_path, name, arrays, black, white):
    data = load(DataRequest(str(make(tmp_path, "folder", tiffs(*arrays))), image_size=SIDE))
    images = np.concatenate([data.images.numpy(), data.test_images.numpy()])
    wanted = [grey((array.astype(float) - black) / (white - black) * 255).transpose(2, 0, 1) for array in arrays]
    for each in wanted:
        assert min(np.abs(image - each).max() for image in images) <= 1, name
    (said,) = [line for line in data.warnings if "in the whole set" in line]
    assert said.startswith("2 pictures of ")
    assert f"{black:g} is black, {white:g} white" in said


def test_the_range_is_the_same_from_the_cache(tmp_path):
    path = make(tmp_path, "zip", tiffs(*next(arrays for name, arrays, *_ in sets() if name == "12 bits")))
    first, second = (load(DataRequest(str(path), image_size=SIDE)) for _ in range(2))
    assert first.warnings == second.warnings != ()
    assert "from the cache" in second.note


def test_pictures_to_translate_share_the_range_of_their_set(tmp_path):
    """As in a training: a dark one stays dark, though it is translated alone."""
    dark, bright = (np.full((SIDE, SIDE), top, np.uint16) for top in (400, 4000))
    path = make(
        tmp_path, "folder", {**tiffs(dark, bright), "2.png": encoded(Image.fromarray(bytes_of())), "3.tif": b"II*\0"}
    )
    found, skipped, ranges = pictures(str(path), SIDE, 1)
    assert [(name, pixels.max()) for name, pixels in found] == [("0.tif", 25)]
    assert (skipped, len(ranges)) == ([], 1) and "2 pictures of 16-bit integers" in ranges[0]
    found, skipped, _ = pictures(str(path), SIDE, 9)
    assert [name for name, _ in found] == ["0.tif", "1.tif", "2.png"] and found[1][1].max() == 249
    assert len(skipped) == 1 and skipped[0].startswith("3.tif: unreadable")


def test_one_type_does_not_decide_for_another(tmp_path):
    twelve = RNG.integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)
    twelve[0, 0] = 4095
    floats = RNG.random((SIDE, SIDE)).astype(np.float32)
    eight = bytes_of()
    seen = inspect(make(tmp_path, "folder", tiffs(twelve, floats, eight)), SIDE)
    assert seen.usable == 3
    assert len(seen.ranges) == 2
    assert "4095 white" in seen.ranges[0] + seen.ranges[1]


def test_a_pgm_states_its_highest_value():
    values = RNG.integers(0, 1000, (SIDE, SIDE)).astype(">u2")
    values[0, 0] = 1023
    for comment in (b"# made\n", b"# " + b"x" * 2000 + b"\n# 5 5\n"):
        # 65535 is what programs write for any values of 16 bits: the values decide.
        for highest, white in ((4095, 4095), (65535, 1023)):
            data = b"P5\n" + comment + b"32 32\n%d\n" % highest + values.tobytes()
            made = decode(data, SIDE).pixels[..., 0]
            assert np.abs(made - values / white * 255).max() <= 1


def sixteen_bit_rgb(values):
    """A PNG of 16 bits a channel, made by hand: Pillow doesn't write them."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_right_or_refused(tmp_path):
    full = RNG.integers(0, 65536, (3, SIDE, SIDE, 3))
    good = make(tmp_path, "folder", {f"{i}.png": sixteen_bit_rgb(values) for i, values in enumerate(full)})
    data = load(DataRequest(str(good), image_size=SIDE))
    images = np.concatenate([data.images.numpy(), data.test_images.numpy()]).transpose(0, 2, 3, 1)
    for values in full:
        assert min(np.abs(image - values / 257).max() for image in images) <= 1
    dark = make(tmp_path, "zip", {f"{i}.png": sixteen_bit_rgb(values // 16) for i, values in enumerate(full)})
    seen = inspect(dark, SIDE)
    assert seen.usable == 0
    assert seen.skipped[0].startswith("0.png: 16-bit colours that use only the lowest values")
    # What a user wants translated is held to the same.
    listed = pictures(str(good), SIDE, 10)
    assert (len(listed.pictures), listed.skipped, listed.ranges) == (3, [], [])
    for (_, pixels), values in zip(listed.pictures, full, strict=True):
        assert np.abs(pixels - values / 257).max() <= 1
    with pytest.raises(
        UserError, match=r"none of its pictures can be used \(first: 0\.png: 16-bit colours that use only the low"
    ):
        pictures(str(dark), SIDE, 10)


def test_pixels_that_are_no_numbers_are_named(tmp_path):
    values = RNG.random((3, SIDE, SIDE)).astype(np.float32)
    values[0, 3, 4], values[0, 3, 5], values[0, 3, 6] = np.nan, np.inf, -np.inf
    values[1] = np.nan
    values[2, 0, 0] = 1
    path = make(tmp_path, "folder", tiffs(*values))
    seen = inspect(path, SIDE)
    assert seen.converted[0].startswith("0.tif: 3 pixels are no finite numbers, taken as black or white")
    assert "1.tif: none of its pixels is a number" in seen.skipped
    lone = decode((path / "0.tif").read_bytes(), SIDE, {Type.FLOAT: Range(0, 1)}).pixels[..., 0]
    assert lone[3, 4:7].tolist() == [0, 255, 0]


def test_a_nearly_constant_set_is_said(tmp_path):
    masks = {f"{i}.png": encoded(Image.fromarray(bytes_of(high=1))) for i in range(4)}
    path = make(tmp_path, "folder", masks)
    (said,) = load(DataRequest(str(path), image_size=SIDE)).warnings
    assert "nearly constant: all their pixels lie at 0.5" in said
    assert not inspect(
        make(tmp_path, "zip", {f"{i}.png": encoded(Image.fromarray(bytes_of())) for i in range(4)}), SIDE
    ).warnings


def test_a_transparent_grey_of_16_bits_shows_white():
    shorts = RNG.integers(1, 65536, (SIDE, SIDE)).astype(np.uint16)
    shorts[: SIDE // 2] = 7
    buffer = io.BytesIO()
    Image.fromarray(shorts).save(buffer, "PNG", transparency=7)
    made = decode(buffer.getvalue(), SIDE)
    assert "transparent, laid on white" in made.change
    assert (made.pixels[: SIDE // 2 - 1] == 255).all()
    assert np.abs(made.pixels[SIDE // 2 :, :, 0] - shorts[SIDE // 2 :] / 257).max() <= 1


def test_wide_pictures_are_turned_as_their_exif_says():
    shorts = np.zeros((SIDE, SIDE), np.uint16)
    shorts[: SIDE // 2] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "TIFF"):
        made = decode(encoded(Image.fromarray(shorts), kind, exif=exif), SIDE).pixels[..., 0]
        assert made[:, : SIDE // 2].max() == 0, kind
        assert made[:, SIDE // 2 :].min() == 255, kind


def test_extents_are_merged_by_type():
    found = merged([Extent(Type.SHORT, 5, 900), Extent(Type.SHORT, 0, 4000), Extent(Type.FLOAT, -0.5, 0.5)])
    assert found[Type.SHORT] == Extent(Type.SHORT, 0, 4000, 2)
    assert settled(found) == {Type.SHORT: Range(0, 4095), Type.FLOAT: Range(-1, 1)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GIF", "animated, its first frame"),
        ("WEBP", "animated, its first frame"),
        ("PNG", "animated, its first frame"),
        ("TIFF", "several pages, its first"),
    ],
)
def test_animated_pictures_give_their_first_frame_and_say_so(kind, words):
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    more = {"lossless": True} if kind == "WEBP" else {}
    made = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **more), SIDE)
    assert words in made.change
    assert made.pixels[3, 3].tolist() == [200, 0, 0]


def plain_tiff(values, sample_format, photometric=1):
    """A TIFF of one channel made by hand, for types of numbers that Pillow doesn't write."""
    import struct

    height, width = values.shape
    data = values.tobytes()
    tags = [
        (256, width), (257, height), (258, values.itemsize * 8), (259, 1), (262, photometric), (273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height),
        (279, len(data)), (339, sample_format),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


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


def png_of(rows, bits, kind, key):
    """A PNG with one transparent colour `key`, made by hand; `rows`: its packed rows."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, bits, kind, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparent + packed + chunk(b"IEND", b"")


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


def big_endian_tiff(values, sample_format, *, deflate, planes=False, more_tags=()):
    """A big-endian TIFF made by hand; values [height, width, channels]; `more_tags`: (number, [value])."""
    import struct
    import zlib

    height, width, channels = values.shape
    big = values.astype(values.dtype.newbyteorder(">"))
    strips = [big[..., i].tobytes() for i in range(channels)] if planes else [big.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    body, starts = b"", []
    for strip in strips:
        starts.append(8 + len(body))
        body += strip + b"\0" * (len(strip) % 2)
    tags = [
        (256, [width]), (257, [height]), (258, [values.itemsize * 8] * channels), (259, [8 if deflate else 1]), (262, [2 if channels == 3 else 1]),
        (273, starts), (277, [channels]), (278, [height]), (279, [len(strip) for strip in strips]), (284, [2 if planes else 1]),
        (339, [sample_format] * channels), *more_tags,
    ]  # fmt: skip
    tags.sort()
    first = 8 + len(body)
    entries, more, behind = b"", b"", first + 2 + 12 * len(tags) + 4
    for number, held in tags:
        data = struct.pack(f">{len(held)}I", *held)
        entries += struct.pack(">HHI", number, 4, len(held))
        entries += data if len(data) == 4 else struct.pack(">I", behind + len(more))
        more += data if len(data) > 4 else b""
    return b"MM\0*" + struct.pack(">I", first) + body + struct.pack(">H", len(tags)) + entries + bytes(4) + more


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


def test_one_dark_picture_of_16_bit_colours_is_refused_as_in_a_set(tmp_path):
    values = RNG.integers(0, 65536, (SIDE, SIDE, 3))
    dark, bright = sixteen_bit_rgb(values // 16), sixteen_bit_rgb(values)
    path = tmp_path / "dark.png"
    path.write_bytes(dark)
    with pytest.raises(UserError, match="it can't be used: 16-bit colours that use only the lowest values"):
        pictures(str(path), SIDE, 1)
    path.write_bytes(bright)
    assert len(pictures(str(path), SIDE, 1).pictures) == 1
    # Before a run begins, a set is judged as the training will.
    other = sixteen_bit_rgb(values[::-1] // 16)
    with pytest.raises(UserError, match=r"it has 0 usable images.*0\.png: 16-bit colours that use only the lowest"):
        require_two(make(tmp_path, "folder", {"0.png": dark, "1.png": other}))
    require_two(make(tmp_path, "zip", {"0.png": dark, "1.png": bright}))


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


def test_the_range_of_a_folder_to_translate_shows_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(image_decoding, "TELL_SECONDS", 0.0)
    path = make(tmp_path, "folder", tiffs(*(np.full((SIDE, SIDE), top, np.uint16) for top in (40, 400, 4000))))
    said = []
    pictures(str(path), SIDE, 2, said.append)
    told = [line.partition(" files,")[0] for line in said]
    assert told[:3] == [f"range of the whole set: decoding, {k} of 3" for k in (1, 2, 3)]
    assert told[3] == "--input: decoding, 1 of 3"
