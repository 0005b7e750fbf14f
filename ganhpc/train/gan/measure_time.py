"""Time for measures of trained networks: those that would not be ready before the end of the job are left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from ganhpc.core.errors import UserError

T = TypeVar("T")


class TooSlow(Exception):
    """There is not enough time for the measure."""


def check(end: float) -> None:
    """Raise TooSlow from the moment `end` on, by time.monotonic."""
    if time.monotonic() > end:
        raise TooSlow


def in_time(parts: Sequence[T], end: float, cost: float = 1.0) -> Iterator[T]:
    """`parts` one after another. Raises TooSlow as soon as `cost` times the work on all of them would not be ready by `end`."""
    begun = time.monotonic()
    for done, part in enumerate(parts, 1):
        yield part
        if begun + cost * (time.monotonic() - begun) / done * len(parts) > end:
            raise TooSlow


@contextmanager
def left_out(say: Callable[[str], None], what: str = "measures") -> Iterator[None]:
    """A block that makes measures: where it is too slow, or lacks a package, `say` so, and go on without them."""
    try:
        yield
    except TooSlow:
        say(f"warning: {what} are left out: the job ends before they would be ready")
    except UserError as error:
        say(f"warning: measures are left out: {error}")
