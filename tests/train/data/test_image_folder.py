"""Folders and zips of images: the clean-up, the split, the cache, and sentences. Damage of every kind is made here."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_decoding, image_folder
from ganhpc.datasets.folder_index import find
from ganhpc.datasets.image_decoding import Skip, decode, inspect
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.registry import load


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def picture(seed=0, size=(40, 30), mode="RGB"):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def claimed_png(width, height):
    """A tiny PNG that claims a size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )


def messy():
    files = {f"good/{i:02}.png": encoded(picture(i)) for i in range(30)}
    half_clear = picture(98, mode="RGBA")
    return files | {
        "good/deep/photo.JPG": encoded(picture(50, (300, 200)), "JPEG"),
        "good/grey.png": encoded(picture(51, mode="L")),
        "good/clear.png": encoded(half_clear),
        "bad/cut.jpg": encoded(picture(60, (300, 200)), "JPEG")[:3000],
        "bad/cut.png": encoded(picture(61))[:800],
        "bad/text.png": b"this is no image",
        "bad/empty.jpg": b"",
        "bad/tiny.png": encoded(picture(62, (15, 100))),
        "bad/bomb.png": claimed_png(60_000, 60_000),
        "bad/wide.png": claimed_png(10_000, 9_000),
        "bad/nothing.png": encoded(Image.new("RGBA", (40, 40), (9, 9, 9, 0))),
        "bad/script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n",
        "notes.txt": b"hello",
        ".DS_Store": b"x",
        "__MACOSX/good/._00.png": b"x",
    }


REASONS = {
    "bad/cut.jpg": "unreadable",
    "bad/cut.png": "unreadable",
    "bad/text.png": "unreadable (not an image, or its beginning is damaged)",
    "bad/empty.jpg": "empty",
    "bad/tiny.png": "tiny, 15 x 100 pixels",
    "bad/bomb.png": "huge",
    "bad/wide.png": "huge, 10000 x 9000 pixels",
    "bad/nothing.png": "transparent all over",
    "bad/script.png": "PostScript, not read",
    "notes.txt": "not an image",
    ".DS_Store": "a hidden file",
    "__MACOSX/good/._00.png": "a hidden file",
}


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
    return make(tmp_path, request.param, messy())


def make(tmp_path, kind, files):
    if kind == "zip":
        path = tmp_path / "pictures.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    path = tmp_path / "pictures"
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_messy_source_loads_and_says_what_it_skipped(source):
    data = load(DataRequest(str(source), image_size=24))
    assert len(data.images) + len(data.test_images) == 33
    assert len(data.test_images) == 2
    assert data.shape == (3, 24, 24)
    assert data.images.dtype == torch.uint8
    assert data.labels is None
    assert data.name == "pictures"
    said = dict(line.split(": ", 1) for line in data.skipped)
    assert said.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert said[name].startswith(reason), name
    assert "images/s" in data.note
    assert "2 converted (first: good/clear.png: transparent, laid on white)" in data.note
    assert f"{len(REASONS)} skipped" in data.note


def test_inspect_says_the_same_before_and_after_the_cache_is_made(source, monkeypatch):
    seen = inspect(source, 24)
    assert {line.split(": ")[0] for line in seen.skipped} == REASONS.keys()
    assert seen.converted == ("good/clear.png: transparent, laid on white", "good/grey.png: grey, kept as RGB")
    assert (seen.usable, seen.enlarged, seen.files) == (33, 0, 33 + len(REASONS))
    assert inspect(source, 64).enlarged == 32
    load(DataRequest(str(source), image_size=24))
    monkeypatch.setattr(image_decoding, "decode", None)
    again = inspect(source, 24)
    assert (again.skipped, again.converted, again.usable) == (seen.skipped, seen.converted, seen.usable)


def test_decoded_once_then_read_from_the_cache(source, monkeypatch):
    first = load(DataRequest(str(source), image_size=24))
    monkeypatch.setattr(image_decoding, "decode", None)
    second = load(DataRequest(str(source), image_size=24))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.test_images, second.test_images)
    assert second.skipped == first.skipped
    assert "from the cache" in second.note


def test_a_changed_source_is_decoded_again(tmp_path):
    path = make(tmp_path, "folder", messy())
    before = load(DataRequest(str(path), image_size=16))
    (path / "bad/text.png").write_bytes(encoded(picture(70)))
    after = load(DataRequest(str(path), image_size=16))
    assert len(after.skipped) == len(before.skipped) - 1
    assert "decoded" in after.note


