"""Exact measures of generated lines, without any network: how many images are pictures that `ganhpc.train.data.lines` could have drawn.

Each image is compared with the nearest picture of the set, found exactly for every image that is near one (see `fit`). Real images get
a validity of 1 by construction, those whose lines are cut by the border, cross, overlap or coincide too: they are in the set. An image with
one visible horizontal is therefore valid where two lines coincide, which real data does once in `size` images; a generator that has
forgotten a line does it always. So `coincident` and `touching` stand beside `valid`, to be read against the same figures of real data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ganhpc.train.data.lines import PALETTE, Layouts, footprint, thickness

_TOLERANCE = 60.0
"""Largest Euclidean distance, in RGB levels of 0..255, at which a pixel has a colour. Black and the four colours lie at least 154 apart, so
that below 77 no pixel has two colours."""
_SLACK = 0.25
"""Pixels that may be wrong in a valid image, in image sides. A line one pixel too thick, or shifted at one end, has one side wrong."""
_BINS = 16
"""Bins of positions in `coverage`."""
_NONE, _BLACK = 5, 4  # labels of pixels: 0..3 are the colours of PALETTE
_CHUNK = 256


@dataclass(frozen=True)
class _Fit:
    """The nearest picture to each of N images: its layout, the pixels in which the image differs from it (int64 [N]), and the image's mean
    distance to the palette (float [N], RGB levels)."""

    layouts: Layouts
    wrong: Tensor
    palette_distance: Tensor


@dataclass(frozen=True)
class _LineMeasures:
    """Result of `measure` on `n` images of `size` pixels. Shares are in 0..1."""

    n: int
    size: int
    tolerance: float
    slack: float
    valid: float
    """Share of images that are one vertical and two horizontal lines of the right thickness and colours."""
    touching: float | None
    """Share of valid images whose horizontals overlap or touch, so that their thickness can't be told apart; None without valid images."""
    coincident: float | None
    """Share of valid images whose two horizontals are one and the same; None without valid images."""
    wrong_pixels: float
    """Mean share of pixels in which an image differs from the nearest picture found."""
    palette_distance: float
    """Mean distance of a pixel to the nearest of black and the four colours, in RGB levels (0 to 255)."""
    coverage: float
    """Share of the cells (orientation, position bin, colour) that valid images show; grows with `n`, so compare at equal `n`."""
    diversity: float | None
    """Mean, over all pairs of images, of the share of pixels that differ in colour; None for one image."""
    distinct: float | None
    """Distinct layouts among valid images, as a share of them; None without valid images."""

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name."""
        return asdict(self)


def measure(
    images: Tensor, *, tolerance: float = _TOLERANCE, slack: float = _SLACK, bins: int = _BINS
) -> _LineMeasures:
    """The measures of `images`, uint8 or float in [-1, 1], [N, 3, S, S]. On held-out real images they are the ceiling."""
    if images.ndim != 4 or not len(images) or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"expected [N, 3, S, S] with N of at least 1, got {tuple(images.shape)}")
    n, size = len(images), images.shape[-1]
    parts, counts = [], torch.zeros(6, size, size, dtype=torch.int64, device=images.device)
    for chunk in images.split(_CHUNK):
        labels, distances = label(chunk, tolerance=tolerance)
        parts.append(_fit(labels, distances))
        counts += _counts(labels, 6, 0)
    found = _join(parts)
    ok = found.wrong <= slack * size
    good = _canonical(found.layouts[ok], size)
    gap = (good.position[:, 1] - good.position[:, 2]).abs()
    return _LineMeasures(
        n=n,
        size=size,
        tolerance=tolerance,
        slack=slack,
        valid=ok.double().mean().item(),
        touching=_share(gap <= thickness(size)),
        coincident=_share(gap == 0),
        wrong_pixels=found.wrong.double().mean().item() / size**2,
        palette_distance=found.palette_distance.double().mean().item(),
        coverage=_coverage(good, size, bins),
        diversity=_diversity(counts, n),
        distinct=_distinct(good),
    )


def label(images: Tensor, *, tolerance: float = _TOLERANCE) -> tuple[Tensor, Tensor]:
    """(labels uint8 [N, S, S], distances float [N, S, S]): the nearest colour of each pixel (4: black, 5: none within `tolerance`) and how
    far it is, in RGB levels."""
    levels = images.float() if images.dtype == torch.uint8 else (images.float() + 1) * 127.5
    levels = levels.nan_to_num(1e4, 1e4, -1e4)
    best = torch.full_like(levels[:, 0], torch.inf)
    labels = torch.full(best.shape, _NONE, dtype=torch.uint8, device=images.device)
    for index, colour in enumerate([*PALETTE, (0, 0, 0)]):
        distance = torch.zeros_like(best)
        for channel, value in enumerate(colour):
            off = levels[:, channel] - value
            distance.addcmul_(off, off)
        labels.masked_fill_(distance < best, index)
        torch.minimum(best, distance, out=best)
    distance = best.sqrt_()
    labels.masked_fill_(distance > tolerance, _NONE)
    return labels, distance


def fit(images: Tensor, *, tolerance: float = _TOLERANCE) -> _Fit:
    """The nearest picture to each image, by pixels of the wrong colour.

    The vertical is read off the most frequent colour of each column, since the horizontals hide a small part of it; given the vertical, the
    best pair of horizontals is found exactly. The whole is exact for every image with fewer than S / 2 - 2 x thickness wrong pixels
    (no column's most frequent colour can be wrong then), which includes all that are valid; for others `wrong` is an upper bound.
    """
    return _join([_fit(*label(chunk, tolerance=tolerance)) for chunk in images.split(_CHUNK)])


def _join(parts: Sequence[tuple[Tensor, ...]]) -> _Fit:
    position, colour, wrong, distance = (torch.cat(values) for values in zip(*parts, strict=True))
    return _Fit(Layouts(position, colour), wrong, distance)


def _fit(labels: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    covers = footprint(labels.shape[-1]).to(labels.device)
    x, x_colour = _vertical(labels, covers)
    # Pixels wrong in each row, were it free of horizontals [N, S], and were it a horizontal of each colour [N, S, 4].
    pattern = torch.where(covers[x], x_colour[:, None], _BLACK)
    free = (labels != pattern[:, None].to(labels.dtype)).sum(2, dtype=torch.int32)
    painted = labels.shape[-1] - _counts(labels, 4, 2)
    position, colour, change = _horizontals((painted - free).movedim(0, 2), covers)
    return (
        torch.cat([x[:, None], position], 1),
        torch.cat([x_colour[:, None], colour], 1),
        free.sum(1) + change,
        distances.mean((1, 2)),
    )


def _vertical(labels: Tensor, covers: Tensor) -> tuple[Tensor, Tensor]:
    """(position, colour), int64 [N] each, of the vertical line that best explains the columns' most frequent labels."""
    mode = _counts(labels, 6, 1).argmax(0)  # [N, S]
    # Columns that a line at p of colour c explains, compared with no line at all: [N, p, c].
    gain = torch.stack([(mode == colour).float() - (mode == _BLACK).float() for colour in range(4)], 2)
    score = torch.einsum("pi,nic->npc", covers.float(), gain).flatten(1)
    best = score.argmax(1)
    return best // 4, best % 4


def _horizontals(change: Tensor, covers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pair of horizontals that leaves the fewest wrong pixels.

    `change` [N, S, 4]: pixels more (or, below 0, fewer) that are wrong when a row is painted in a colour. Returns positions [N, 2] and
    colours [N, 2] of the line below and the line above it, and the change in wrong pixels [N].
    """
    n, size, _ = change.shape
    change = change.float()
    whole, whole_colour = torch.einsum("pr,nrc->npc", covers.float(), change).min(2)  # [N, p]
    total = whole[:, :, None] + whole[:, None, :]  # [N, under, over], right where the two don't overlap
    colours = whole_colour[:, :, None].expand(n, size, size).clone()
    thick = thickness(size)
    for shift in range(1 - thick, thick):
        over = torch.arange(max(0, -shift), min(size, size - shift), device=change.device)
        under = over + shift
        seen = (covers[under] & ~covers[over]).float()  # rows of the lower line that still show
        part, part_colour = torch.einsum("pr,nrc->npc", seen, change).min(2)
        total[:, under, over] = whole[:, over] + part
        colours[:, under, over] = part_colour
    best = total.flatten(1).min(1)
    under, over = best.indices // size, best.indices % size
    row = torch.arange(n, device=change.device)
    return (
        torch.stack([under, over], 1),
        torch.stack([colours[row, under, over], whole_colour[row, over]], 1),
        best.values.round().long(),
    )


def _canonical(layouts: Layouts, size: int) -> Layouts:
    """One layout for each picture: horizontals that don't overlap from top to bottom, and a hidden line like the one that hides it."""
    under, over = layouts.position[:, 1], layouts.position[:, 2]
    apart = (under - over).abs() >= thickness(size)
    covers = footprint(size).to(under.device)
    hidden = ~(covers[under] & ~covers[over]).any(1)
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [0, 2, 2]], device=under.device)
    order = orders[torch.where(hidden, 2, (apart & (under > over)).long())]
    return Layouts(layouts.position.gather(1, order), layouts.colour.gather(1, order))


