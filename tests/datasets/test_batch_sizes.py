"""Batches and numbers of training images that a set does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.datasets import held_data
from tests.datasets.test_held_data import faces


def test_batches_larger_than_the_set_are_refused_before_anything_is_submitted(tmp_path: Path) -> None:
    def asked(data: str, **values: object) -> None:
        held_data.require({"data": data, **values}, {})

    asked("cifar10", batch_size=12_500, critic_steps=4)
    asked("synthetic", batch_size=100, train_images=100)
    asked("lines", batch_size=20_000, train_images=20_000)
    asked("celeba", batch_size=65_536)
    with pytest.raises(
        UserError, match="--critic-steps 4 of --batch-size 12501 need 50,004 images, and the set has 50,000"
    ):
        asked("cifar10", batch_size=12_501, critic_steps=4)
    with pytest.raises(UserError, match="--batch-size 101 is more than the 100 training images: type a smaller one"):
        asked("synthetic", batch_size=101, train_images=100)
    with pytest.raises(UserError, match="--batch-size 10001 is more than the 10,000 training images of --data-b"):
        held_data.require({"data": "cifar10", "data_b": "negatives", "batch_size": 10_001}, {})
    for number, data, way in (
        (50_001, "cifar10", "1 to 50,000"),
        (9, "synthetic", "10 to 100,000"),
        (0, "lines", "1 or"),
    ):
        with pytest.raises(UserError, match=f"--train-images {number} is out of range: --data {data} takes {way}"):
            asked(data, train_images=number)
    with pytest.raises(UserError, match="--batch-size 2 is more than the 1 training image: type a smaller one"):
        asked("lines", train_images=1, batch_size=2)
    folder = str(faces(tmp_path / "few", n=5))
    asked(folder, batch_size=4, train_images=4)
    with pytest.raises(UserError, match="--batch-size 5 is more than the 4 training images"):
        asked(folder, batch_size=5)
    with pytest.raises(UserError, match=r"--train-images 5: --data .* has 5 pictures, some of which are held out"):
        asked(folder, train_images=5)
