"""Exact measures of lines: real pictures of every kind pass, hand-made wrong ones fail, and the nearest picture is the nearest."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from ganhpc.train.data.lines import PALETTE, Layouts, draw, render
from ganhpc.train.gan.line_measures import fit, label, measure


def pictures(*rows, size=128):
    """Pictures from rows of (x, cx, y1, c1, y2, c2)."""
    table = torch.tensor(rows)
    return render(Layouts(table[:, 0::2], table[:, 1::2]), size)


GOOD = (40, 1, 20, 0, 100, 3)


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("size", [32, 64, 128])
def test_real_data_is_the_ceiling(size):
    real = render(draw(400, size, 1, "test"), size)
    figures = measure(real)
    assert (figures.valid, figures.wrong_pixels, figures.palette_distance) == (1, 0, 0)
    assert figures.coverage > 0.95
    assert figures.distinct == pytest.approx(1, abs=0.01)
    assert figures.touching == pytest.approx(0.09, abs=0.06)
    assert 0.1 < figures.diversity < 0.3
    json.dumps(figures.as_dict(), allow_nan=False)
    assert torch.equal(render(fit(real).layouts, size), real)


@pytest.mark.parametrize(
    "row",
    [
        (0, 0, 0, 1, 127, 2),  # cut by the border
        (127, 3, 127, 3, 126, 3),
        (64, 0, 50, 1, 52, 2),  # overlapping
        (64, 0, 52, 1, 50, 2),
        (64, 0, 50, 1, 50, 2),  # coincident
        (64, 1, 50, 1, 55, 1),  # touching, all in one colour
        (2, 1, 1, 0, 0, 0),
    ],
)
def test_every_kind_of_real_picture_is_valid_as_bytes_and_as_floats(row):
    image = pictures(row)
    assert measure(image).valid == 1
    assert measure(image.float() / 127.5 - 1).valid == 1
    assert torch.equal(render(fit(image).layouts, 128), image)


def paint(image, rows, columns, colour):
    image[0, :, rows, columns] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return image


ALL = slice(None)
WRONG = {
    "black": torch.zeros(1, 3, 128, 128, dtype=torch.uint8),
    "white": torch.full((1, 3, 128, 128), 255, dtype=torch.uint8),
    "noise": torch.randint(256, (1, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    "no vertical": paint(pictures(GOOD), slice(24, 90), ALL, (0, 0, 0)).clone(),
    "two verticals": paint(pictures(GOOD), slice(24, 90), slice(80, 85), PALETTE[2]),
    "three horizontals": paint(pictures(GOOD), slice(60, 65), ALL, PALETTE[2]),
    "a horizontal too thick": paint(pictures(GOOD), slice(18, 24), ALL, PALETTE[0]),
    "a horizontal too thin": paint(pictures(GOOD), slice(98, 99), ALL, (0, 0, 0)),
    "a vertical too thick": paint(pictures(GOOD), slice(24, 90), slice(38, 44), PALETTE[1]),
    "half a horizontal": paint(pictures(GOOD), slice(98, 103), slice(64, 128), (0, 0, 0)),
    "a colour not of the palette": paint(pictures(GOOD), slice(98, 103), ALL, (0, 255, 0)),
    "two colours on one line": paint(pictures(GOOD), slice(98, 103), slice(64, 128), PALETTE[0]),
    "turned by 90 degrees": pictures(GOOD).transpose(2, 3),
    "the vertical on top": paint(pictures(GOOD), ALL, slice(38, 43), PALETTE[1]),
    "grey background": pictures(GOOD).clamp(min=90),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pictures_are_not_valid(name):
    figures = measure(WRONG[name])
    assert figures.valid == 0
    assert figures.wrong_pixels > 0
    assert figures.touching is None
    assert figures.coverage == 0
    json.dumps(figures.as_dict(), allow_nan=False)


def test_the_share_counts_images():
    mixed = torch.cat([pictures(GOOD), *WRONG.values()])
    assert measure(mixed).valid == pytest.approx(1 / (1 + len(WRONG)))


def test_tolerance_and_slack():
    image = pictures(GOOD)
    dim = (image.float() * 0.8).byte()  # white becomes 204, 88 levels from white
    assert measure(dim).valid == 0
    assert measure(dim, tolerance=90).valid == 1
    assert measure(dim).palette_distance > 0
    spots = image.clone()
    spots[0, :, 60, 60:91] = 255
    assert fit(spots).wrong.item() == 31
    assert measure(spots).valid == 1
    assert measure(spots, slack=0.24).valid == 0


def test_a_forgetful_generator_shows():
    one = measure(pictures(*[(x, 0, 50, 1, 50, 1) for x in range(0, 128, 8)]))
    assert (one.valid, one.coincident, one.touching, one.distinct) == (1, 1, 1, 1)
    assert one.coverage == (16 + 1) / 128
    same = measure(pictures(*[GOOD] * 8))
    assert (same.valid, same.diversity, same.distinct, same.coverage) == (1, 0, 1 / 8, 3 / 128)


def test_the_order_of_two_horizontals_is_no_new_layout():
    assert measure(pictures((40, 1, 20, 0, 100, 3), (40, 1, 100, 3, 20, 0))).distinct == 0.5


def test_diversity_is_the_mean_over_pairs():
    images = render(draw(7, 32, 2, "test"), 32)
    labels, _ = label(images)
    shares = [(labels[a] != labels[b]).double().mean().item() for a, b in itertools.combinations(range(7), 2)]
    assert measure(images).diversity == pytest.approx(sum(shares) / len(shares))
    assert measure(images[:1]).diversity is None


@pytest.mark.slow  # a second of processor time: it computes
def test_the_nearest_picture_is_found():
    """Against all 4096 x 64 = 110,592 layouts of 12 pixels, on pictures with a few wrong pixels."""
    size = 12
    cells = torch.cartesian_prod(*[torch.arange(4 * size)] * 3)
    every, _ = label(render(Layouts(cells // 4, cells % 4), size))
    generator = torch.Generator().manual_seed(0)
    images = render(draw(12, size, 0, "test"), size)
    for image, wrong in zip(images, [0, 1, 2, 3] * 3, strict=True):
        for _ in range(wrong):
            row, column = torch.randint(size, (2,), generator=generator).tolist()
            image[:, row, column] = torch.randint(256, (3,), generator=generator, dtype=torch.uint8)
    labels, _ = label(images)
    nearest = [(every != one).sum((1, 2)).min().item() for one in labels]
    assert fit(images).wrong.tolist() == nearest
    assert max(nearest) > 0


def test_broken_floats_are_wrong_pictures_not_errors():
    figures = measure(torch.full((2, 3, 32, 32), math.nan))
    assert figures.valid == 0
    assert math.isfinite(figures.palette_distance)


def test_a_shape_that_is_no_batch_of_images_is_our_bug():
    with pytest.raises(ValueError, match="expected"):
        measure(torch.zeros(0, 3, 8, 8))
