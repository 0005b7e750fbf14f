"""The end of a segment by the program's exit code, each of them, and by whether and why it was told to stop. No process is started."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganhpc.cli.main import program
from ganhpc.core import storage_errors
from ganhpc.program import runner
from ganhpc.program.environment import Place
from ganhpc.program.stop_plan import StopPlan
from ganhpc.runs.run_folder import Run, State
from tests.program.local_runs import made

CODES = (*range(256), *(-number for number in signal.valid_signals()))
KILLED = (137, -9)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand of them take minutes on a busy disk


def ended(
    run: Run,
    code: int,
    *,
    changed: bool = True,
    reason: str | None = None,
    by_request: bool = False,
    left: float = 50.0,
) -> Any:
    """The ending of a segment whose program ended so; `changed`: it has saved; `left`: seconds of its budget."""
    for path in run.folder.glob("faults*.json"):
        path.unlink()
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "x").write_text("saved")
    segment = runner._Segment(run, Place(), "mark", 0)
    segment.account.seen = "" if changed else segment._digest()
    segment.before, segment.reason, segment.by_request = 60.0 - left, reason, by_request
    segment.plan = StopPlan.make(60.0, 15.0, None)
    log = SimpleNamespace(last_lines=lambda most: ["its last line"][:most], error=None)
    processes: Any = SimpleNamespace(log=log, ended=0, first=(code, 0) if code else None)
    return dataclasses.replace(segment._judge(processes, code), lines=[])


def test_each_exit_code_of_a_program_that_nobody_told_to_stop(tmp_path: Path) -> None:
    run = made(tmp_path, "true", resumable_exit=9)
    for code in CODES:
        end = ended(run, code)
        if code == 0:
            assert end.state is State.DONE
            run.result_json.unlink()
        elif code in (75, 9):
            assert (end.state, end.code) == (State.RESUMABLE, 75) and f"exit code {code}" in end.reason
        elif code in KILLED:
            assert (end.state, end.code) == (State.RESUMABLE, 74) and "SIGKILL" in end.reason
        else:
            assert (end.state, end.code) == (State.CRASHED, 1), code
            assert "it wrote last: its last line" in end.reason
            assert (f"exit code {code}" in end.reason) if code > 0 else ("was killed by" in end.reason)
        assert run.result() is None, code


@pytest.mark.parametrize("by_request", [True, False])
def test_each_exit_code_of_a_program_that_was_told_to_stop(tmp_path: Path, by_request: bool) -> None:
    run = made(tmp_path, "true")
    for code in CODES:
        end = ended(run, code, reason="out of time: the job ends", by_request=by_request)
        assert (end.state, end.code, end.asked) == (State.RESUMABLE, 75, by_request), code
        assert run.result() is None


def test_each_exit_code_at_the_end_of_the_budget_is_done(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    for code in CODES:
        assert ended(run, code, reason="out of time", left=1.0).state is State.DONE, code
        assert (run.result() or {})["ended_by"] == "time"
        run.result_json.unlink()


def test_no_exit_code_hides_that_nothing_was_saved_twice(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    for code in (0, 1, 75, 137, -15):
        assert ended(run, code, changed=False, reason="out of time: the job ends").state is State.RESUMABLE
        end = ended(run, code, changed=False, reason="out of time: the job ends")
        assert (end.state, end.code) == (State.CRASHED, 4) and "gets nowhere" in end.reason


def test_a_disk_of_the_checkpoints_alone_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie behind a link, or on a small file system in memory, and the program says nothing of it."""
    run = made(tmp_path, "true")
    monkeypatch.setattr(storage_errors, "is_full", lambda folder: folder == run.checkpoints)
    end = ended(run, 1)
    assert (end.state, end.code) == (State.RESUMABLE, 74)
    assert f"can't write {run.checkpoints}: the disk is full: free some space" in end.reason


def test_reading_many_figures_behind_the_program_is_not_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job ended with 100 s of its budget left, and the run was done by time."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time, sleep=lambda _: None)
    run = made(tmp_path, "true")
    segment = runner._Segment(run, Place(), "mark", 0)
    log = SimpleNamespace(last_lines=lambda _: [], error=None)
    processes: Any = SimpleNamespace(log=log, ended=0, first=None, end=lambda: 0)

    def started() -> Any:
        segment.started = now[0]
        segment.plan = StopPlan.make(60.0, 1.0, None)
        return processes

    def watched(_: object) -> None:
        now[0] += 30.0
        segment.reason, segment.asked_to_stop_at = "out of time: the job ends", now[0]

    def read(**_: object) -> None:
        now[0] += 100.0

    monkeypatch.setattr(runner, "time", clock)
    monkeypatch.setattr(segment, "_start", started)
    monkeypatch.setattr(segment, "_watch", watched)
    monkeypatch.setattr(segment.said, "read", read)
    end = segment._see_through()
    assert end.state is not State.DONE and run.result() is None
    assert segment.account.seconds == 30.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--time", "10s", "--stop-before", "8s"), "told to stop 2.5s before the end of a segment of 10s"),
        (("--time", "10s", "--stop-before", "2s"), ""),
        (("--time", "10s"), ""),
        (("--time", "6h", "--stop-before", "2h"), "told to stop 1h30m before the end of a segment of 6h"),
        (("--time", "6h", "--stop-before", "20m", "--on", "oar", "--policy", "student"), "told to stop 15m before"),
        (("--time", "6h", "--stop-before", "15m", "--on", "oar", "--policy", "student"), ""),
    ],
)
def test_a_stop_before_that_has_no_room_is_said(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    place = () if "--on" in words else ("--on", "local")
    program.main(["program", *words, *place, "--dry-run", "--", "true"], standalone_mode=False)
    error = capsys.readouterr().err
    assert said in error if said else "told to stop" not in error
