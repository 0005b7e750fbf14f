"""Errors of file systems: each has a sentence, those that may pass leave a run to be gone on with, and nothing half-written stays."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import atomic_open, storage_errors
from ganhpc.core.storage_errors import fault, remove_leftovers, temporary_name
from ganhpc.runs import fault_count, last_words
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_protocol import EXIT_FAULT
from ganhpc.train import __main__ as train
from ganhpc.train.runtime import checkpoint
from tests.helpers import made

PASSING = ("ENOSPC", "EDQUOT", "EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EROFS", "ENOENT")


@pytest.mark.parametrize("name", sorted(errno.errorcode.values()))
def test_every_errno_is_a_sentence(name: str, tmp_path: Path) -> None:
    number = getattr(errno, name)
    with pytest.raises(StorageFault) as found, storage_errors(tmp_path / "file"):
        raise OSError(number, os.strerror(number))
    assert found.value.number == number
    assert str(tmp_path / "file") in str(found.value)
    assert str(found.value).endswith("earlier files are intact.")
    assert found.value.passing or name not in PASSING


def test_an_unknown_errno_is_named() -> None:
    assert "Not a typewriter (ENOTTY)" in str(fault(OSError(errno.ENOTTY, "Not a typewriter"), "x"))
    assert not fault(OSError(errno.ENAMETOOLONG, ""), "x").passing


def trained(run: Run) -> tuple[int, dict[str, Any]]:
    code = train.main([str(run.folder)])
    return code, json.loads(run.status_json.read_text()) if run.status_json.exists() else {}


@pytest.fixture
def quiet_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of a trainer are for a process of its own."""
    monkeypatch.setattr(train.Process, "_handle_signals", lambda _: None)


@pytest.mark.slow  # a second of processor time: it computes
@pytest.mark.usefixtures("quiet_signals")
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_leaves_the_run_to_be_gone_on_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANHPC_LAUNCH", "one")
    run, real, calls = made(tmp_path, epochs=3), checkpoint.save, []

    def failing(folder: Path, step: int, tree: dict[str, Any]) -> Path:
        calls.append(step)
        if len(calls) == 2:
            raise fault(OSError(getattr(errno, name), "it fails"), folder)
        return real(folder, step, tree)

    monkeypatch.setattr(checkpoint, "save", failing)
    code, status = trained(run)
    assert (code, status["state"]) == (EXIT_FAULT, State.RESUMABLE)
    code, status = trained(run)
    assert (code, status["state"]) == (0, State.DONE)


@pytest.mark.slow  # 3 s of processor time: it computes
@pytest.mark.usefixtures("quiet_signals")
def test_faults_that_get_nowhere_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANHPC_LAUNCH", "one")
    run = made(tmp_path)

    def full(*_: Any) -> Path:
        raise fault(OSError(errno.ENOSPC, "full"), run.folder)

    monkeypatch.setattr(checkpoint, "save", full)
    states = [trained(run)[1]["state"] for _ in range(fault_count.MOST + 1)]
    assert states == [State.LOST] * fault_count.MOST + [State.CRASHED]
    monkeypatch.setenv("GANHPC_LAUNCH", "two")  # the user has typed the command again
    assert trained(run)[1]["state"] == State.LOST


def test_faults_are_counted_by_launch_and_checkpoint(tmp_path: Path) -> None:
    fault_count.reserve(tmp_path)
    assert [fault_count.note(tmp_path, "a", 5) for _ in range(3)] == [1, 2, 3]
    assert fault_count.note(tmp_path, "a", 6) == 1
    assert fault_count.note(tmp_path, "b", 6) == 1
    # Processes of one start that meet one fault have met one, whichever of them notes it.
    assert [fault_count.note(tmp_path, "b", 6, start) for start in ("x:1", "x:1", "x:2", "x:1")] == [2, 2, 3, 4]
    (tmp_path / "faults.json").write_bytes(b"\xff" * 99)
    assert fault_count.note(tmp_path, "b", 6) == 1


@pytest.mark.parametrize("count", ["-1000000000", "true", "2.5", "NaN", "1e300", '"7"', "[]", "null", "9" * 300])
def test_a_count_that_is_none_begins_anew(tmp_path: Path, count: str) -> None:
    """One below zero would have a job sent again for ever."""
    (tmp_path / "faults.json").write_text(f'{{"launch": "a", "step": 5, "count": {count}, "training": ""}}')
    assert [fault_count.note(tmp_path, "a", 5) for _ in range(3)] == [1, 2, 3]


