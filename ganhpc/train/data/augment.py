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


def affine(images: Tensor, angles: Tensor, scales: Tensor) -> Tensor:
    """`images` [B, C, H, W] turned by `angles` [B] (radians, anticlockwise) and enlarged by `scales` [B] about their middles.

    Bilinear; what lies outside of an image is its mirror image.
    """
    cosine, sine = angles.cos() / scales, angles.sin() / scales
    # Where each pixel of the result comes from: rows down, in units of half an image, so that sides of any length turn alike.
    ratio = images.shape[2] / images.shape[3]
    nothing = torch.zeros_like(cosine)
    rows = [torch.stack([cosine, -sine * ratio, nothing], 1), torch.stack([sine / ratio, cosine, nothing], 1)]
    places = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)


_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""RGB to brightness and two axes of colour (NTSC)."""


def hue(images: Tensor, angles: Tensor) -> Tensor:
    """`images` [B, 3, H, W] in [-1, 1] with their colours turned by `angles` [B] (radians) about the axis of greys, at the same
    brightness; what falls outside of [-1, 1] is cut off."""
    to_yiq = torch.tensor(_YIQ, device=images.device, dtype=images.dtype)
    cosine, sine = angles.cos(), angles.sin()
    one, nothing = torch.ones_like(cosine), torch.zeros_like(cosine)
    rows = ((one, nothing, nothing), (nothing, cosine, -sine), (nothing, sine, cosine))
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq  # [B, 3, 3]
    return torch.einsum("bij,bjhw->bihw", matrix, images).clamp(-1, 1)
