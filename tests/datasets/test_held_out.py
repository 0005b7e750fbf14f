"""--held-out: choices are made on training images that are not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.registry import load
from tests.helpers import finish, made


def test_the_parts_are_the_training_images_and_nothing_else() -> None:
    whole = load(DataRequest("synthetic", train_images=50))
    parts = load(DataRequest("synthetic", train_images=50, held_out=12))
    assert len(parts.images) == 38 and len(parts.test_images) == 12
    both = torch.cat([parts.images, parts.test_images]).flatten(1)
    assert sorted(both.sum(1).tolist()) == sorted(whole.images.flatten(1).sum(1).tolist())
    assert whole.labels is not None and parts.labels is not None and parts.test_labels is not None
    for images, labels in ((parts.images, parts.labels), (parts.test_images, parts.test_labels)):
        for image, label in zip(images, labels, strict=True):
            place = (whole.images == image).flatten(1).all(1).nonzero().item()
            assert label == whole.labels[place]
    again = load(DataRequest("synthetic", train_images=50, held_out=12, seed=7))
    assert torch.equal(again.test_images, parts.test_images), "always the same ones"


def test_the_result_says_so(tmp_path: Path) -> None:
    result = finish(made(tmp_path, held_out=100))
    assert "100 training images held out, the test images are not used" in result["data_note"]
    assert result["steps"] == 2 * 5 and "heldout100" in result["variant"]
    assert (result["test_accuracy"] * 100) % 1 == pytest.approx(0, abs=1e-9), "of a hundred images"


def test_holding_out_everything_is_a_sentence() -> None:
    with pytest.raises(UserError, match="--held-out 50 leaves none of the 50"):
        load(DataRequest("synthetic", train_images=50, held_out=50))
