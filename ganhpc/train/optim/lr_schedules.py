"""Learning-rate schedules: a factor of the highest rate as a function of progress in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable


def steps(progress: float) -> float:
    """The course's three levels: 1, 0.1 and 0.01 for 50 %, 25 % and 25 % of the run."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def make(kind: str, warmup: float = 0.0, last: float = 0.0) -> Callable[[float], float]:
    """The schedule `kind`, after a linear rise over the first share `warmup` of the run; linear and cosine fall to `last`."""

    def fall(progress: float) -> float:
        rest = (progress - warmup) / (1.0 - warmup)
        if kind == "linear":
            return 1.0 - rest * (1.0 - last)
        if kind == "cosine":
            return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * rest))
        return steps(progress) if kind == "steps" else 1.0

    def factor(progress: float) -> float:
        # A rate of exactly zero would waste the first step of the rise.
        return max(progress / warmup, 1e-3) if progress < warmup else fall(min(progress, 1.0))

    return factor
