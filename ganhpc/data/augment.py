"""Augmentation of whole batches on the device: shift, mirror, cutout. Draws are given, so that a batch is a pure function of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLIPS = ("none", "random", "alternate")


def pad(images: Tensor, pixels: int) -> Tensor:
    """`images` uint8 [N, C, H, W] with their borders mirrored `pixels` wide, as [N, H + 2p, W + 2p, C], ready for `take`."""
    if pixels:
        # Padding of bytes is not there on every device; pieces keep the float copy small.
        pieces = [F.pad(piece.float(), [pixels] * 4, mode="reflect").to(torch.uint8) for piece in images.split(4096)]
        images = torch.cat(pieces)
    return images.permute(0, 2, 3, 1).contiguous()


def take(padded: Tensor, index: Tensor, rows: Tensor, columns: Tensor, mirror: Tensor, size: tuple[int, int]) -> Tensor:
    """The images `index` [B] cut to `size` (height, width), from `rows` and `columns` [B] of `padded` [N, h, w, C].

    `mirror` [B] says which are mirrored left to right. Returns uint8 [B, H, W, C]: one gather does it all.
    """
    height, width = size
    _, padded_height, padded_width, channels = padded.shape
    across = torch.arange(width, device=padded.device)
    columns = columns[:, None] + torch.where(mirror[:, None], width - 1 - across, across)
    rows = rows[:, None] + torch.arange(height, device=padded.device)
    flat = (index[:, None, None] * padded_height + rows[:, :, None]) * padded_width + columns[:, None, :]
    picked = padded.view(-1, channels).index_select(0, flat.view(-1))
    return picked.view(len(index), height, width, channels)


def cutout(images: Tensor, rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """`images` [B, C, H, W] with a square of `side` pixels set to 0 (the mean), its middle at `rows`, `columns` [B].

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """
    height, width = images.shape[2:]
    down = torch.arange(height, device=images.device) - rows[:, None]
    across = torch.arange(width, device=images.device) - columns[:, None]
    low = -(side // 2)
    inside = ((down >= low) & (down < low + side))[:, :, None] & ((across >= low) & (across < low + side))[:, None, :]
    return images.masked_fill(inside[:, None], 0.0)