def test_a_count_of_faults_follows_no_link_and_waits_for_no_fifo(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("my own file")
    place = tmp_path / "faults.json"
    for make in (
        lambda: place.symlink_to(mine),
        lambda: os.mkfifo(place),
        place.mkdir,
        lambda: place.symlink_to("/dev/full"),
    ):
        make()
        assert fault_count.note(tmp_path, "a", 5) == 1
        place.rmdir() if place.is_dir() else place.unlink()
    assert mine.read_text() == "my own file"


@pytest.mark.usefixtures("quiet_signals")
def test_any_error_of_the_system_is_a_sentence_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, ear = made(tmp_path), last_words.Listener()
    for name, value in ear.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "ganhpc.train.loop.build.prepare", lambda *_: (_ for _ in ()).throw(OSError(errno.ELOOP, "loop", "/a/b"))
    )
    code, status = trained(run)
    assert code == 2
    assert capsys.readouterr().err == "", "whoever started it prints its last words"
    words = ear.close()
    assert words and words.sentence.startswith("Error: can't read or write /a/b: its links lead in a circle")
    assert words == last_words.LastWords(0, State.REFUSED, status["reason"], 2)


Words = tuple[int, str, str, int] | tuple[int, str, str, int, int]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ([(2, "refused", "c", 2), (1, "refused", "a", 2), (1, "crashed", "b", 1)], (2, "refused", "c", 2)),
        ([(1, "crashed", "a bug", 1), (0, "resumable", "ended since", 75)], (1, "crashed", "a bug", 1)),
        ([(1, "resumable", "", 75), (0, "resumable", "out of time", 75)], (0, "resumable", "out of time", 75)),
        ([(1, "resumable", "", 75), (0, "crashed", "no room", 74)], (0, "crashed", "no room", 74)),
        ([(0, "crashed", "no peer", 1), (-1, "lost", "rank 1 was killed", -9)], (-1, "lost", "rank 1 was killed", -9)),
        # torchrun tells of the end of rank 1, which has spoken itself, or has not; the others hear torchrun.
        (
            [(1, "lost", "no room", 74), (-1, "crashed", "74", 74, 1), (0, "lost", "told", 75)],
            (1, "lost", "no room", 74),
        ),
        ([(0, "lost", "told", 75), (1, "lost", "late", 74), (-1, "crashed", "74", 74, 1)], (1, "lost", "late", 74)),
        ([(0, "resumable", "told", 75), (-1, "crashed", "silent", 5, 1)], (-1, "crashed", "silent", 5)),
        ([(0, "crashed", "a bug", 1), (-1, "crashed", "silent", 5, 1)], (0, "crashed", "a bug", 1)),
        ([], None),
    ],
)
def test_the_cause_among_last_words(said: Sequence[Words], cause: Words | None) -> None:
    keys = ("rank", "state", "reason", "code", "about")
    lines = [json.dumps(dict(zip(keys, words, strict=False))).encode() + b"\n" for words in said]
    found = last_words.cause_of(b'torn {\n[1]\n{"rank": 0}\n' + b"".join(lines))
    assert (found and (found.rank, found.state.value, found.reason, found.code)) == cause


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_half_written_files_of_the_dead_are_removed_and_no_others(tmp_path: Path) -> None:
    living = tmp_path / temporary_name("status.json")
    dead = tmp_path / temporary_name("request.json").replace(f".{os.getpid()}.", f".{dead_process()}.")
    elsewhere = tmp_path / f".request.json.00000000.{os.getpid()}.abcdef.tmp"
    old = tmp_path / f".request.json.00000000.{os.getpid()}.abcde0.tmp"
    mine = tmp_path / ".notes.tmp"
    for path in (living, dead, elsewhere, old, mine):
        path.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert remove_leftovers(tmp_path) == 2
    assert {path.name for path in tmp_path.iterdir()} == {living.name, elsewhere.name, mine.name}
    assert remove_leftovers(tmp_path, mine=True) == 2
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    assert remove_leftovers(tmp_path / "none") == 0


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "io")))
    with pytest.raises(StorageFault, match="input/output error"), atomic_open(tmp_path / "a") as file:
        file.write(b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("skew", [-400_000, 400_000])
def test_a_living_writers_file_stays_whatever_the_file_servers_clock_says(tmp_path: Path, skew: int) -> None:
    living = tmp_path / temporary_name("status.json")
    dead = tmp_path / temporary_name("request.json").replace(f".{os.getpid()}.", f".{dead_process()}.")
    for path in (living, dead):
        path.write_text("half")
        os.utime(path, (time.time() + skew,) * 2)
    assert remove_leftovers(tmp_path) == 1
    assert living.exists()
