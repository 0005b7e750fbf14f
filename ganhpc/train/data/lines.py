"""Coloured lines, made on the spot: black images with one vertical and two horizontal lines.

The set of the course "Models and words" (WGAN-GP on 128x128 images): `size(128,128)`, `background(0)`, `strokeWeight(5)` in Processing;
the vertical line's abscissa and the horizontal lines' ordinates are whole numbers, uniform in 0..size - 1; each colour is uniform among
four. (4 x 128)^3 = 134,217,728 layouts. The text rules; the authors' sketch (robillardstudio/three-lines-in-latent-space) differs from it:
it keeps the first two lines 10 pixels away from the borders, draws the second ordinate from N(48, 1.2), and saves JPEGs.

What Processing paints, and what is chosen here:
- `line` from border to border with a stroke of 5 paints the pixels p - 2 .. p + 2 of a line at p in full, and no others: Java2D's
  default stroke control moves the middle of the line to the middle of pixel p. What lies outside of the image is cut, so a line at
  0 shows 3 of its pixels.
- The round ends (the default cap) lie outside of the image, but for less than a hundredth of a corner pixel: not painted here.
- Later lines lie over earlier ones: the vertical first, then the first and the second horizontal.
- At other sizes the picture is the same one scaled: lines are 5 x size / 128 pixels thick, rounded half up, at least 1 (3 at 64,
  1 at 32); an even thickness t covers p - t / 2 .. p + t / 2 - 1.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted
from ganhpc.datasets import batch_sizes
from ganhpc.datasets.types import DataRequest, ImageData

PALETTE = ((255, 255, 255), (224, 184, 7), (185, 33, 19), (54, 79, 179))
"""RGB of white, yellow, red and blue, in the order of the course."""
_COLOURS = ("white", "yellow", "red", "blue")
TEST_IMAGES, SIZE = 1_000, 128
_CHUNK = 512  # images drawn at a time


@dataclass(frozen=True)
class Layouts:
    """N pictures as numbers: `position` int64 [N, 3] in pixels and `colour` int64 [N, 3] (index in PALETTE), of the vertical
    line, the lower horizontal and the horizontal that lies over it."""

    position: Tensor
    colour: Tensor

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, index: Tensor | slice) -> Layouts:
        return Layouts(self.position[index], self.colour[index])


def thickness(size: int) -> int:
    """Pixels across a line in images of `size` pixels."""
    return max(1, (5 * size * 2 + 128) // 256)


def footprint(size: int) -> Tensor:
    """bool [size, size]: entry [p, i] says whether a line at p covers row (or column) i."""
    thick = thickness(size)
    offset = torch.arange(size)[None] - torch.arange(size)[:, None]
    return (offset >= -(thick // 2)) & (offset < thick - thick // 2)


def draw(number: int, size: int, seed: int, stream: str) -> Layouts:
    """`number` random layouts. A longer draw from the same `seed` and `stream` begins with a shorter one."""
    digest = hashlib.sha256(f"lines/{stream}/{seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    # One integer below 4 x size for each line, row by row: it tells the position and the colour.
    cells = torch.randint(4 * size, (number, 3), generator=generator)
    return Layouts(cells // 4, cells % 4)


def render(layouts: Layouts, size: int) -> Tensor:
    """uint8 [N, 3, size, size], the picture of each layout."""
    images = torch.empty(len(layouts), 3, size, size, dtype=torch.uint8)
    palette, covers = torch.tensor(PALETTE, dtype=torch.uint8), footprint(size)
    for start in range(0, len(layouts), _CHUNK):
        part = layouts[slice(start, start + _CHUNK)]
        shown, colour = covers[part.position], palette[part.colour]  # [n, 3, size], [n, 3, 3]
        chunk = images[start : start + _CHUNK]
        chunk.copy_((shown[:, 0, None] * colour[:, 0, :, None])[:, :, None])
        for line in (1, 2):
            picture, row = shown[:, line].nonzero(as_tuple=True)
            chunk[picture, :, row] = colour[picture, line, :, None]
    return images


def load(request: DataRequest) -> ImageData:
    """`train_images` training images (10,000) and 1,000 test images from another stream of the same seed.

    Raises UserError where the size or the number makes no sense, or the images would not fit in memory.
    """
    size = SIZE if request.image_size is None else request.image_size
    number = _number("lines", request)
    _check(size, number)
    images = render(draw(number, size, request.seed, "train"), size)
    tests = render(draw(TEST_IMAGES, size, request.seed, "test"), size)
    note = f"one vertical and two horizontal lines, {counted(thickness(size), 'pixel')} thick, drawn from seed {request.seed}"
    return ImageData("lines", images, None, tests, None, note=note, exact="lines")


def load_negatives(request: DataRequest) -> ImageData:
    """As `load`, of lines drawn from other streams of the seed, black and white and the colours exchanged: a second set for translations."""
    size, number = request.image_size or SIZE, _number("negatives", request)
    _check(size, number)
    images = 255 - render(draw(number, size, request.seed, "negative train"), size)
    tests = 255 - render(draw(TEST_IMAGES, size, request.seed, "negative test"), size)
    note = f"negatives of other lines, {counted(thickness(size), 'pixel')} thick, drawn from seed {request.seed}"
    return ImageData("negatives", images, None, tests, None, note=note)


def _number(name: str, request: DataRequest) -> int:
    """Training images. Raises UserError."""
    found = batch_sizes.number(name, request.train_images)
    assert found is not None
    return found


def _check(size: int, number: int) -> None:
    if not 8 <= size <= 1024:
        raise UserError(f"--image-size {size}: lines can be drawn at 8 to 1024 pixels.")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = (number + TEST_IMAGES) * 3 * size**2
    if needed > memory // 2:
        most = max(1, memory // 2 // (3 * size**2) - TEST_IMAGES)
        raise UserError(
            f"{number} lines images of {size} pixels need {needed / 1e9:.1f} GB, more than half of this machine's "
            f"{memory / 1e9:.1f} GB: ask for --train-images {most} at most, or a smaller --image-size."
        )
