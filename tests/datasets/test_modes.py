"""Every mode of Pillow, and the containers that hold it, against conversions made here with NumPy alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganhpc.datasets.image_decoding import Skip, colours, decode
from tests.datasets.picture_modes import CASES, RNG, SIDE, raw, rgb_of_cmyk
from tests.train.data.test_image_folder import encoded

pytestmark = pytest.mark.usefixtures("kept")

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
