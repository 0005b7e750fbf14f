"""The random numbers of one training step, as a function of the seed and the step alone."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from ganhpc.train.runtime.distributed import Distributed


def generator_of(*words: object) -> torch.Generator:
    """A generator on the CPU whose seed is a hash of `words`. Its numbers are the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class StepRandom:
    """Numbers for the batch of `step`, drawn for all ranks together, of which each takes its own share.

    So any number of ranks trains on the same numbers, and a resumed run needs no saved state.
    """

    def __init__(self, seed: int, step: int, batch_size: int, process_group: Distributed) -> None:
        self._generator = generator_of("step", seed, step)
        self._batch_size, self._peers = batch_size, process_group

    def normal(self, dim: int) -> Tensor:
        """N(0, 1), [B, dim] on the device, B being this rank's share."""
        return self._share(torch.randn(self._batch_size, dim, generator=self._generator))

    def uniform(self) -> Tensor:
        """U(0, 1), one for each image of this rank: [B]."""
        return self._share(torch.rand(self._batch_size, generator=self._generator))

    def one(self, low: float, high: float) -> Tensor:
        """U(low, high), one for the whole batch and the same on every rank: []."""
        value = low + (high - low) * torch.rand((), generator=self._generator)
        return value.to(self._peers.device, non_blocking=True)

    def _share(self, values: Tensor) -> Tensor:
        each = self._batch_size // self._peers.world_size
        return values[self._peers.rank * each :][:each].to(self._peers.device, non_blocking=True)
