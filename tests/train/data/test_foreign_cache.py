"""Copies in the cache that agree with the file beside them, and that this program has not made: a sentence, whatever they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_cache
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.train.data.registry import load

Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def request(tmp_path: Path, level: int | None) -> DataRequest:
    """A folder of two classes of three pictures each."""
    for k in range(6):
        folder = tmp_path / "set" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return DataRequest(str(tmp_path / "set"), image_size=16, class_level=level)


def reseal(kept: Path, change: Callable[[Tensors, dict[str, Any]], object]) -> None:
    """Change the copy and its facts, and write a checksum that fits."""
    (path,) = kept.glob("*.safetensors")
    tensors, beside = load_file(path), json.loads(image_cache.sidecar(path).read_text())
    change(tensors, beside["info"])
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path)
    data = path.read_bytes()
    beside |= {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "facts": image_cache.digest(beside["info"]),
    }
    image_cache.sidecar(path).write_text(json.dumps(beside))


FOREIGN: dict[str, Callable[[Tensors, dict[str, Any]], object]] = {
    "no images": lambda tensors, _: tensors.pop("images"),
    "no tensor at all": lambda tensors, _: tensors.clear(),
    "another name": lambda tensors, _: tensors.update(pictures=tensors.pop("images")),
    "floats": lambda tensors, _: tensors.update(images=tensors["images"].float()),
    "truth values": lambda tensors, _: tensors.update(images=tensors["images"] > 9),
    "one axis": lambda tensors, _: tensors.update(images=tensors["images"].flatten()),
    "grey images": lambda tensors, _: tensors.update(images=tensors["images"][:, :1]),
    "other sizes": lambda tensors, _: tensors.update(images=tensors["images"][:, :, 1:]),
    "none of them": lambda tensors, _: tensors.update(images=tensors["images"][:0]),
    "facts without numbers": lambda _, info: info.pop("copies"),
    "copies that are no number": lambda _, info: info.update(copies="\x1b[2J"),
    "seconds of 400 digits": lambda _, info: info.update(seconds=10**400),
    "a list of numbers for lines": lambda _, info: info.update(converted=[1]),
}
OF_FOLDERS: dict[str, Callable[[Tensors, dict[str, Any]], object]] = {
    "all held out": lambda _, info: info.update(held_out=6),
    "none held out": lambda _, info: info.update(held_out=0),
    "held out from behind": lambda _, info: info.update(held_out=-2),
    "half an image held out": lambda _, info: info.update(held_out=1.5),
    "no share held out": lambda _, info: info.pop("held_out"),
}
OF_CLASSES: dict[str, Callable[[Tensors, dict[str, Any]], object]] = {
    "no places": lambda tensors, _: tensors.pop("items"),
    "places of more images": lambda tensors, _: tensors.update(items=torch.arange(7)),
    "places behind the last file": lambda tensors, _: tensors.update(items=torch.arange(6) + 1),
    "places below zero": lambda tensors, _: tensors.update(items=torch.arange(6) - 1),
    "places with fractions": lambda tensors, _: tensors.update(items=torch.arange(6) / 2),
}


@pytest.mark.parametrize("level", [None, 1], ids=["a folder", "classes"])
@pytest.mark.parametrize("foreign", [*FOREIGN, *OF_FOLDERS, *OF_CLASSES])
def test_a_foreign_copy_is_a_sentence(tmp_path: Path, kept: Path, foreign: str, level: int | None) -> None:
    if foreign in (OF_CLASSES if level is None else OF_FOLDERS):
        return
    wanted = request(tmp_path, level)
    assert isinstance(load(wanted), ImageData)
    reseal(kept, (FOREIGN | OF_FOLDERS | OF_CLASSES)[foreign])
    with pytest.raises(UserError, match=r"none of this program's: remove both, and they are made again\.$"):
        load(wanted)
    for path in (*kept.glob("*.safetensors"), *kept.glob("*.json")):
        path.unlink()
    assert "decoded" in load(wanted).note
