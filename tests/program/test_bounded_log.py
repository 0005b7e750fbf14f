"""The log of a program is cut where it is, whatever has taken its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.program import bounded_log

LINE = b"x" * 99 + b"\n"


PLACES: dict[str, Callable[[Path, Path], object]] = {
    "link": Path.symlink_to,
    "another name": Path.hardlink_to,
    "nothing": lambda *_: None,
    "folder": lambda *paths: paths[0].mkdir(),
    "fifo": lambda *paths: os.mkfifo(paths[0]),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_other_file_loses_its_middle(tmp_path: Path, place: str) -> None:
    """The log is moved away while the program prints, and its path leads to a file of the user's."""
    path, moved, other = tmp_path / "log.txt", tmp_path / "moved.txt", tmp_path / "thesis.txt"
    other.write_bytes(LINE * (bounded_log.MOST_BYTES // 50))
    before = other.read_bytes()
    read, write = os.pipe()
    log = bounded_log.BoundedLog([read], path)
    log._write(b"the head\n")
    path.rename(moved)
    PLACES[place](path, other)
    log._write(LINE * (2 * bounded_log.MOST_BYTES // len(LINE)))
    log._write(b"the end\n")
    os.close(read)
    os.close(write)
    assert other.read_bytes() == before and log.error is None
    data = moved.read_bytes()
    assert data.startswith(b"the head\n") and data.endswith(b"the end\n") and len(data) < bounded_log.MOST_BYTES
