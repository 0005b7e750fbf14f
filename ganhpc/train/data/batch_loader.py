"""Batches from images that lie on the device as bytes, or are streamed to it. A batch depends on seed, epoch and step alone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import share_of_batch
from ganhpc.train.data import augment


@dataclass(frozen=True)
class _Draws:
    """Random draws of one epoch: the order of images [N], and for each place in that order its shift, mirroring and cutout [N]."""

    epoch: int
    order: Tensor
    rows: Tensor
    columns: Tensor
    mirror: Tensor
    cut_rows: Tensor
    cut_columns: Tensor


class BatchLoader:
    """Training batches [B, C, H, W], normalised and augmented, and the evaluation batches of the same images.

    `batch_size` counts the images of all ranks. Each rank gets its slice of the batch that one process would see, with the same
    augmentation, so that any number of ranks trains on the same images. Nothing is kept between calls but the draws of the
    present epoch, which depend on (seed, epoch) alone: a resumed run needs no saved state.

    Images that don't fit the device (`fits`) stay where they are, in memory or in the file that the cache maps into it, and go to the
    device batch by batch; the batches are the same.

    Args:
        images: uint8 [N, C, H, W]. labels: int64 [N], or None.
        mean, std: per channel, of images in [0, 1].
        flip: none, random, or alternate (half of the images are mirrored in even epochs, the other half in odd ones;
            cifar10-airbench, section 3.6).
        crop: largest shift in pixels, borders mirrored. cutout: side of the blank square in pixels.
        drop_last: leave out the last batch where it would be smaller.

    Raises:
        UserError: the batch can't be shared equally among the ranks.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None,
        *,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
        flip: str = "none",
        crop: int = 0,
        cutout: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ) -> None:
        share_of_batch(batch_size, world_size)
        if crop >= min(images.shape[2:]):
            raise UserError(
                f"--crop {crop} is too much for images of {images.shape[3]}x{images.shape[2]} pixels: type less."
            )
        assert flip in augment.FLIPS, flip
        self.device = torch.device(device)
        self.size = (int(images.shape[2]), int(images.shape[3]))
        self.flip, self.crop, self.cutout = flip, crop, cutout
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.resident = fits(images, self.device)
        self._images = augment.pad(images.to(self.device), crop) if self.resident else images
        self._labels = None if labels is None else labels.to(self.device)
        scale = 1 / (255 * torch.tensor(std, device=self.device, dtype=torch.float32))
        shift = -torch.tensor(mean, device=self.device, dtype=torch.float32) * 255 * scale
        # Repeated along a row of pixels: vector units idle on a last dimension of three channels (a fifth of the time on CPU).
        row = self.size[1] * images.shape[1]
        self._scale, self._shift = (t.expand(images.shape[1]).repeat(self.size[1]).view(row) for t in (scale, shift))
        self._draws: _Draws | None = None
        n = len(images)
        self.steps_per_epoch = n // batch_size if drop_last else math.ceil(n / batch_size)

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor | None]:
        """This rank's share of batch `step` of `epoch`: float [B, C, H, W] in channels-last order, labels [B] or None."""
        draws = self._of_epoch(epoch)
        whole = slice(step * self.batch_size, min((step + 1) * self.batch_size, len(self)))
        part = slice(*_share(whole.start, whole.stop, self.rank, self.world_size))
        index = draws.order[part]
        padded, place = self._images, index
        if not self.resident:
            padded, place = self._streamed(index), torch.arange(len(index), device=self.device)
        images = augment.take(padded, place, draws.rows[part], draws.columns[part], draws.mirror[part], self.size)
        batch = self._normalised(images)
        if self.cutout:
            batch = augment.cutout(batch, draws.cut_rows[part], draws.cut_columns[part], self.cutout)
        return batch, None if self._labels is None else self._labels[index]

    def evaluation_batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """This rank's share of all images in their order, normalised and not augmented: every image exactly once."""
        start, stop = _share(0, len(self), self.rank, self.world_size)
        step = max(1, self.batch_size // self.world_size)
        height, width = self.size
        for begin in range(start, stop, step):
            part = slice(begin, min(begin + step, stop))
            if self.resident:
                images = self._images[part, self.crop : self.crop + height, self.crop : self.crop + width]
            else:
                images = augment.pad(self._images[part].to(self.device), 0)
            yield self._normalised(images), None if self._labels is None else self._labels[part]

    def _streamed(self, index: Tensor) -> Tensor:
        """The images `index` [B], brought to the device and padded: uint8 [B, h, w, C]."""
        images = self._images[index.to(self._images.device)]
        if self.device.type == "cuda":
            images = images.pin_memory()
        return augment.pad(images.to(self.device, non_blocking=True), self.crop)

    def _normalised(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, C] -> float [B, C, H, W], channels last in memory."""
        rows = torch.addcmul(self._shift, images.flatten(2).float(), self._scale)
        return rows.view(images.shape).permute(0, 3, 1, 2)

    def _of_epoch(self, epoch: int) -> _Draws:
        if self._draws is None or self._draws.epoch != epoch:
            self._draws = self._draw(epoch)
        return self._draws

    def _draw(self, epoch: int) -> _Draws:
        """The order and the augmentation of `epoch`. Drawn on the CPU, whose generator gives the same numbers on all machines."""
        n, (height, width) = len(self), self.size
        generator = torch.Generator().manual_seed(_mixed(self.seed, epoch))
        order = torch.randperm(n, generator=generator)
        shifts = torch.randint(0, 2 * self.crop + 1, (2, n), generator=generator)
        cuts = torch.stack(
            [torch.randint(0, height, (n,), generator=generator), torch.randint(0, width, (n,), generator=generator)]
        )
        if self.flip == "alternate":
            first = torch.rand(n, generator=torch.Generator().manual_seed(_mixed(self.seed, -1))) < 0.5
            mirror = first[order] ^ bool(epoch % 2)
        else:
            mirror = torch.rand(n, generator=generator) < (0.5 if self.flip == "random" else 0.0)
        on_device = (t.to(self.device) for t in (order, shifts[0], shifts[1], mirror, cuts[0], cuts[1]))
        return _Draws(epoch, *on_device)


def fits(images: Tensor, device: torch.device) -> bool:
    """True if `images` may lie on `device` as a whole: half of what is free there holds them twice, as they are and ready for `take`."""
    needed = 2 * images.numel() * images.element_size()
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return needed <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _share(start: int, stop: int, rank: int, world_size: int) -> tuple[int, int]:
    """The part of [start, stop) that belongs to `rank`; the parts differ in length by at most one."""
    n = stop - start
    return start + n * rank // world_size, start + n * (rank + 1) // world_size


def _mixed(seed: int, epoch: int) -> int:
    """One seed out of two, far apart for neighbours (the finaliser of SplitMix64; Steele et al., 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + (epoch + 2) * 0xD1B54A32D192ED03) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return (x ^ (x >> 31)) % 2**63
