"""A program's log: its head and its end, whole lines, cut where it is, and no file that cannot be one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.program import bounded_log
from tests.program.local_runs import made, segment

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


@pytest.mark.slow  # 3 s in all
def test_a_gigabyte_of_output_keeps_head_and_end(tmp_path: Path) -> None:
    script = "import sys\nprint('the first line')\nfor _ in range(256): sys.stdout.write(('x' * 1023 + '\\n') * 1024)\nprint('the last line')"
    run = made(tmp_path, "python", "-c", script)
    assert segment(run).returncode == 0
    text = run.log.read_text()
    assert len(text) < bounded_log.MOST_BYTES + 2**19
    assert "the first line" in text and "the last line" in text
    left_out = int(text.partition("\n[")[2].partition(" bytes")[0])
    assert left_out + len(text) == pytest.approx(256 * 2**20, rel=0.001)


@pytest.mark.parametrize("line", [b"\rstep", b"x"])
def test_a_log_without_line_breaks_keeps_head_and_end(tmp_path: Path, line: bytes) -> None:
    """As of a progress bar."""
    path = tmp_path / "log.txt"
    read, write = os.pipe()
    log = bounded_log.BoundedLog([read], path)
    log.start()
    with os.fdopen(write, "wb") as file:
        file.write(b"the head" + line * (3 * bounded_log.MOST_BYTES // len(line)) + b"the end")
    log.join(120)
    data = path.read_bytes()
    assert data.startswith(b"the head") and data.endswith(b"the end\n") and len(data) < bounded_log.MOST_BYTES
    os.close(read)


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    pipes = [os.pipe() for _ in range(2)]
    log = bounded_log.BoundedLog([read for read, _ in pipes], path, in_lines=True)
    log.start()
    for part in (b"half ", b"of a line", b"\n", b"\r10 %", b"\r20 %", b"the last"):
        for _, write in pipes:
            os.write(write, part)
            time.sleep(0.01)
    long = b"y" * (2 * bounded_log._LONGEST_LINE)
    os.write(pipes[0][1], long[: len(long) // 2])
    os.write(pipes[0][1], long[len(long) // 2 :])
    for _, write in pipes:
        os.close(write)
    log.join(60)
    text = path.read_bytes()
    assert text.count(b"half of a line\n") == 2 and text.count(b"y") == len(long)
    assert text.count(b"the last") == 2


@pytest.mark.parametrize("place", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/full")])
def test_a_program_runs_without_a_log_that_cannot_be_one(tmp_path: Path, place: Callable[[Path], object]) -> None:
    """A fifo, a folder or a link to a device in the log's place is neither waited for nor written; the program ends as it does."""
    path = tmp_path / "log.txt"
    place(path)
    read, write = os.pipe()
    log = bounded_log.BoundedLog([read], path)
    log.start()
    os.write(write, b"its words\n" * 1000)
    os.close(write)
    log.join(60)
    assert not log.is_alive()
    assert log.last_lines(1) == ["its words"]
    os.close(read)
