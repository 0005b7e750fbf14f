"""The node side of a job: deadlines, signals, what the scheduler is told at the end."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganhpc.core import storage_errors
from ganhpc.core.files import read_json, write_json
from ganhpc.launch.node_agent import ASKED, Segment, main
from ganhpc.program.runner import main as run_program
from ganhpc.runs import fault_count, job_claim, stop_requests, submission_record
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_processes import TrainerProcesses
from ganhpc.runs.trainer_protocol import EXIT_FAULT
from ganhpc.train.__main__ import main as train
from tests.helpers import ROOT, made


def segment(run: Run, **values: Any) -> Segment:
    """A segment of a job that nobody schedules."""
    base = {
        "begun": time.time(),
        "hard_end": time.time() + 600,
        "tasks": 1,
        "last": True,
        "again": False,
        "follower": "",
    }
    return Segment(run, **{**base, **values})


def says(end: float | None) -> SimpleNamespace:
    """A scheduler's node side that knows when the job ends."""
    return SimpleNamespace(job_end=lambda: end, go_on=lambda: 99, hosts=lambda: ["here"], node_rank=lambda: 0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("GANHPC_SCHEDULER", raising=False)
    return made(tmp_path)


def test_the_schedulers_word_on_the_end_goes_before_what_was_asked_for(run: Run) -> None:
    part = segment(run, until=time.time() + 900)
    part.scheduler = says(part.hard_end - 100)  # type: ignore[assignment]
    asked = part.hard_end
    part._write_deadline()
    told = read_json(run.deadline_json) or {}
    assert told["end"] == asked - 100
    assert told["last"] is True
    part.scheduler = says(asked + 500)  # type: ignore[assignment]
    part._write_deadline()
    assert (read_json(run.deadline_json) or {})["end"] == part.until < asked + 500, "never later than what is allowed"
    part.scheduler = says(asked + 200)  # type: ignore[assignment]
    part._write_deadline()
    assert (read_json(run.deadline_json) or {})["end"] == asked + 200, (
        "longer than was asked for, as somebody changed it"
    )
    part.scheduler = says(None)  # type: ignore[assignment]
    part._write_deadline()
    assert (read_json(run.deadline_json) or {})["end"] == asked + 200, "its last word holds"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            {"state": "crashed", "launch": "cafe", "reason": "why"},
            "an earlier job of this launch crashed (why): not repeated",
        ),
        ({"state": "crashed", "launch": "other"}, ""),
        ({"state": "resumable", "launch": "cafe"}, ""),
        ({}, ""),
    ],
)
def test_a_crash_is_not_repeated_by_the_jobs_behind_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv("GANHPC_LAUNCH", "cafe")
    if status:
        write_json(run.status_json, status)
    assert segment(run)._nothing_to_do() == sentence


def test_a_job_of_a_done_or_cancelled_run_or_after_its_time_does_nothing(run: Run) -> None:
    assert segment(run, hard_end=time.time() - 1).train() == 0
    submission_record.note_cancelled(run)
    assert segment(run)._nothing_to_do() == "the run was cancelled: nothing to do"
    write_json(run.result_json, {})
    assert segment(run).train() == 0


def test_a_warning_near_the_end_is_no_news_and_any_other_is_a_wish_to_stop(run: Run) -> None:
    part = segment(run)
    part.scheduler = says(time.time() + 60)  # type: ignore[assignment]
    part.warned = True
    part._read_again()
    assert run.stop_reason(part.owner) is None
    part = segment(run)
    part.scheduler = says(time.time() + 500)  # type: ignore[assignment]
    part.warned = True
    part._read_again()
    assert run.stop_reason(part.owner) == ASKED


def test_a_warning_where_the_end_is_not_known_is_a_wish_to_stop(run: Run) -> None:
    part = segment(run)
    part.scheduler = says(None)  # type: ignore[assignment]
    part.warned = True
    part._read_again()
    assert run.stop_reason(part.owner) == ASKED


