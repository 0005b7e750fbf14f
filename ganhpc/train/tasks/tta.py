"""Test-time augmentation: scores averaged over variants of the same image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

PASSES = {"none": 1, "flip": 2, "shift": 6}
"""--tta -> passes of the network over each image."""


def scores(net: nn.Module, images: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """(the plain scores, the averaged ones), [B, classes] each, of `images` [B, C, H, W].

    flip: the mean with the mirrored image. shift: half of that, and a quarter each of the same for the image moved by one pixel down and
    right, and up and left, borders mirrored (cifar10-airbench, section 3.5: Jordan, 2024).
    """
    plain = net(images).float()
    if how == "none":
        return plain, plain
    still = (plain + net(images.flip(3)).float()) / 2
    if how == "flip":
        return plain, still
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    moved = [padded[:, :, place : place + height, place : place + width] for place in (0, 2)]
    around = sum((net(m).float() + net(m.flip(3)).float()) / 4 for m in moved)
    return plain, (still + around) / 2