def test_a_folder_and_its_zip_hold_the_same_out(tmp_path):
    one = load(DataRequest(str(make(tmp_path, "folder", messy())), image_size=16))
    two = load(DataRequest(str(make(tmp_path, "zip", messy())), image_size=16))
    assert torch.equal(one.test_images, two.test_images)
    assert torch.equal(one.images, two.images)


def test_copies_never_straddle_the_split(tmp_path):
    files = {f"{i}-{copy}.png": encoded(picture(i)) for i in range(40) for copy in range(3)}
    data = load(DataRequest(str(make(tmp_path, "folder", files)), image_size=16))
    held = {bytes(image.flatten().tolist()) for image in data.test_images}
    rest = {bytes(image.flatten().tolist()) for image in data.images}
    assert (len(held), len(rest), len(data.test_images)) == (2, 38, 6)
    assert not held & rest
    assert "80 are copies of others" in data.note


def test_the_held_out_share_has_bounds(tmp_path, monkeypatch):
    from ganhpc.train.data import image_folder

    few = {f"{i}.png": encoded(picture(i)) for i in range(2)}
    data = load(DataRequest(str(make(tmp_path, "zip", few)), image_size=16))
    assert (len(data.images), len(data.test_images)) == (1, 1)
    monkeypatch.setattr(image_folder, "MOST_HELD_OUT", 3)
    many = {f"{i}.png": encoded(picture(i)) for i in range(100)}
    assert len(load(DataRequest(str(make(tmp_path, "zip", many)), image_size=16)).test_images) == 3


def test_train_images_takes_the_first_of_a_fixed_shuffle(tmp_path):
    path = make(tmp_path, "folder", {f"{i:02}.png": encoded(picture(i)) for i in range(40)})
    every, some = (load(DataRequest(str(path), image_size=16, train_images=n)) for n in (None, 10))
    assert torch.equal(every.images[:10], some.images)
    assert torch.equal(every.test_images, some.test_images)
    for number in (0, 39):
        with pytest.raises(UserError, match=f"--train-images {number}: .* has 38 training images"):
            load(DataRequest(str(path), image_size=16, train_images=number))


def test_the_middle_square_is_kept():
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste(Image.new("RGB", (20, 20), "blue"), (20, 0))
    pixels = decode(encoded(wide), 20).pixels
    assert (pixels == (0, 0, 255)).all()


def test_a_picture_of_the_right_size_is_not_touched():
    image = picture(3, (32, 32))
    assert (decode(encoded(image), 32).pixels == np.asarray(image)).all()


def test_transparency_shows_white_and_the_palette_kind_too():
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 10))
    for data in (encoded(image), encoded(image.quantize(), "PNG")):
        made = decode(data, 20)
        assert made.change == "transparent, laid on white"
        assert made.pixels[2, 2].tolist() == [255, 255, 255]
        assert made.pixels[17, 2].tolist() == [255, 0, 0]
    assert decode(encoded(picture(1, mode="RGB").convert("RGBA")), 20).change == ""


def test_sixteen_bits_keep_their_greys():
    ramp = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    made = decode(encoded(Image.fromarray(ramp)), 20)
    assert made.change == "grey, kept as RGB"
    assert abs(made.pixels[..., 0].astype(int) - (ramp / 257).round().astype(int)).max() <= 1


def test_other_colour_modes_become_rgb():
    for image, kind in (
        (picture(0).convert("CMYK"), "JPEG"),
        (picture(0).convert("P"), "GIF"),
        (picture(0).convert("1"), "PNG"),
    ):
        assert decode(encoded(image, kind), 16).pixels.shape == (16, 16, 3)


def test_a_photograph_lying_on_its_side_is_turned():
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    made = decode(encoded(image, "JPEG", exif=exif, quality=95), 64).pixels
    assert made[32, 8].mean() < 10
    assert made[32, 56].mean() > 245


def test_a_big_jpeg_is_decoded_small(monkeypatch):
    asked = []
    from PIL import JpegImagePlugin

    real = JpegImagePlugin.JpegImageFile.draft

    def draft(self, mode, size):
        answer = real(self, mode, size)
        asked.append(self.size)
        return answer

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", draft)
    decode(encoded(picture(0, (1600, 1200)), "JPEG"), 32)
    assert asked == [(200, 150)]


def test_pictures_with_too_many_pixels_are_never_decoded(monkeypatch):
    monkeypatch.setattr(image_decoding, "_fitted", None)
    with pytest.raises(Skip, match="huge, 9000 x 9000"):
        decode(claimed_png(9000, 9000), 32)


