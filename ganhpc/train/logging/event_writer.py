"""TensorBoard's event file, written by the process's own main thread: an error of the file system costs a warning, not the run.

SummaryWriter's own writer is a thread: an error ends it with a traceback, and later calls fail or wait for ever.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

_FLUSH_SECONDS = 10.0
_MOST_WAITING = 32 * 2**20
"""Bytes that wait in memory for a file system that fails; what comes on top of them is lost."""
_numbers = count()


class _EventFile:
    """One event file. What can't be written stays in memory and is tried again; a record is never left half-written behind others."""

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        # Files are read in the order of their names: of the same second, a tenth one comes behind a ninth.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers):06d}"
        self._folder, self._path, self._say = folder, Path(folder) / name, say
        self._waiting = io.BytesIO()
        self._records = RecordWriter(self._waiting)
        self._good = 0
        self._flushed_at = time.monotonic()
        self._warned = False
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Any) -> None:
        if self._waiting.tell() < _MOST_WAITING:
            self._records.write(event.SerializeToString())
        if time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring into the file what waits."""
        self._flushed_at = time.monotonic()
        data = self._waiting.getvalue()
        if not data:
            return
        try:
            self._append(data)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._say(
                    f"warning: TensorBoard's curves wait: {self._path} can't be written ({error.strerror}). The training goes on."
                )
            return
        self._good += len(data)
        self._waiting.seek(0)
        self._waiting.truncate()

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            rest, place = memoryview(data), self._good
            while rest:
                written = os.pwrite(handle, rest, place)
                rest, place = rest[written:], place + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, self._good)
            raise
        finally:
            os.close(handle)

    def reopen(self) -> None:
        """Nothing is ever closed."""

    def close(self) -> None:
        self.flush()


class Summaries(SummaryWriter):
    """SummaryWriter on an EventFile."""

    def __init__(self, folder: str, purge_step: int | None, say: Callable[[str], None]) -> None:
        self._say = say
        self._mine: _Writer | None = None
        super().__init__(folder, purge_step=purge_step)

    def _get_file_writer(self) -> Any:
        if self._mine is None:
            self._mine = _Writer(_EventFile(str(self.log_dir), self._say))
            self.file_writer: Any = self._mine
            self.all_writers: Any = {self._mine.get_logdir(): self._mine}
            if self.purge_step is not None:
                # For a TensorBoard that is open and has read what was cut off.
                log = SessionLog(status=SessionLog.START)
                self._mine.event_writer.add_event(Event(wall_time=time.time(), step=self.purge_step, session_log=log))
        return self._mine


class _Writer(FileWriter):
    def __init__(self, file: _EventFile) -> None:
        self.event_writer = file
