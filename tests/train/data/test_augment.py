"""Augmentation against slow references, at any size of image, shift and square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.train.data import augment
from ganhpc.train.data.batch_loader import BatchLoader

SIDES = st.integers(5, 12)


def noise(n: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3]), SIDES, SIDES, st.integers(0, 4), st.integers(0, 2**31))
def test_take_cuts_and_mirrors_as_numpy_does(channels: int, height: int, width: int, pixels: int, seed: int) -> None:
    images = noise(7, channels, height, width, seed)
    draw = torch.Generator().manual_seed(seed)
    index = torch.randint(0, 7, (9,), generator=draw)
    rows, columns = torch.randint(0, 2 * pixels + 1, (2, 9), generator=draw)
    mirror = torch.rand(9, generator=draw) < 0.5
    taken = augment.take(augment.pad(images, pixels), index, rows, columns, mirror, (height, width))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)), mode="reflect")
    for k in range(9):
        r, c = int(rows[k]), int(columns[k])
        cut = padded[index[k], :, r : r + height, c : c + width]
        assert np.array_equal(taken[k].permute(2, 0, 1).numpy(), cut[:, :, ::-1] if mirror[k] else cut)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(1, 12), st.integers(0, 2**31))
def test_cutout_blanks_a_square_cut_off_at_the_border(height: int, width: int, side: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    rows, columns = torch.randint(0, height, (4,), generator=draw), torch.randint(0, width, (4,), generator=draw)
    cut = augment.cutout(torch.ones(4, 2, height, width), rows, columns, side)
    for k in range(4):
        expected = np.ones((2, height, width))
        top, left = int(rows[k]) - side // 2, int(columns[k]) - side // 2
        expected[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
        assert np.array_equal(cut[k].numpy(), expected)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3]), SIDES, SIDES, st.integers(0, 4), st.booleans())
def test_normalised_as_the_formula_says_at_any_shape(
    channels: int, height: int, width: int, crop: int, one: bool
) -> None:
    images = noise(6, channels, height, width)
    mean, std = ((0.5,), (0.25,)) if one else ((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.4)[:channels])
    loader = BatchLoader(images, None, batch_size=6, mean=mean, std=std, crop=crop)
    ((batch, labels),) = loader.evaluation_batches()
    column = [torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std)]
    assert labels is None
    assert batch.shape == images.shape
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(batch.double(), (images.double() / 255 - column[0]) / column[1], atol=1e-6)


def test_images_for_generators_lie_between_minus_one_and_one() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    ((batch, _),) = BatchLoader(ends, None, batch_size=2).evaluation_batches()
    assert (batch.amin().item(), batch.amax().item()) == pytest.approx((-1.0, 1.0), abs=1e-6)
