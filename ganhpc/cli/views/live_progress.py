"""Live view of a run that trains: the trainer's lines, and on a terminal a live bar under them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from ganhpc.core.files import Damaged, open_regular
from ganhpc.core.printable import printable
from ganhpc.core.units import format_duration, human_rate
from ganhpc.runs.figures import brief
from ganhpc.runs.run_files import Status
from ganhpc.runs.run_folder import Run

_MOST_BYTES = 2**20
"""Of a log, read at once; of more, the end is shown."""


class LogTail:
    """The whole lines that were added to a log since the last look."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset

    def lines(self) -> list[str]:
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:  # the middle of a program's log was cut out
                    self._offset = size
                if size - self._offset > _MOST_BYTES:  # no terminal keeps up with that
                    self._offset = size - _MOST_BYTES // 32
                file.seek(self._offset)
                data = file.read(_MOST_BYTES)
        except (OSError, Damaged):  # removed or replaced while the run goes on
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


class ProgressView:
    """Lines scroll by; on a terminal the state of the run stays below them."""

    def __init__(self, run: Run, console: Console) -> None:
        self._run, self._console = run, console
        self._live: Progress | None = None
        self._task: Any = None
        self._read_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self._live = Progress(*columns, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()
            self._task = self._live.add_task("starting ..", total=1.0)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, lines: list[str]) -> None:
        """Show new lines of the log, and what the status file says."""
        for line in lines:
            self._console.print(printable(line, 10_000), markup=False, highlight=False, soft_wrap=True)
        if self._live and time.monotonic() - self._read_at > 0.5:
            self._read_at = time.monotonic()
            status = self._run.status()
            if "step" in status:
                self._live.update(self._task, completed=_share(status), description=escape(_describe(status)))


def _share(status: Status) -> float:
    """Done share of the run's plan, in [0, 1]: by time where time bounds it, else by epochs."""
    if budget := status.get("budget_seconds"):
        return min(1.0, status.get("seconds", 0.0) / budget)
    planned = status.get("epochs_planned") or 0
    return min(1.0, status.get("epoch", 0.0) / planned) if planned else 0.0


def _describe(status: Status) -> str:
    """The state of a run in one line."""
    planned = status.get("epochs_planned")
    words = [f"epoch {status['epoch']:.2f}" + (f" of {planned:.1f}" if planned else "")] if "epoch" in status else []
    if budget := status.get("budget_seconds"):
        words.append(f"{format_duration(max(0, round(budget - status.get('seconds', 0.0))))} left")
    words += [f"{printable(name)} {value:.3g}" for name, value in status.get("rates", {}).items()]
    words += [f"{printable(name)} {value:.4g}" for name, value in status.get("figures", {}).items()]
    last = status.get("last", {})
    headline = status.get("headline", "")
    if headline in last:
        value = last[headline]
        words.append(f"{printable(headline.replace('_', ' '))} " + brief(headline, value))
    if status.get("images_per_second"):
        words.append(f"{human_rate(status['images_per_second'])} images/s")
    return " | ".join(words)
