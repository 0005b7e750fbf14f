"""Waiting for a condition, for tests of processes that take as long as the machine lets them."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(happened: Callable[[], object], seconds: float = 120.0) -> None:
    """Return once the condition is true; fail after `seconds`."""
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.02)
