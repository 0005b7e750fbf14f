"""Damaged members of zips in every way of packing: each is named, and the others are taken."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets.folder_index import listed
from ganhpc.datasets.picture_list import pictures

WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))


def png(seed: int) -> bytes:
    made = io.BytesIO()
    Image.frombytes("RGB", (24, 24), random.Random(seed).randbytes(24 * 24 * 3)).save(made, "PNG")
    return made.getvalue()


def packed(path: Path, way: int, *, link: bool = False) -> tuple[bytearray, int, int]:
    """A zip of a good picture and of another member, packed in this way, and the place of that one's bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.png", png(1))
        info = zipfile.ZipInfo("bad.png")
        info.compress_type = way
        if link:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, ("x/" * 400 + "good.png").encode() if link else png(2))
    found = zipfile.ZipFile(path).getinfo("bad.png")
    start = found.header_offset + 30 + len("bad.png")
    return bytearray(path.read_bytes()), start, start + found.compress_size


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_member_that_is_damaged_anywhere_hides_no_other(tmp_path: Path, way: int, link: bool) -> None:
    path = tmp_path / "set.zip"
    whole, start, end = packed(path, way, link=link)
    chance = random.Random(way)
    for at in {*range(start, min(start + 24, end)), *(chance.randrange(start, end) for _ in range(10))}:
        data = bytearray(whole)
        size = min(4, end - at)
        data[at : at + size] = chance.randbytes(size)
        path.write_bytes(data)
        found = listed(path)
        assert "good.png" in {item.name for item in found.items}, at
        assert {item.name for item in found.items} | {each.name for each in found.others} == {"good.png", "bad.png"}
        found.close()


def test_a_member_that_asks_for_gigabytes_to_be_unpacked_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of LZMA, the archive says how much memory a reader needs."""
    path = tmp_path / "set.zip"
    whole, start, _ = packed(path, zipfile.ZIP_LZMA)
    whole[start + 5 : start + 9] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(whole)
    names = {item.name for item in listed(path).items}
    assert "good.png" in names and names <= {"good.png", "bad.png"}

    def full(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(zipfile.ZipExtFile, "read", full)
    (tmp_path / "other.zip").write_bytes(whole)
    assert [each.why for each in listed(tmp_path / "other.zip").others] == ["unreadable (MemoryError)"] * 2


def test_a_member_that_can_be_read_no_more_is_skipped_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.zip"
    packed(path, zipfile.ZIP_DEFLATED)
    assert [name for name, _ in pictures(str(path), 16, 9).pictures] == ["bad.png", "good.png"]
    real = zipfile.ZipFile.open

    def broken(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *words: object, **more: object) -> object:
        if member.filename == "bad.png":
            raise zipfile.BadZipFile("Bad CRC-32")
        return real(archive, member, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(zipfile.ZipFile, "open", broken)
    found = pictures(str(path), 16, 9)
    assert [name for name, _ in found.pictures] == ["good.png"]
    assert found.skipped == ["bad.png: unreadable (Bad CRC-32)"]
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *words: broken(words[0], zipfile.ZipInfo("bad.png")))
    # Whether the listing is known already hangs on how long ago the file was written.
    with pytest.raises(
        UserError,
        match=r"none of its (pictures|2 files is an image that) can be used \(first: bad.png: unreadable \(Bad CRC-32\)",
    ):
        pictures(str(path), 16, 9)
