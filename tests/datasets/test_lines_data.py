"""Coloured lines: what is painted, the streams of a seed, the laws of positions and colours, and sentences."""

from __future__ import annotations

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.datasets.catalogue import names
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.lines import PALETTE, Layouts, draw, footprint, load, render, thickness


def picture(x, cx, y1, c1, y2, c2, size=128):
    return render(Layouts(torch.tensor([[x, y1, y2]]), torch.tensor([[cx, c1, c2]])), size)[0]


def test_one_picture_pixel_by_pixel():
    image = picture(40, 1, 20, 0, 100, 3)
    wanted = torch.zeros(3, 128, 128, dtype=torch.uint8)
    for (rows, columns), colour in (
        ((slice(None), slice(38, 43)), PALETTE[1]),
        ((slice(18, 23), slice(None)), PALETTE[0]),
        ((slice(98, 103), slice(None)), PALETTE[3]),
    ):
        wanted[:, rows, columns] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    assert torch.equal(image, wanted)


def test_the_border_cuts_and_later_lines_lie_over_earlier_ones():
    image = picture(0, 2, 127, 0, 125, 1)
    assert image[:, 0].tolist() == [[channel] * 3 + [0] * 125 for channel in PALETTE[2]]
    rows = [tuple(image[:, row, 64].tolist()) for row in range(121, 128)]
    assert rows == [(0, 0, 0), (0, 0, 0), *[PALETTE[1]] * 5]
    assert tuple(picture(0, 2, 127, 0, 123, 1)[:, 127, 0].tolist()) == PALETTE[0]


@pytest.mark.parametrize(("size", "pixels"), [(32, 1), (64, 3), (96, 4), (128, 5), (256, 10)])
def test_thickness_scales(size, pixels):
    assert thickness(size) == pixels
    assert footprint(size)[size // 2].sum() == pixels


def test_streams_of_a_seed():
    torch.manual_seed(5)
    first = load(DataRequest("lines", train_images=30, image_size=32, seed=3))
    torch.manual_seed(6)
    again = load(DataRequest("lines", train_images=20, image_size=32, seed=3))
    other = load(DataRequest("lines", train_images=30, image_size=32, seed=4))
    assert first.shape == (3, 32, 32)
    assert torch.equal(first.images[:20], again.images)
    assert torch.equal(first.test_images, again.test_images)
    assert len(first.test_images) == 1000
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, first.test_images[:30])
    assert "seed 3" in first.note


def test_the_laws_are_uniform():
    """A cell of 1/128 has about 234 +- 15 of 30,000 draws; 5 deviations of margin."""
    layouts = draw(30_000, 128, 0, "train")
    for line in range(3):
        counts = torch.bincount(layouts.position[:, line], minlength=128)
        assert len(counts) == 128
        assert (counts - 30_000 / 128).abs().max() < 5 * (30_000 / 128) ** 0.5
        colours = torch.bincount(layouts.colour[:, line], minlength=4)
        assert (colours - 7500).abs().max() < 5 * 7500**0.5
    assert torch.corrcoef(layouts.position.double().T).fill_diagonal_(0).abs().max() < 0.03


def test_golden_first_layouts():
    """The same pictures on every machine and version: a change here is a change of the data set."""
    layouts = draw(2, 128, 0, "train")
    assert torch.cat([layouts.position, layouts.colour], 1).tolist() == GOLDEN


GOLDEN = [[46, 12, 64, 3, 0, 2], [46, 106, 127, 2, 0, 3]]


def test_sentences():
    for request, words in {
        DataRequest("lines", image_size=4): "--image-size 4",
        DataRequest("lines", train_images=0): "--train-images 0",
        DataRequest("lines", train_images=10**12): "ask for --train-images",
    }.items():
        with pytest.raises(UserError, match=words):
            load(request)


def test_it_is_found_by_name():
    assert "lines" in names()
