"""Pictures that change while they are read: none is kept under the fingerprint of another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_decoding
from ganhpc.datasets.folder_index import find
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data import image_folder
from tests.train.data.test_image_folder import encoded, make, picture


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def replaced(path: Path) -> None:
    (path / "2.png").write_bytes(encoded(picture(99)))


def removed(path: Path) -> None:
    (path / "2.png").unlink()


def emptied(path: Path) -> None:
    os.truncate(path / "2.png", 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [(replaced, "has changed"), (emptied, "has changed"), (removed, r"can't be read any more \(No such file")],
)
def test_a_picture_that_changes_between_looking_and_decoding_is_a_sentence(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], why: str
) -> None:
    path = make(tmp_path, "folder", {f"{n}.png": encoded(picture(n)) for n in range(5)})
    before = find(path)
    monkeypatch.setattr(image_folder, "find", lambda _: before)
    change(path)
    with pytest.raises(UserError, match=rf"--data .*: 2\.png {why}.* type the command again"):
        image_folder.load(DataRequest(str(path), image_size=16))
    assert not list(kept.glob("*.safetensors")), "nothing is kept"
    monkeypatch.undo()
    monkeypatch.setenv("GANHPC_DATA", str(kept))
    loaded = image_folder.load(DataRequest(str(path), image_size=16))
    assert len(loaded.images) + len(loaded.test_images) == (5 if change is replaced else 4)


def test_pictures_to_translate_that_are_gone_are_skipped(tmp_path: Path) -> None:
    path = make(tmp_path, "folder", {f"{n}.png": encoded(picture(n)) for n in range(3)})
    source = find(path)
    removed(path)
    made = [image_decoding.decoded(source, item, 16, {}) for item in source.items]
    assert [isinstance(each, str) for each in made] == [False, False, True]
