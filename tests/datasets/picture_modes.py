"""Pictures of every mode of Pillow, and of kinds that it does not write, made by hand."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.train.data.test_image_folder import encoded

SIDE = 32
RNG = np.random.default_rng(5)


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


def tiffs(*arrays):
    return {f"{i}.tif": encoded(Image.fromarray(array), "TIFF") for i, array in enumerate(arrays)}


def sixteen_bit_rgb(values):
    """A PNG of 16 bits a channel, made by hand: Pillow doesn't write them."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


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