@pytest.mark.parametrize(
    ("again", "reason", "step", "code"),
    [
        (True, "out of time: the job ends", 5, 99),
        (True, ASKED, 5, 99),
        (True, "out of time: the job ends", 0, 0),
        (True, "SIGTERM at the launcher", 5, 0),
        (False, "out of time: the job ends", 5, 0),
    ],
)
def test_only_a_job_that_got_somewhere_and_ran_out_of_time_is_sent_again(
    run: Run, again: bool, reason: str, step: int, code: int
) -> None:
    part = segment(run, again=again)
    part.scheduler = says(None)  # type: ignore[assignment]
    write_json(run.status_json, {"state": "resumable", "reason": reason, "step": step, "time": time.time()})
    assert part._go_on(0) == code


@pytest.mark.slow  # 4 s in all
@pytest.mark.parametrize(
    ("words", "ends", "code"),
    [
        ("", "sys.exit(1)", 1),
        ("", "os.kill(os.getpid(), 15)", 143),
        ("last_words.report(State.RESUMABLE, 'out of time', 75)", "sys.exit(0)", 75),
        ("last_words.report(State.CRASHED, 'one of them', 4)", "time.sleep(600)", 4),
    ],
)
def test_the_last_words_give_the_code_of_a_segment(run: Run, words: str, ends: str, code: int) -> None:
    said = f"import os, sys, time; from ganhpc.runs import last_words; from ganhpc.runs.run_folder import State\n{words}\n{ends}"
    write_json(run.status_json, {"state": State.RESUMABLE.value, "time": time.time() + 1, "owner": "a job of before"})
    trainer = TrainerProcesses([sys.executable, "-c", said], {**os.environ, "PYTHONPATH": str(ROOT)})
    begun = time.monotonic()
    assert segment(run)._wait(trainer, []) == code
    assert time.monotonic() - begun < 300, "those that wait for one that has failed are ended"


def test_a_stop_that_no_file_can_be_made_for_goes_to_the_trainer_as_a_signal(run: Run) -> None:
    part = segment(run)
    stop_requests.path_of(run.folder, part.owner).mkdir()  # as a full disk refuses it
    part.scheduler = says(None)  # type: ignore[assignment]
    part.warned = True
    part._read_again()
    trap = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print(flush=True); time.sleep(600)"
    trainer = TrainerProcesses([sys.executable, "-c", trap], os.environ, stdout=subprocess.PIPE)
    assert trainer.child.stdout
    trainer.child.stdout.readline()
    begun = time.monotonic()
    assert part._wait(trainer, []) == 75 and time.monotonic() - begun < 300
    stop_requests.forget(run.folder, part.owner)


@pytest.mark.slow  # 6 s of processor time: processes of its own
def test_signals_repeat_harmlessly_and_the_segment_saves(run: Run) -> None:
    """USR2 again and again at a job whose end nobody knows: it stops once, with a checkpoint, and ends well."""
    command = [sys.executable, "-m", "ganhpc.node", str(run.folder), "--walltime=600", "--last"]
    write_json(run.experiment_json, {**(read_json(run.experiment_json) or {})})
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GANHPC_SCHEDULER": "slurm",
        "SLURM_JOB_ID": "0",
        "PATH": "/nonexistent",
    }
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    limit = time.monotonic() + 120
    while run.status().get("step", 0) < 1 and time.monotonic() < limit and child.poll() is None:
        time.sleep(0.02)
    for _ in range(5):
        if child.poll() is None:
            child.send_signal(signal.SIGUSR2)
            time.sleep(0.05)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 0, said
    state = run.run_status().state
    assert state in (State.RESUMABLE, State.DONE), said
    if state is State.RESUMABLE:
        assert run.has_checkpoint()


