"""GANs on sets of few pictures: no figure is made up that takes two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganhpc.train.gan import class_measures, collapse_detector
from ganhpc.train.gan.similarity import share
from ganhpc.train.tasks.cyclegan import CycleGan
from tests.train.tasks.tiny import task_of, tiny


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))


def pictures(folder: Path, number: int, channel: int) -> str:
    folder.mkdir(parents=True)
    for k in range(number):
        pixels = np.zeros((20, 20, 3), np.uint8)
        pixels[..., channel] = np.random.default_rng(k).integers(0, 256, (20, 20))
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return str(folder)


def test_a_translation_of_one_held_out_picture_has_no_diversity_and_is_shown_once(tmp_path: Path) -> None:
    few, many = pictures(tmp_path / "few", 4, 0), pictures(tmp_path / "many", 60, 2)
    task = task_of(tiny("cyclegan", data=few, data_b=many, train_images=None, batch_size=1))
    assert isinstance(task, CycleGan)
    assert [len(task.sets[name].test_images) for name in "ab"] == [1, 3]
    figures = task.evaluate()
    assert "diversity_a2b" not in figures and figures["diversity_b2a"] > 0, "three pictures of B are translated into A"
    assert len(task.samples()) == 6 * 2, "two rows, as asked for"
    task = task_of(
        tiny("cyclegan", data=few, data_b=pictures(tmp_path / "other", 4, 1), train_images=None, batch_size=1)
    )
    assert not [name for name in task.evaluate() if "diversity" in name]
    assert len(task.samples()) == 6, "the one picture of each set, once"


def test_a_single_picture_is_no_collapse(tmp_path: Path) -> None:
    few, other = pictures(tmp_path / "few", 4, 0), pictures(tmp_path / "other", 4, 1)
    task = task_of(tiny("cyclegan", data=few, data_b=other, train_images=None, batch_size=1, stop_on_collapse=True))
    task._seen = collapse_detector.LEARNING_STEPS
    for _ in range(4):
        task.end_epoch(task.evaluate())
    assert not task.failure


def test_a_gan_on_a_single_training_picture_has_no_diversity(tmp_path: Path) -> None:
    task = task_of(tiny("dcgan", data=pictures(tmp_path / "two", 2, 0), train_images=None, batch_size=1))
    figures = task.evaluate()
    assert "diversity" not in figures and figures


def test_classes_of_one_picture_have_no_diversity(tmp_path: Path) -> None:
    for k in range(2):
        pictures(tmp_path / "set" / f"class{k}", 2, k)
    task = task_of(tiny("biggan", data=str(tmp_path / "set"), train_images=None, batch_size=2, critic_steps=1))
    figures = task.evaluate()
    assert "diversity_within" not in figures and 0 <= figures["diversity"] < 100


def test_measures_of_classes_with_one_held_out_picture_name_no_diversity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_measures, "classifier", lambda *_: class_measures._Classifier(3, 2).eval())
    for k in range(2):
        pictures(tmp_path / "set" / f"class{k}", 10, k)
    task = task_of(tiny("biggan", data=str(tmp_path / "set"), train_images=None))
    found = class_measures._Pictures(task.average, task.context.data, 100, 0, float("inf")).accuracies()
    assert "class_diversity" not in found and "class_accuracy" in found
    of_class = found["conditional"]["classes"]["class0"]
    assert (of_class["n"], of_class["diversity"], of_class["diversity_real"]) == (1, None, None)


@pytest.mark.parametrize(
    ("made", "real", "wanted"),
    [(0.5, 2.0, 0.25), (0.0, 2.0, 0.0), (None, 2.0, None), (0.5, None, None), (0.5, 0.0, None), (0.5, 1e-8, None)],
)
def test_a_share_is_of_what_differs(made: float | None, real: float | None, wanted: float | None) -> None:
    assert share(made, real) == wanted


def test_one_image_has_no_spread() -> None:
    assert collapse_detector.spread(torch.zeros(1, 3, 4, 4)) is None
    assert collapse_detector.spread(torch.zeros(2, 3, 4, 4)) == 0.0
