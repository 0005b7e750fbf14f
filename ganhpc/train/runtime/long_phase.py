"""Lines that show a long phase at work: the first after ten seconds, then after each doubling of its time, at least one a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_SECONDS = 10.0
_MOST_SECONDS = 60.0


@contextmanager
def shown_while_long(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, `say` now and then how long `what` takes so far; nothing where it is short."""
    over = threading.Event()
    begun = time.monotonic()

    def report() -> None:
        pause = FIRST_SECONDS
        while not over.wait(pause):
            seconds = time.monotonic() - begun
            say(f"{what}: {seconds:.0f} s so far")
            pause = min(seconds, _MOST_SECONDS)

    thread = threading.Thread(target=report, name="long phase", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
