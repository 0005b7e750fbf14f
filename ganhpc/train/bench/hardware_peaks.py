"""The two ceilings of a device: operations a second in a large matrix product, bytes a second in a large copy. Both measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ganhpc.core.statistics import Spread
from ganhpc.train.bench.timing import calls_for, in_turn, seconds_each
from ganhpc.train.flops.peak_flops import as_convolutions_compute

_SIDES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
"""Sides of the square matrices that are tried; the faster product counts."""

_COPIED = {"cpu": 64 * 2**20, "cuda": 1024 * 2**20}
"""Bytes of the tensor that is copied: more than the caches hold."""


@dataclass(frozen=True)
class Peaks:
    """Peaks of the device. `matmul`: floating-point operations a second; `bandwidth`: bytes read and written a second."""

    precision: str
    side: int
    matmul: Spread
    bandwidth: Spread

    def bound(self, ops: float, moved: float) -> tuple[float, str]:
        """(least seconds, by which ceiling) of work with `ops` operations that moves `moved` bytes: the larger of the two."""
        by_ops, by_bytes = ops / self.matmul.mean, moved / self.bandwidth.mean
        return (by_ops, "operations") if by_ops >= by_bytes else (by_bytes, "bytes")

    def to_json(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "matmul_side": self.side,
            "matmul_ops_per_second": self.matmul.to_json(),
            "bytes_per_second": self.bandwidth.to_json(),
        }


def synchronizer(device: torch.device) -> Callable[[], None] | None:
    """Function that waits for the queue of `device`, or None where it has none."""
    return torch.cuda.synchronize if device.type == "cuda" else None


def measure(device: torch.device, precision: str, *, repeats: int, seconds: float) -> Peaks:
    """The ceilings of `device` for arithmetic in `precision` (fp32 or bf16): `repeats` blocks of about `seconds` for each figure."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    synchronize = synchronizer(device)

    def rate(work: Callable[[], object], amount: float) -> Callable[[], float]:
        calls = calls_for(seconds, work, synchronize)
        return lambda: amount / seconds_each(work, calls, synchronize)

    with as_convolutions_compute():
        products = {side: rate(_product(side, device, dtype), 2 * side**3) for side in _SIDES[device.type]}
        found = in_turn({str(side): piece for side, piece in products.items()}, repeats, warmups=0)
        best = max(found, key=lambda side: sum(found[side]))
    (copied,) = in_turn({"copy": rate(_copy(device), 2 * _COPIED[device.type])}, repeats, warmups=0).values()
    return Peaks(precision, int(best), Spread.of(found[best]), Spread.of(copied))


def _product(side: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _copy(device: torch.device) -> Callable[[], object]:
    # One and not zero: untouched pages of zeros are read from one place.
    source = torch.ones(_COPIED[device.type] // 4, device=device)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)
