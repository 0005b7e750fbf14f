"""Progress of a fetch: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_EVERY = 30.0
"""Seconds between two plain lines."""


class _Fetching:
    """Progress of one fetch. `report` may be called as often as one likes."""

    def __init__(self, console: Console, what: str, bar: tuple[Progress, TaskID] | None) -> None:
        self._console, self._what, self._bar = console, what, bar
        self._start = self._said = time.monotonic()

    def report(self, done: int | None = None, total: int | None = None) -> None:
        """`done` bytes of `total`; None where that isn't known."""
        if self._bar:
            progress, task = self._bar
            progress.update(task, completed=done or 0, total=total)
        elif (now := time.monotonic()) - self._said >= _EVERY:
            self._said = now
            amount = f"{done / 1e6:.0f} MB" if done else "working"
            share = f" of {total / 1e6:.0f} MB" if done and total else ""
            say(self._console, f"{self._what}: {amount}{share}, {now - self._start:.0f} s so far")


@contextmanager
def fetching(console: Console, what: str, *, measured: bool = True) -> Iterator[_Fetching]:
    """Show that `what` is under way, until the block ends; `measured` False where nobody can say how many bytes have come."""
    if not console.is_terminal:
        say(console, what)
        yield _Fetching(console, what, None)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    amount = (DownloadColumn(), TransferSpeedColumn()) if measured else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Fetching(console, what, (progress, progress.add_task(what, total=None)))


def say(console: Console, text: str) -> None:
    """One plain line."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
