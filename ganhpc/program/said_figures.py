"""Figures that a program has said as JSON lines in a file."""

from __future__ import annotations

import codecs
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import Damaged, open_regular, open_to_write, parse_json
from ganhpc.core.printable import printable
from ganhpc.core.streams import print_line
from ganhpc.runs import figures
from ganhpc.runs.run_files import is_number

_MOST_POINTS = 2000
"""Points of the curve that are kept; of more, every second one."""
_PART_BYTES = 2**19
"""Bytes of the file that are read at once."""
_MOST_NAMES = 100
_LONGEST_LINE = 2**16


def end_last_line(path: Path) -> int:
    """Give the last line in the file of figures its line break, for which a program that was killed had no time: the next line stands alone.

    Returns the bytes that the file has. Raises Damaged where something else than a file is there.
    """
    size = 0
    with suppress(FileNotFoundError):
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - 1))
            last = file.read(1)
        if last not in (b"", b"\n"):
            with suppress(StorageFault), open_to_write(path, append=True) as log:
                size += log.write(b"\n")
    return size


class Steps:
    """The steps of a program's figures, each after the one before also where its counter begins anew, as for each epoch."""

    def __init__(self) -> None:
        self._before = 0.0
        """The steps of the counters before this one."""
        self._first: float | None = None
        """The step with which the counter began in this segment."""
        self._first_of_last: float | None = None
        """That of the segment before, where it had saved at its end: what follows would go on behind it."""
        self._last, self._between, self._epoch = -math.inf, 1.0, -math.inf
        self._said: dict[str, float] = {}
        """The last step at which each figure was said."""

    def begin_segment(self, *, saved: bool) -> None:
        """The lines from here on are of another segment: what it says again was lost with the one before."""
        self._first, self._first_of_last = None, self._first if saved else None

    def placed(self, point: dict[str, float]) -> tuple[dict[str, float], bool]:
        """(the point with its step among all, True if it says again what was said of that step or a later one)."""
        if (said := point.get("step")) is None:
            return point, False
        names = without_step(point)
        again = any(self._said.get(name, -math.inf) > said + self._before for name in names)
        if again and self._begins_anew(said, point.get("epoch")):
            self._before = self._last + (0.0 if said > 0 else self._between - said)
            self._first, again = said, False
        self._first = said if self._first is None else self._first
        step = said + self._before
        if again:
            self._said = {name: at for name, at in self._said.items() if at < step}
        room = len(self._said) < 2 * _MOST_NAMES
        self._said |= {name: step for name in names if room or name in self._said}
        if step > self._last > -math.inf:
            self._between = step - self._last
        self._last = step if again else max(step, self._last)
        self._epoch = point.get("epoch", self._epoch)
        return {**point, "step": step}, again

    def _begins_anew(self, said: float, epoch: float | None) -> bool:
        """True if the counter has begun anew: in a later epoch, or at its first step; else the program has gone back to an earlier state."""
        if epoch is not None and math.isfinite(self._epoch):
            return epoch > self._epoch
        first = self._first if self._first is not None else self._first_of_last
        return said <= first if first is not None else self._before > 0


class SaidFigures:
    """The figures in a file of JSON lines, read as they come."""

    def __init__(self, path: Path, begins: dict[int, bool] | None = None) -> None:
        """`begins`: the bytes that the file had when each segment began, with whether the one before had saved at its end."""
        self._path, self._offset, self._every, self._seen = path, 0, 1, 0
        self.begins = begins or {}
        self._steps = Steps()
        self.curve: list[dict[str, float]] = []
        """Points in the order of their steps: what was said again after a resumption counts, not what was said before."""
        self.last: dict[str, float] = {}
        """The newest value of each figure."""

    def read(self, *, ended: bool = False, seconds: float = math.inf) -> None:
        """Take in the whole lines that were added, and once the program has `ended` a last one without a line break too. A damaged line, or a
        file that is none, says nothing.

        `seconds`: the time for it, so that a program which says more than can be read delays no signal. What is left is read next time; of one
        that has `ended`, the end alone.
        """
        until = time.monotonic() + seconds
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:  # the program has begun its file anew
                    self._offset = 0
                    self._steps.begin_segment(saved=False)
                while self._offset < size and self._read_part(file, size, ended=ended):
                    if time.monotonic() > until:
                        if not ended:
                            return
                        self._skip(file, size)
                        until = math.inf
        except (OSError, Damaged):
            return

    def _read_part(self, file: IO[bytes], size: int, *, ended: bool) -> bool:
        """Take in the next lines of a file of `size` bytes; False where its last line is not whole yet."""
        file.seek(self._offset)
        data = file.read(min(_PART_BYTES, size - self._offset))
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) < _PART_BYTES:
            if ended:
                self._take(data, self._offset)
                self._offset += len(data)
            return False
        at = self._offset
        self._offset += len(whole) or len(data)
        for line in whole.splitlines(keepends=True):
            self._take(line, at)
            at += len(line)
        return True

    def _skip(self, file: IO[bytes], size: int) -> None:
        """Go to the first whole line of the file's last part."""
        last = size - _PART_BYTES
        if last <= self._offset:
            return
        file.seek(last)
        file.readline(_PART_BYTES)
        print_line(
            f"warning: {file.tell() - self._offset:,} bytes of figures were not read: more than there was time for; the last ones count"
        )
        self._offset = file.tell()

    def _take(self, line: bytes, at: int) -> None:
        """Take in the line that begins behind `at` bytes of the file."""
        if at in self.begins:
            self._steps.begin_segment(saved=self.begins[at])
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
        point, again = self._steps.placed(point)
        self.last |= point if len(self.last) < 2 * _MOST_NAMES else {k: v for k, v in point.items() if k in self.last}
        step = point.get("step")
        self._seen += 1
        if step is None:
            self.curve.append(point)
        else:
            self._put(step, point, again=again)
        if len(self.curve) > _MOST_POINTS:
            self.curve, self._every = self.curve[::2], self._every * 2

    def _put(self, step: float, point: dict[str, float], *, again: bool) -> None:
        """Add a point at its step; one that is said `again` replaces all points from this step on."""
        place = len(self.curve)
        while place and self.curve[place - 1].get("step", -1.0) >= step:
            place -= 1
        if place < len(self.curve) and self.curve[place].get("step") == step:
            point = {**self.curve[place], **point}
            self.curve[place] = point
        elif self._seen % self._every == 0 or step < 2 or again:
            self.curve.insert(place, point)
        if again:
            del self.curve[place + 1 :]

    def headline(self, typed: str | None) -> str:
        """The figure that the program is judged by: as typed, else the first one of the catalogue that it has; empty where there is none."""
        return typed or next((f.key for f in figures.judges() if f.key in self.last), "")

    def warn_of_missing(self, typed: str | None) -> None:
        """Print a warning where the headline that is asked for is none of the program's figures: tables have nothing to show then."""
        if not typed or typed in self.last:
            return
        known = list(without_step(self.last))
        others = f"it has {', '.join(printable(name, 80) for name in known[:10])}" if known else "it has said none"
        print_line(
            f"warning: the headline {printable(typed)} is no figure of the program: {others}; --headline names one of them"
        )


def without_step(point: dict[str, float]) -> dict[str, Any]:
    """The figures of a point alone."""
    return {name: value for name, value in point.items() if name not in ("step", "epoch", "time")}
