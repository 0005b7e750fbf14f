"""Peak of the device: the fastest of a few large matrix products, in the arithmetic of the training step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ganhpc.train.flops.counters import undisturbed

_SECONDS = {"cpu": 0.08, "cuda": 0.15}
"""The measure takes about so long, first calls left out."""
_FIRST_SIDE = {"cpu": 384, "cuda": 1024}
_LARGEST_SIDE = 8192
_LONG_ENOUGH = 0.001
"""Matrices grow until their product takes so many seconds: smaller ones leave units of a large device idle."""


def peak(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Operations a second of the fastest product of two square matrices [side, side] on `device`, a multiplication and its addition
    being two.

    A device does less in anything else, so this is what a training's own rate is held against; the rate on the data sheet is higher
    still. The machine may be busy with other work, or clock down: the fastest try suffers least from both.
    """
    side, begun = _FIRST_SIDE[device.type], time.perf_counter()
    with undisturbed(), torch.no_grad(), as_convolutions_compute():
        while True:
            pair = _matrices(side, device, dtype)
            took = [_seconds(*pair)]
            if took[0] < _SECONDS[device.type]:  # the first call of a size also chooses and loads a kernel
                took = [min(took[0], _seconds(*pair))]
            if took[0] >= _LONG_ENOUGH or side >= _LARGEST_SIDE:
                break
            side *= 2
        while time.perf_counter() - begun < _SECONDS[device.type]:
            took.append(_seconds(*pair))
    return {
        "gflops_per_second": 2 * side**3 / min(took) / 1e9,
        "side": side,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "tries": 1 + len(took),
        "spread": spread(took),
    }


def spread(seconds: Sequence[float]) -> float:
    """Ratio of the slow tries to the fastest one: the slowest but one in ten, so that a single hiccup is none."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)] / ordered[0]


def _matrices(side: int, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return a, b


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    begun = time.perf_counter()
    torch.mm(a, b)
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - begun


@contextmanager
def as_convolutions_compute() -> Iterator[None]:
    """Matrix products in TF32 where convolutions may use it: a peak in slower arithmetic would flatter the training, and a ceiling be
    lower than what it bounds."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