def test_corrupt_and_encrypted_members_of_a_zip(tmp_path):
    path = make(tmp_path, "zip", {f"{i}.png": encoded(picture(i)) for i in range(6)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first, second = archive.getinfo("0.png"), archive.getinfo("1.png")
    data[first.header_offset + 100 : first.header_offset + 130] = b"\0" * 30
    directory = data.index(b"PK\x01\x02")
    second_entry = data.index(b"PK\x01\x02", directory + 4)
    for flags in (second.header_offset + 6, second_entry + 8):
        data[flags] |= 1
    path.write_bytes(data)
    loaded = load(DataRequest(str(path), image_size=16))
    assert len(loaded.images) + len(loaded.test_images) == 4
    said = dict(line.split(": ", 1) for line in loaded.skipped)
    assert said["0.png"].startswith("unreadable")
    assert said["1.png"] == "encrypted"


def test_a_member_that_unpacks_to_too_much_is_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_BYTES", 1_000_000)
    files = {f"{i}.png": encoded(picture(i)) for i in range(3)} | {"bomb.png": b"\0" * 2_000_000}
    path = make(tmp_path, "zip", files)
    assert path.stat().st_size < 100_000
    assert inspect(path).skipped == ("bomb.png: huge, 2 MB in one file",)


def test_what_is_no_plain_file_does_not_stop_it(tmp_path):
    path = make(tmp_path, "folder", {f"{i}.png": encoded(picture(i)) for i in range(3)})
    os.mkfifo(path / "pipe.png")
    (path / "gone.png").symlink_to(path / "nowhere")
    (path / "again").symlink_to(path)
    (path / "line\nbreak\x1b[2J.txt").write_text("x")
    (path / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded(picture(9)))
    seen = inspect(path)
    assert seen.usable == 4
    assert "pipe.png: not a plain file" in seen.skipped
    assert "gone.png: unreadable (No such file or directory)" in seen.skipped
    assert "line\\nbreak\\e[2J.txt: not an image" in seen.skipped
    load(DataRequest(str(path), image_size=16))


def test_the_zip_is_never_unpacked(tmp_path):
    good = {f"{i}.png": encoded(picture(i)) for i in range(3, 6)}
    path = make(
        tmp_path,
        "zip",
        {"../../escape.png": encoded(picture(1)), "/root.png": encoded(picture(2)), "C:\\x.png": b"x", **good},
    )
    assert set(load(DataRequest(str(path), image_size=16)).skipped) == {
        "../../escape.png: its path leads out of the zip",
        "/root.png: its path leads out of the zip",
        "C:\\x.png: its path leads out of the zip",
    }
    assert {p.name for p in tmp_path.rglob("*.png")} == set()
    assert not (tmp_path.parent / "escape.png").exists()


def test_sentences(tmp_path):
    empty, text = tmp_path / "empty", tmp_path / "text.zip"
    empty.mkdir()
    text.write_text("no zip")
    half = make(tmp_path, "zip", messy())
    half.write_bytes(half.read_bytes()[:-2000])
    alone = make(tmp_path, "folder", {"a.png": encoded(picture(1)), "b.png": encoded(picture(1)), "c.txt": b""})
    for path, words in {
        empty: "the folder is empty",
        text: "neither a folder nor a zip",
        half: "a damaged zip: its end, with the list of its files, is missing",
        tmp_path / "nowhere": "there is no such folder or zip",
        alone: r"it has 1 usable image, and 2 different ones .*skipped, for example, c.txt: empty",
    }.items():
        with pytest.raises(UserError, match=words):
            load(DataRequest(str(path), image_size=16))
    with pytest.raises(UserError, match="--image-size 4"):
        load(DataRequest(str(alone), image_size=4))


def test_finding_a_zip_that_can_not_be_opened(tmp_path):
    path = make(tmp_path, "zip", {"a.png": encoded(picture(1))})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02")] = 0  # the directory's first entry
    path.write_bytes(data)
    with pytest.raises(UserError, match="the zip can't be read"):
        find(path)


def test_decoding_many_pictures_shows_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(image_decoding, "TELL_SECONDS", 0.0)
    (tmp_path / "few").mkdir()
    for k in range(4):
        picture(k).save(tmp_path / "few" / f"{k}.png")
    said = []
    load(DataRequest(str(tmp_path / "few"), image_size=16, say=said.append))
    assert [line.partition(" files,")[0] for line in said] == [f"data: decoding, {k} of 4" for k in (1, 2, 3, 4)]
