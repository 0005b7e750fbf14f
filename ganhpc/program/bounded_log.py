"""The log of a program: the output of its processes is copied into the run's log, whose middle is cut out where it grows large; head and end stay."""

from __future__ import annotations

import collections
import os
import re
import select
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import Damaged, handle_path, open_to_write
from ganhpc.core.printable import printable_lines

_HEAD_BYTES = 256 * 2**10
_TAIL_BYTES = 2**20
MOST_BYTES = 4 * 2**20
"""The log is cut where it is longer."""
_CUT = re.compile(rb"\n\[(\d+) bytes are left out here\]\n")
_PART_BYTES = 2**18
_LONGEST_LINE = 2**16
"""Bytes of a line that is waited for where several processes write."""
_KEPT_BYTES = 16 * 2**10
"""Of its end, kept in memory: a full disk takes no log."""


class BoundedLog(threading.Thread):
    """Copies what comes out of pipes into a log until their other ends are closed. It never holds the program up for a full disk.

    The output of one process is copied as it comes. Of several, each with a pipe, whole lines are.
    """

    def __init__(self, sources: Sequence[int], path: Path, *, in_lines: bool = False) -> None:
        super().__init__(name="log of the program", daemon=True)
        self._path = path
        self._begun = dict.fromkeys(sources, b"")
        """The pipes that are open, each with the line that it has begun."""
        self._in_lines = in_lines
        self._end: collections.deque[bytes] = collections.deque()
        self._kept = 0
        self._log: IO[bytes] | None = None
        self.error: OSError | None = None
        """The last error of the file system."""

    def run(self) -> None:
        while self._begun:
            for source in self._ready():
                self._take(source)
        if self._end and not self._end[-1].endswith(b"\n"):  # what is said behind it begins a line
            self._write(b"\n")
        if self._log:
            self._log.close()

    def _ready(self) -> list[int]:
        """The pipes that have something to read. A program may have opened more files than `select` knows."""
        waiting = select.poll()
        for source in self._begun:
            waiting.register(source, select.POLLIN)
        return [source for source, _ in waiting.poll()]

    def _take(self, source: int) -> None:
        """Copy what one pipe has, or end with it. A line longer than a part that is read is no line."""
        part, begun = self._read(source), self._begun[source]
        if not part:
            del self._begun[source]
            if begun:
                self._write(begun + b"\n")
            return
        whole = max(part.rfind(b"\n"), part.rfind(b"\r")) + 1
        if not self._in_lines or len(begun) + len(part) > _LONGEST_LINE:
            whole = len(part)
        if whole:
            self._write(begun + part[:whole])
            begun = b""
        self._begun[source] = begun + part[whole:]

    def _write(self, data: bytes) -> None:
        self._keep(data)
        try:
            self._log = self._log or open_to_write(self._path, append=True)
            _write_all(self._log.fileno(), data)
            if os.fstat(self._log.fileno()).st_size > MOST_BYTES:
                _cut(self._log)
        except OSError as error:
            self.error = error
        except StorageFault as fault:
            self.error = OSError(fault.number, str(fault))
        except Damaged:  # something else lies there: the program runs without a log
            pass

    @staticmethod
    def _read(source: int) -> bytes:
        try:
            return os.read(source, _PART_BYTES)
        except OSError:
            return b""

    def _keep(self, part: bytes) -> None:
        self._end.append(part[-_KEPT_BYTES:])
        self._kept += len(self._end[-1])
        while len(self._end) > 1 and self._kept - len(self._end[0]) >= _KEPT_BYTES:
            self._kept -= len(self._end.popleft())

    def last_lines(self, most: int) -> list[str]:
        """The last lines that were written, those without words left out."""
        text = b"".join(self._end).decode(errors="replace")
        return [line.rstrip() for line in printable_lines(text) if line.strip()][-most:]


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _cut(log: IO[bytes]) -> None:
    """Take the middle out of the log, in the same file, since others append to it. What was taken out before is counted with it."""
    # By its handle: its path may be another file's by now, behind a link for one, which would lose its middle.
    handle = os.open(handle_path(log), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(handle).st_size
        head = os.pread(handle, _HEAD_BYTES + 100, 0)
        before = _CUT.search(head)
        # A progress bar, or a gigabyte in one line, has no line break to cut at.
        line_break = head.rfind(b"\n", 0, _HEAD_BYTES)
        end = before.start() if before else line_break if line_break > 0 else _HEAD_BYTES
        tail = os.pread(handle, _TAIL_BYTES, max(size - _TAIL_BYTES, end))
        tail = tail[tail.find(b"\n") + 1 :]
        left_out = size - end - len(tail)
        if before:
            left_out += int(before[1]) - len(before[0])
        new = b"\n[%d bytes are left out here]\n" % left_out + tail
        os.ftruncate(handle, end)  # the space is free again before the end is written: a full disk has room for it
        with suppress(OSError):
            os.pwrite(handle, new, end)
    finally:
        os.close(handle)
