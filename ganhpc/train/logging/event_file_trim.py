"""TensorBoard's event files: cut back to a checkpoint, so that no reader ever sees a step twice."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganhpc.core.files import atomic_open, is_regular

_Keep = Callable[[Any], bool]
"""True if an event (a protocol buffer `Event`) stays."""


@functools.cache
def named_plainly(folder: Path) -> str:
    """A name of the folder that TensorBoard can use: it encodes names as UTF-8, and takes what stands before :// for a protocol.

    The open folder, which this name goes by, is kept until the process ends, as the writer is.
    """
    name = str(folder)
    if "://" not in name and name.isprintable():
        return name
    folder.mkdir(exist_ok=True)
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}"


def cut(folder: Path, keep: _Keep) -> None:
    """Leave only the events in `folder` that `keep` wants, and no half record that a kill left at the end of a file.

    A marker for a restart (SummaryWriter's purge_step) alone would leave that to each reader: readers differ, they look at files in
    the order of their names, which tell the clock and the name of a machine, and a tag that comes back later keeps its old steps.
    Raises UserError where the folder can't be written.
    """
    # Of a fifo among them, TensorBoard's reader would wait for a writer.
    for path in sorted(path for path in folder.glob("events.out.tfevents.*") if is_regular(path)):
        kept = [(record, keep(event)) for record, event in _events(path)]
        if not any(good for _, good in kept):
            path.unlink()
        elif not all(good for _, good in kept) or path.stat().st_size != _size([record for record, _ in kept]):
            _write(path, [record for record, good in kept if good])


def _events(path: Path) -> list[tuple[bytes, Any]]:
    """(bytes, event) of each whole record; what comes after a broken one can't be found."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    found = []
    try:
        for record in RawEventFileLoader(f"{named_plainly(path.parent)}/{path.name}").Load():
            found.append((record, Event.FromString(record)))  # noqa: PERF401  # what was read before an error stays
    except Exception:  # A reader of damaged bytes may raise anything; the whole records before them are of use.
        return found
    return found


_FRAME = 16
"""Bytes around a record: its length and two checksums."""


def _size(records: list[bytes]) -> int:
    return sum(len(record) + _FRAME for record in records)


def _write(path: Path, records: list[bytes]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with atomic_open(path) as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
