"""BigGAN's data and definitions: classes by folders, their number and level, what is refused; presets and signatures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets import held_data
from ganhpc.runs.known_experiments import find
from ganhpc.train.tasks import biggan
from tests.helpers import finish, trainer_of
from tests.train.nets.test_biggan_nets import parameters
from tests.train.tasks.tiny import made, task_of, tiny


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of twelve pictures, their levels telling the class, in train and test folders."""
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    for k, name in enumerate(("ape", "bee", "cat")):
        for n in range(12):
            folder = root / ("train" if n < 9 else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.full((20, 20, 3), 40 * k, np.uint8)
            pixels[n, n] = 255
            Image.fromarray(pixels).save(folder / f"{n}.png")
    return root


def labelled(root: Path, **values: Any) -> Any:
    experiment = tiny(
        "biggan",
        **{"data": str(root), "train_images": None, "batch_size": 4, "critic_steps": 1, "flip": "none", **values},
    )
    return task_of(experiment).context.data


def test_class_folders_give_each_picture_its_class(folders: Path) -> None:
    data = labelled(folders)
    assert data.classes == ("ape", "bee", "cat") and len(data.images) == 33 and len(data.test_images) == 3
    for images, labels in ((data.images, data.labels), (data.test_images, data.test_labels)):
        assert torch.equal(images.flatten(1).median(1).values // 40, labels.to(torch.uint8))
    assert sorted(data.test_labels.tolist()) == [0, 1, 2], "one of each class is held out"
    again = labelled(folders)
    assert torch.equal(again.labels, data.labels) and "from the cache" in again.note
    assert labelled(folders, class_level=1).classes == ("test", "train")


def test_a_folder_without_a_picture_that_is_read_is_named_and_no_class(folders: Path) -> None:
    for name in ("train/dog/0.heic", "train/dog/1.heic", "train/.hidden/0.heic", "train/cat/more.heic"):
        (folders / name).parent.mkdir(exist_ok=True)
        (folders / name).write_bytes(b"\0\0\0\x18ftypheic" + name.encode())
    data = labelled(folders)
    assert data.classes == ("ape", "bee", "cat")
    (said,) = [line for line in data.warnings if "no class" in line]
    assert said == (
        "no class, since no picture in it is read: dog (2 files, first: train/dog/0.heic: a HEIC picture, not read: save it as JPEG)"
    )


def test_copies_of_a_picture_go_to_one_side(folders: Path) -> None:
    first = labelled(folders)
    for k, name in enumerate(("ape", "bee", "cat")):
        for n in range(12):
            source = folders / ("train" if n < 9 else "test") / name / f"{n}.png"
            (source.parent / f"copy-{k}-{n}.png").write_bytes(source.read_bytes())
    data = labelled(folders)
    assert len(data.test_images) == 2 * len(first.test_images) and len(data.images) == 66
    held = {bytes(image.flatten().tolist()) for image in data.test_images}
    assert not held & {bytes(image.flatten().tolist()) for image in data.images}


def test_data_without_usable_classes_are_refused_in_a_sentence(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data lines has no classes, and biggan is a conditional network"):
        task_of(tiny("biggan", data="lines"))
    with pytest.raises(
        UserError, match="all its 9 pictures are of one class, ape, and a conditional network needs two or more: give"
    ):
        labelled(_only(folders, tmp_path))
    stray = folders / "stray.png"
    stray.write_bytes((folders / "train" / "ape" / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"1 of its 37 pictures lies in no class folder \(first: stray.png\)"):
        labelled(folders)
    stray.unlink()
    (folders / "dog").mkdir()
    (folders / "dog" / "one.png").write_bytes((folders / "train" / "ape" / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"the class dog has 1 usable picture.* the least of a class"):
        labelled(folders)
    with pytest.raises(UserError, match="1 of its 37 pictures lies less than 2 folders deep"):
        labelled(folders, class_level=2)
    with pytest.raises(UserError, match=r"--image-size 64: the images of --data synthetic have 32x32"):
        task_of(tiny("biggan", image_size=64))
    with pytest.raises(UserError, match="--critic-steps 20 of --batch-size 8 need 160 images, and the set has 80"):
        task_of(tiny("biggan", critic_steps=20))


def test_what_names_alone_tell_of_classes_is_refused_before_anything_is_submitted(
    folders: Path, tmp_path: Path
) -> None:
    def require(data: Path | str, **values: Any) -> None:
        held_data.require(tiny("biggan", data=str(data), train_images=None, **values).definition, {})

    require(folders)
    require(folders, class_level=1, classes=2)
    require("synthetic", classes=10)
    for data, values, sentence in (
        ("lines", {}, "--data lines has no classes"),
        ("synthetic", {"classes": 7}, "--classes 7: --data synthetic has 10: type --classes 10, or leave it out"),
        (
            "synthetic",
            {"class_level": 1},
            "--class-level 1 is for folders and zips of pictures, and --data synthetic has labels",
        ),
        (folders, {"classes": 4}, "--classes 4: --data .* has 3 .ape, bee, cat.; type --classes 3"),
        (folders, {"class_level": 3}, "less than 3 folders deep"),
        (_only(folders, tmp_path), {}, "of one class, ape, and a conditional network needs two or more"),
    ):
        with pytest.raises(UserError, match=sentence):
            require(data, **values)
    for path in (folders / "train" / "ape").glob("[1-8].png"):
        path.unlink()
    for path in (folders / "test" / "ape").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="the class ape has 1 picture, and 2 different ones are the least"):
        require(folders)


def _only(folders: Path, tmp_path: Path) -> Path:
    root = tmp_path / "only"
    (root / "ape").mkdir(parents=True)
    for path in (folders / "train" / "ape").iterdir():
        (root / "ape" / path.name).write_bytes(path.read_bytes())
    return root


def test_a_wrong_level_names_the_one_that_has_classes(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "deep"
    for name in ("ape", "bee"):
        (root / name / "all").mkdir(parents=True)
        for path in (folders / "train" / name).iterdir():
            (root / name / "all" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        UserError, match=r"of one class, all, .* type --class-level 1 for the 2 folders of that level \(ape, bee\)"
    ):
        labelled(root)
    assert labelled(root, class_level=1).classes == ("ape", "bee")


def test_the_number_of_classes_is_checked(folders: Path) -> None:
    with pytest.raises(UserError, match=r"--classes 5: .* has 3 \(ape, bee, cat\); type --classes 3"):
        labelled(folders, classes=5)
    assert len(labelled(folders, classes=3).classes) == 3


@pytest.mark.slow  # 2 s in all
def test_a_class_folder_too_many_on_resume_is_refused_and_nothing_is_lost(folders: Path, tmp_path: Path) -> None:
    values = {"data": str(folders), "train_images": None, "batch_size": 4, "critic_steps": 1, "epochs": 1}
    run = made(tmp_path, "biggan", **values)
    finish(run)
    kept = run.weights.read_bytes()
    (folders / "train" / "dog").mkdir()
    for n in range(4):
        pixels = np.full((20, 20, 3), 200 + n, np.uint8)
        Image.fromarray(pixels).save(folders / "train" / "dog" / f"{n}.png")
    with pytest.raises(UserError, match="4 added"):
        trainer_of(run)
    assert run.weights.read_bytes() == kept


def test_presets_are_the_published_and_the_small_ones() -> None:
    counts = {}
    for preset in ("default", "cifar", "64", "small"):
        experiment: Any = find("biggan").from_preset(preset)
        experiment.check()
        with torch.device("meta"):
            g, d = biggan.networks(experiment, (3, experiment.image_size, experiment.image_size), 10).values()
        counts[preset] = (parameters(g), parameters(d))
    assert counts["default"] == counts["cifar"] == (4_304_387, 4_207_361)
    assert counts["64"] == (8_374_660, 4_894_306) and counts["small"] == (290_499, 265_409)
    cifar: Any = find("biggan").from_preset("cifar")
    assert (cifar.batch_size, cifar.critic_steps, cifar.rate_g, cifar.rate_d) == (50, 4, 2e-4, 2e-4)
    assert (cifar.beta1, cifar.beta2, cifar.ema_start, cifar.attention, cifar.ortho) == (0.0, 0.999, 1000, 0, 0.0)
    with pytest.raises(UserError, match="add --shared 128"):
        cifar.replace(hierarchical=True)


def test_classes_and_level_are_in_the_signature() -> None:
    first = tiny("biggan")
    assert len({first.signature, tiny("biggan", class_level=1).signature, tiny("biggan", classes=10).signature}) == 3
    assert dataclasses.replace(first, seed=1).group == first.group
