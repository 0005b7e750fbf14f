"""Figures that a program has said as JSON lines in a file."""

from __future__ import annotations

import codecs
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import Damaged, open_regular, open_to_write, parse_json
from ganhpc.core.printable import printable
from ganhpc.runs import figures
from ganhpc.runs.run_files import is_number

_MOST_POINTS = 2000
"""Points of the curve that are kept; of more, every second one."""
_MOST_BYTES = 8 * 2**20
_MOST_NAMES = 100
_LONGEST_LINE = 2**16


def end_last_line(path: Path) -> None:
    """Give the last line in the file of figures its line break, for which a program that was killed had no time: the next line stands alone.

    Raises Damaged where something else than a file is there.
    """
    with suppress(FileNotFoundError):
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - 1))
            last = file.read(1)
        if last not in (b"", b"\n"):
            with suppress(StorageFault), open_to_write(path, append=True) as log:
                log.write(b"\n")


class SaidFigures:
    """The figures in a file of JSON lines, read as they come."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._every, self._seen = path, 0, 1, 0
        self.curve: list[dict[str, float]] = []
        """Points in the order of their steps: what was said again after a resumption counts, not what was said before."""
        self.last: dict[str, float] = {}
        """The newest value of each figure."""

    def read(self, *, ended: bool = False) -> None:
        """Take in the whole lines that were added, and once the program has `ended` a last one without a line break too. A damaged line, or a
        file that is none, says nothing."""
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                self._offset = self._offset if size >= self._offset else 0
                while self._offset < size:
                    file.seek(self._offset)
                    data = file.read(_MOST_BYTES)
                    whole = data[: data.rfind(b"\n") + 1]
                    if not whole and len(data) < _MOST_BYTES:
                        if ended:
                            self._offset += len(data)
                            self._take(data)
                        return
                    self._offset += len(whole) or len(data)
                    for line in whole.splitlines():
                        self._take(line)
        except (OSError, Damaged):
            return

    def _take(self, line: bytes) -> None:
        if len(line) > _LONGEST_LINE:
            return
        try:
            tree = parse_json(line.removeprefix(codecs.BOM_UTF8))
        except ValueError:
            return
        point = {str(k)[:100]: float(v) for k, v in tree.items() if is_number(v)} if isinstance(tree, dict) else {}
        self.add(dict(list(point.items())[:_MOST_NAMES]))

    def add(self, point: dict[str, float]) -> None:
        """Add one point; its names are those of `last` from now on."""
        if not point:
            return
        self.last |= point if len(self.last) < 2 * _MOST_NAMES else {k: v for k, v in point.items() if k in self.last}
        step = point.get("step")
        while step is not None and self.curve and self.curve[-1].get("step", -1.0) >= step:
            before = self.curve.pop()
            if before.get("step") == step:
                point = {**before, **point}
        self._seen += 1
        if self._seen % self._every == 0 or step is None or step < 2:
            self.curve.append(point)
        if len(self.curve) > _MOST_POINTS:
            self.curve, self._every = self.curve[::2], self._every * 2

    def headline(self, typed: str | None) -> str:
        """The figure that the program is judged by: as typed, else the first one of the catalogue that it has; empty where there is none."""
        return typed or next((f.key for f in figures.judges() if f.key in self.last), "")

    def warn_of_missing(self, typed: str | None) -> None:
        """Print a warning where the headline that is asked for is none of the program's figures: tables have nothing to show then."""
        if not typed or typed in self.last:
            return
        known = list(without_step(self.last))
        others = f"it has {', '.join(printable(name, 80) for name in known[:10])}" if known else "it has said none"
        print(
            f"warning: the headline {printable(typed)} is no figure of the program: {others}; --headline names one of them",
            flush=True,
        )


def without_step(point: dict[str, float]) -> dict[str, Any]:
    """The figures of a point alone."""
    return {name: value for name, value in point.items() if name not in ("step", "epoch", "time")}
