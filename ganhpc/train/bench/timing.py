"""Timing of everything here: pieces of work in turn, many calls between two looks at the clock, mean and standard deviation."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from ganhpc.core.statistics import Spread

_Key = TypeVar("_Key", bound=Hashable)


def in_turn(pieces: Mapping[_Key, Callable[[], float]], repeats: int, warmups: int = 1) -> dict[_Key, list[float]]:
    """Values that each piece returned, in `repeats` rounds that call every piece once; `warmups` rounds before them don't count.

    In turn, so that whatever else the machine does meets all of them alike: the ratio of two pieces is best taken round by round.
    """
    found: dict[_Key, list[float]] = {name: [] for name in pieces}
    for number in range(warmups + repeats):
        for name, piece in pieces.items():
            value = piece()
            if number >= warmups:
                found[name].append(value)
    return found


def seconds_each(work: Callable[[], object], calls: int, synchronize: Callable[[], None] | None = None) -> float:
    """Mean seconds of one of `calls` calls of `work`. A device's queue is waited for (`synchronize`) before and after, not between."""
    if synchronize:
        synchronize()
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    if synchronize:
        synchronize()
    return (time.perf_counter() - begun) / calls


def calls_for(seconds: float, work: Callable[[], object], synchronize: Callable[[], None] | None = None) -> int:
    """Number of calls of `work` that take about `seconds`, at least one. Makes a few of them, which warm it up too."""
    work()
    each = seconds_each(work, 1, synchronize)
    if each < seconds / 20:
        each = seconds_each(work, 5, synchronize)
    return max(1, round(seconds / max(each, 1e-9)))


def ratios(above: Iterable[float], below: Iterable[float]) -> Spread:
    """The quotients of two pieces' values, round by round."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])
