"""The log of a program: its output is copied into the run's log, whose middle is cut out where it grows large; head and end stay."""

from __future__ import annotations

import collections
import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import Damaged, open_to_write
from ganhpc.core.printable import printable_lines

_HEAD_BYTES = 256 * 2**10
_TAIL_BYTES = 2**20
MOST_BYTES = 4 * 2**20
"""The log is cut where it is longer."""
_CUT = re.compile(rb"\n\[(\d+) bytes are left out here\]\n")
_KEPT_BYTES = 16 * 2**10
"""Of its end, kept in memory: a full disk takes no log."""


class BoundedLog(threading.Thread):
    """Copies what comes out of a pipe into a log until the pipe's other end is closed. It never holds the program up for a full disk."""

    def __init__(self, source: int, path: Path) -> None:
        super().__init__(name="log of the program", daemon=True)
        self._source, self._path = source, path
        self._end: collections.deque[bytes] = collections.deque()
        self._kept = 0
        self.error: OSError | None = None
        """The last error of the file system."""

    def run(self) -> None:
        log: IO[bytes] | None = None
        while part := self._read():
            self._keep(part)
            try:
                log = log or open_to_write(self._path, append=True)
                _write_all(log.fileno(), part)
                if os.fstat(log.fileno()).st_size > MOST_BYTES:
                    _cut(self._path)
            except OSError as error:
                self.error = error
            except StorageFault as fault:
                self.error = OSError(fault.number, str(fault))
            except Damaged:  # something else lies there: the program runs without a log
                pass
        if log:
            log.close()

    def _read(self) -> bytes:
        try:
            return os.read(self._source, 2**18)
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


def _cut(path: Path) -> None:
    """Take the middle out of the log, in the same file, since others append to it. What was taken out before is counted with it."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(handle).st_size
        head = os.pread(handle, _HEAD_BYTES + 100, 0)
        before = _CUT.search(head)
        end = before.start() if before else max(head.rfind(b"\n", 0, _HEAD_BYTES), 0)
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
