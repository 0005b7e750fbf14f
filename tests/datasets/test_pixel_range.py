"""Black and white of wide pictures, by the whole set."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_decoding
from ganhpc.datasets.image_decoding import decode, inspect, require_two
from ganhpc.datasets.picture_list import pictures
from ganhpc.datasets.pixel_range import Extent, Range, Type, merged, settled
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.image_folder import load
from tests.datasets.picture_modes import RNG, SIDE, bytes_of, grey, sixteen_bit_rgb, tiffs
from tests.train.data.test_image_folder import encoded, make

pytestmark = pytest.mark.usefixtures("kept")


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


def test_extents_are_merged_by_type():
    found = merged([Extent(Type.SHORT, 5, 900), Extent(Type.SHORT, 0, 4000), Extent(Type.FLOAT, -0.5, 0.5)])
    assert found[Type.SHORT] == Extent(Type.SHORT, 0, 4000, 2)
    assert settled(found) == {Type.SHORT: Range(0, 4095), Type.FLOAT: Range(-1, 1)}


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


def test_the_range_of_a_folder_to_translate_shows_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(image_decoding, "TELL_SECONDS", 0.0)
    path = make(tmp_path, "folder", tiffs(*(np.full((SIDE, SIDE), top, np.uint16) for top in (40, 400, 4000))))
    said = []
    pictures(str(path), SIDE, 2, said.append)
    told = [line.partition(" files,")[0] for line in said]
    assert told[:3] == [f"range of the whole set: decoding, {k} of 3" for k in (1, 2, 3)]
    assert told[3] == "--input: decoding, 1 of 3"
