"""Tensors of images to files: grids as PNG, animations as GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganhpc.core.files import atomic_open

_GAP = 2
"""Black pixels between the pictures of a grid."""


def unit(images: Tensor) -> Tensor:
    """Images as networks make them, in [-1, 1], brought to [0, 1]; what lies outside is cut off."""
    return (images.detach().float().clamp(-1, 1) + 1) / 2


def grid(images: Tensor, columns: int) -> Image.Image:
    """`images` float [N, C, H, W] in [0, 1], C of 1 or 3, side by side, `columns` in a row; each value to the nearest of 0..255."""
    n, _, height, width = images.shape
    rows = -(-n // columns)
    sheet = torch.zeros(3, rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, dtype=torch.uint8)
    levels = (images.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).expand(n, 3, height, width)
    for index, picture in enumerate(levels):
        top, left = (
            _GAP + place * (side + _GAP) for place, side in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[:, top : top + height, left : left + width] = picture
    return Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy())


def plain(image: Tensor) -> Image.Image:
    """`image` float [C, H, W] in [0, 1] by itself."""
    return grid(image[None], 1).crop((_GAP, _GAP, _GAP + image.shape[2], _GAP + image.shape[1]))


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG in one step. Raises UserError where the disk is full."""
    # Through memory: Pillow's own writing to a file loses the reason of an error.
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    with atomic_open(path, durable=False) as file:
        file.write(buffer.getbuffer())


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int = 150) -> None:
    """Write a GIF that repeats, each frame shown for `milliseconds`."""
    first, *others = frames
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    with atomic_open(path, durable=False) as file:
        file.write(buffer.getbuffer())