def _coverage(layouts: Layouts, size: int, bins: int) -> float:
    """Share of the 2 x bins x 4 cells that `layouts` show; never more bins than positions."""
    bins = min(bins, size)
    orientation = torch.tensor([0, 1, 1], device=layouts.position.device)
    cell = (orientation * bins + layouts.position * bins // size) * 4 + layouts.colour
    return len(cell.unique()) / (2 * bins * 4)


def _share(mask: Tensor) -> float | None:
    return mask.double().mean().item() if len(mask) else None


def _distinct(layouts: Layouts) -> float | None:
    if not len(layouts):
        return None
    return len(torch.cat([layouts.position, layouts.colour], 1).unique(dim=0)) / len(layouts)


def _counts(labels: Tensor, values: int, dim: int) -> Tensor:
    """int32: how often each label below `values` occurs along `dim`, the labels in front."""
    return torch.stack([(labels == value).sum(dim, dtype=torch.int32) for value in range(values)])


def _diversity(counts: Tensor, n: int) -> float | None:
    """Mean over all pairs of different images of the share of pixels whose labels differ, from `counts` [6, S, S]; None for one image.

    Exact and without making the pairs: a pixel that has label k in n_k of n images differs in n^2 - sum n_k^2 ordered pairs.
    """
    if n < 2:
        return None
    return ((n**2 - counts.double().square().sum(0)) / (n * (n - 1))).mean().item()
