"""CelebA through torchvision's class, on a small set of the same form. The published lists' checksums are what is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_decoding
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.registry import load


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    base = tmp_path / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06}.jpg" for i in range(1, 13)]
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)).save(base / "img_align_celeba" / name)
    splits = [0] * 7 + [1] * 2 + [2] * 3
    (base / "list_eval_partition.txt").write_text("".join(f"{n} {s}\n" for n, s in zip(names, splits, strict=True)))
    (base / "identity_CelebA.txt").write_text("".join(f"{n} 1\n" for n in names))
    for file in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt"):
        (base / file).write_text("12\na b\n" + "".join(f"{n} 1 -1\n" for n in names))
    monkeypatch.setattr(CelebA, "file_list", [])
    return tmp_path


def test_the_published_split_is_decoded_once(root, monkeypatch):
    first = load(DataRequest("celeba", root=root, image_size=32))
    assert first.images.shape == (7, 3, 32, 32)
    assert first.test_images.shape == (3, 3, 32, 32)
    assert first.skipped == ()
    monkeypatch.setattr(image_decoding, "decode", None)
    second = load(DataRequest("celeba", root=root, image_size=32))
    assert torch.equal(first.images, second.images)
    assert "from the cache" in second.note


def test_a_damaged_picture_is_skipped_by_name(root):
    (root / "celeba/img_align_celeba/000003.jpg").write_bytes(b"")
    (root / "celeba/img_align_celeba/000012.jpg").unlink()
    data = load(DataRequest("celeba", root=root, image_size=16))
    assert (len(data.images), len(data.test_images)) == (6, 2)
    assert [line.split(": ")[0] for line in data.skipped] == ["000003.jpg", "000012.jpg"]


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "identity_CelebA.txt", "list_landmarks_align_celeba.txt"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "giant", "gone"])
def test_a_list_that_is_something_else_is_neither_waited_for_nor_read(root, name, kind):
    path = root / "celeba" / name
    path.unlink()
    if kind == "giant":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind != "gone":
        {"fifo": os.mkfifo, "device": lambda p: p.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    with pytest.raises(UserError, match="not all there or not the published ones"):
        load(DataRequest("celeba", root=root, image_size=16))


def test_a_picture_that_is_a_fifo_is_skipped_by_name(root):
    path = root / "celeba/img_align_celeba/000003.jpg"
    path.unlink()
    os.mkfifo(path)
    assert [line.split(": ")[0] for line in load(DataRequest("celeba", root=root, image_size=16)).skipped] == [
        "000003.jpg"
    ]


def test_fewer_images_are_the_first_of_a_fixed_shuffle(root):
    three, five = (load(DataRequest("celeba", root=root, image_size=16, train_images=n)).images for n in (3, 5))
    assert torch.equal(three, five[:3])
    with pytest.raises(UserError, match="--train-images 8: CelebA has 7"):
        load(DataRequest("celeba", root=root, image_size=16, train_images=8))


def test_sentences(root, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--image-size 200"):
        load(DataRequest("celeba", root=root, image_size=200))
    with pytest.raises(UserError, match=r"looked in .*nowhere/celeba.*--data PATH"):
        load(DataRequest("celeba", root=tmp_path / "nowhere"))
    monkeypatch.setattr(CelebA, "file_list", [("id", "0" * 32, "list_attr_celeba.txt")])
    with pytest.raises(UserError, match="not the published ones"):
        load(DataRequest("celeba", root=root))