def node(folder: Path, bytes_a_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m ganhpc.node` as a job starts it; `bytes_a_file`: as if the home folder had no room for more."""

    def small() -> None:
        if bytes_a_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file))

    command = [sys.executable, "-m", "ganhpc.node", str(folder), "--walltime=600"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, preexec_fn=small)


def test_a_home_folder_that_the_node_does_not_reach_is_a_sentence(tmp_path: Path) -> None:
    done = node(tmp_path / "elsewhere" / "run")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {tmp_path}/elsewhere/run is not a run folder")
    assert done.stderr.count("\n") == 1


def test_a_home_folder_that_is_full_on_the_node_is_a_sentence(run: Run) -> None:
    done = node(run.folder, bytes_a_file=16)
    assert done.returncode != 0
    assert "can't write" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert run.run_status().state in (State.NEW, State.LOST, State.CRASHED)


@pytest.mark.parametrize("name", ["ESTALE", "EIO", "ENOSPC"])
def test_a_job_waits_for_its_file_system_at_its_start(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The run's folder can't be looked at, nor its claim be written, for a moment: the job trains all the same."""
    monkeypatch.setattr(storage_errors, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(Segment, "_train", lambda _: 0)
    number, failing = getattr(errno, name), iter([True] * 4)
    stat, write = os.stat, job_claim.write_json

    def look(path: Any, *more: Any, **named: Any) -> Any:
        if str(path) == str(run.experiment_json) and next(failing, False):
            raise OSError(number, os.strerror(number), str(path))
        return stat(path, *more, **named)

    full = iter([True] * 3)

    def claim(path: Path, *more: Any, **named: Any) -> None:
        if next(full, False):
            raise storage_errors.fault(OSError(number, os.strerror(number)), path)
        write(path, *more, **named)

    monkeypatch.setattr(os, "stat", look)
    monkeypatch.setattr(job_claim, "write_json", claim)
    with pytest.raises(SystemExit) as ended:
        main.main([str(run.folder), "--walltime=600"], standalone_mode=False)
    assert ended.value.code == 0
    assert (next(failing, None), next(full, None)) == (None, None)
    assert capsys.readouterr().err.count("Error: can't ") == 7


def test_a_file_system_that_stays_away_ends_a_job_with_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage_errors, "PAUSES", (0.01, 0.01))
    stat = os.stat

    def look(path: Any, *more: Any, **named: Any) -> Any:
        if str(path).startswith(str(run.folder)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return stat(path, *more, **named)

    monkeypatch.setattr(os, "stat", look)
    for start in (lambda: main.main([str(run.folder), "--walltime=1"], standalone_mode=False), lambda: sys.exit(train([str(run.folder)])),
                  lambda: sys.exit(run_program([str(run.folder)]))):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            start()
        said = capsys.readouterr()
        assert ended.value.code in (2, EXIT_FAULT)
        assert "the network file system lost the file" in said.err + said.out
        assert "Traceback" not in said.err + said.out
    assert run.has_checkpoint(), "nothing is known to be lost"


def test_a_start_that_fails_again_and_again_is_not_repeated_for_ever(run: Run) -> None:
    error = storage_errors.fault(OSError(errno.ENOSPC, "full"), run.lock)
    ends = [fault_count.state_and_code(run, error, count=True) for _ in range(fault_count.MOST + 1)]
    assert ends == [(State.LOST, EXIT_FAULT)] * fault_count.MOST + [(State.REFUSED, 2)]


@pytest.mark.parametrize("jump", [61.0, 3600.0, 10.0**7])
def test_a_clock_that_jumps_or_a_suspension_leaves_the_trainer_time_to_save(
    run: Run, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """It is killed a minute after its end was seen to have passed, and not a minute after its end."""
    wall, own = 1e9, 50.0
    monkeypatch.setattr("ganhpc.launch.node_agent.time.time", lambda: wall)
    monkeypatch.setattr("ganhpc.launch.node_agent.time.monotonic", lambda: own)
    part = segment(run, hard_end=wall + 100, until=wall + 100)
    assert not part._is_overdue()
    wall += 100 + jump
    for later, killed in ((0.0, False), (60.0, False), (60.5, True)):
        own = 50.0 + later
        assert part._is_overdue() == killed
    wall -= 100 + jump  # set back
    assert not part._is_overdue()
    wall += 101
    assert not part._is_overdue(), "counted anew"
