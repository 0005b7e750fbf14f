"""Names in zips of macOS, which are UTF-8 and do not say so: shown as they were typed, while the set stays the one that it was."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ganhpc.datasets.folder_index import find, fingerprint_of
from ganhpc.datasets.image_decoding import inspect
from tests.train.data.test_image_folder import encoded, picture

TYPED, READ = "été/caf\u00e9", "\u251c\u2310t\u251c\u2310/caf\u251c\u2310"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))


def packed(path: Path, said: bool) -> Path:
    """A zip as macOS writes it, or one that says that its names are UTF-8."""
    stand_in = "x" * len(TYPED.encode())
    name = TYPED if said else stand_in
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(3):
            archive.writestr(f"{name}{k}.png", encoded(picture(k)))
        archive.writestr(f"{name}.txt", b"some words")
        archive.writestr(f"{name}.empty", b"")
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), TYPED.encode()))
    return path


@pytest.mark.parametrize("said", [False, True])
def test_names_are_shown_as_they_were_typed(tmp_path: Path, said: bool) -> None:
    path = packed(tmp_path / "p.zip", said)
    source = find(path)
    source.close()
    assert [item.shown for item in source.items] == [f"{TYPED}{k}.png" for k in range(3)]
    assert [item.folders(in_zip=True, for_people=True) for item in source.items] == [["été"]] * 3
    assert inspect(path, 16).skipped == (f"{TYPED}.empty: empty", f"{TYPED}.txt: not an image")


def test_the_set_is_known_by_the_names_that_are_read(tmp_path: Path) -> None:
    """A run that began with it before is not refused."""
    source = find(packed(tmp_path / "p.zip", said=False))
    source.close()
    assert [item.name for item in source.items] == [f"{READ}{k}.png" for k in range(3)]
    assert [item.folders(in_zip=True) for item in source.items] == [[READ.partition("/")[0]]] * 3
    said = find(packed(tmp_path / "q.zip", said=True))
    said.close()
    assert fingerprint_of(source) != fingerprint_of(said)


def test_names_that_are_no_utf_8_stay(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("caf#.png", encoded(picture(0)))
    path.write_bytes(path.read_bytes().replace(b"caf#", b"caf\x82"))  # é in code page 437
    source = find(path)
    source.close()
    assert [item.shown for item in source.items] == ["café.png"]
