"""The pipe for last words: heard by whoever made it, and by nobody else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ganhpc.core.streams import pipe_address
from ganhpc.program import worker
from ganhpc.runs import last_words
from ganhpc.runs.run_folder import State


def test_what_another_process_has_open_under_the_number_of_a_dead_one_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener has died, and its number, with that of its handle, is another's: a checkpoint, or a pipe of its own."""
    ear = last_words.Listener()
    (name, value), *_ = ear.environment().items()
    ear.close()
    _, number = value.split(" ")
    file = tmp_path / "checkpoint"
    file.write_bytes(b"weights")
    read, write = os.pipe()
    os.set_blocking(read, False)
    with file.open("r+b") as opened:
        for handle in (opened.fileno(), write):
            monkeypatch.setenv(name, f"/proc/{os.getpid()}/fd/{handle} {number}")
            assert not last_words.report(State.CRASHED, "no", 1)
    assert file.read_bytes() == b"weights"
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_a_worker_of_torchrun_tells_its_code_to_its_runner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(b"weights")
    read, write = os.pipe()
    with file.open("r+b") as opened:
        for address in (f"/proc/{os.getpid()}/fd/{opened.fileno()} 1", str(file), f"{file} {file.stat().st_ino}", ""):
            monkeypatch.setenv(worker.CODES, address)
            worker._report_code(3)
    assert file.read_bytes() == b"weights"
    monkeypatch.setenv(worker.CODES, pipe_address(write))
    monkeypatch.setenv("RANK", "5")
    worker._report_code(3)
    assert os.read(read, 99) == b"5 3\n"
    os.close(read)
    os.close(write)


def test_words_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    ear = last_words.Listener()
    for name, value in ear.environment().items():
        monkeypatch.setenv(name, value)
    assert last_words.report(State.RESUMABLE, "out of time", 75)
    assert ear.close() == last_words.LastWords(0, State.RESUMABLE, "out of time", 75)


@pytest.mark.parametrize(
    "line",
    [
        '{"rank": Infinity, "state": "done", "reason": "", "code": 0}',
        '{"rank": 1e400, "state": "done", "reason": "", "code": 0}',
        '{"rank": 0, "state": "done", "reason": "", "code": NaN}',
        '{"rank": 0, "state": "done", "reason": "", "code": 1e30}',
        '{"rank": 0, "state": "done", "reason": "", "code": 4294967296}',
        '{"rank": 0, "state": ["done"], "reason": "", "code": 0}',
        '{"rank": 0, "state": "evil", "reason": "", "code": 0}',
        '{"rank": "0", "state": "done", "reason": {}, "code": true}',
        "[" * 100_000,
        "\udcff",
        '{"a": ' * 3000,
    ],
)
def test_lines_of_others_in_the_pipe_are_no_words(line: str) -> None:
    """Whatever the trainers start may open the pipe."""
    ours = {"rank": 0, "state": "crashed", "reason": "x", "code": 4}
    data = f"{line}\n{json.dumps(ours)}\n".encode(errors="surrogateescape")
    assert last_words.cause_of(data) == last_words.LastWords(0, State.CRASHED, "x", 4)
    assert last_words.cause_of(line.encode(errors="surrogateescape")) is None
