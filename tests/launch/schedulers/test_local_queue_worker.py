"""The runner of this machine's queue: killed, late, without room on the disk, and with clocks that are set."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganhpc.core import locks
from ganhpc.core.errors import StorageFault
from ganhpc.core.files import read_json, write_json
from ganhpc.core.process_numbers import born
from ganhpc.core.settings import Settings
from ganhpc.core.storage_errors import fault
from ganhpc.launch.schedulers import local, local_queue_jobs, local_queue_worker
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.local import Local
from tests.launch.schedulers.local_jobs import ended, runner, said, send, waiting_job
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("state")


def test_a_runner_that_is_killed_is_followed_by_another(state: Path) -> None:
    first = send(state, "first", "sleep 60")
    note = local.queue_folder() / f"{first}.json"
    wait_for(lambda: (read_json(note) or {}).get("pid"))
    pid = (read_json(note) or {})["pid"]
    runner = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(runner, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: born(runner) is None)  # it holds the queue for as long as it has not died
    assert ended(send(state, "second", "echo second")) is JobState.ENDED
    assert Local(Settings()).jobs([first])[first].state is JobState.FAILED


@pytest.mark.parametrize("noted", ["running", "cancelled"])
def test_a_job_of_before_the_machines_restart_has_no_process_though_its_number_and_birth_come_again(
    state: Path, noted: str
) -> None:
    job = local_queue_jobs.begin(waiting_job(state, "echo never"))
    assert job is not None
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    who = {"pid": other.pid, "born": born(other.pid)}
    local_queue_jobs.change(job, JobState.RUNNING, **who, boot="another", state=noted)
    kept = local_queue_jobs.jobs(local.queue_folder())[job.number]
    assert not kept.alive and not Local(Settings()).queue()
    runner()
    assert other.poll() is None, "a process that has nothing to do with the queue gets no signal"
    assert local_queue_jobs.jobs(local.queue_folder())[job.number].state is not JobState.RUNNING
    other.kill()
    other.wait()


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganhpc.core.storage_errors.PAUSES", (0.01, 0.01))


@pytest.mark.slow  # 4 s in all
@pytest.mark.usefixtures("quick_pauses")
@pytest.mark.parametrize("at", range(1, 8))
def test_a_full_disk_loses_no_job_of_the_queue(state: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Three notes in a row fail, from the k-th on: both jobs run, once each, and are noted as ended."""
    for _ in range(2):
        waiting_job(state, "echo once; sleep 0.2")
    count = iter(range(1, 1000))

    def write(path: Path, tree: object) -> None:
        if at <= next(count) < at + 3:
            raise fault(OSError(errno.EDQUOT, "Disk quota exceeded"), path)
        write_json(path, tree)

    monkeypatch.setattr(local_queue_jobs, "write_json", write)
    runner()
    assert (state / "out.txt").read_text().split() == ["once", "once"]
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2


@pytest.mark.usefixtures("quick_pauses")
def test_a_job_that_cannot_note_its_start_for_a_moment_begins_later(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_job(state, "echo once")
    full = f'[ -e {state}/room ] || {{ touch {state}/room; : > "$0"; exit 97; }}; '
    monkeypatch.setattr(local_queue_jobs, "WRAPPER", full + local_queue_jobs.WRAPPER)
    real, failed = subprocess.Popen, []

    def start(*words: Any, **how: Any) -> Any:
        if not failed:
            failed.append(1)
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(*words, **how)

    monkeypatch.setattr(local_queue_worker.subprocess, "Popen", start)
    runner()
    assert (state / "out.txt").read_text().split() == ["once"]
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED]


@pytest.mark.usefixtures("quick_pauses")
def test_a_fault_that_does_not_pass_ends_the_runner(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting_job(state, "echo never")

    def fails(number: int) -> None:
        def write(path: Path, tree: object) -> None:
            del tree
            raise fault(OSError(number, os.strerror(number)), path)

        monkeypatch.setattr(local_queue_jobs, "write_json", write)
        with pytest.raises(StorageFault):
            runner()

    fails(errno.EACCES)
    monkeypatch.setattr(local_queue_worker, "PATIENCE_SECONDS", 0.05)
    fails(errno.ENOSPC)


def test_a_script_may_end_with_the_code_of_a_start_that_failed(state: Path) -> None:
    assert ended(send(state, "odd", "exit 97")) is JobState.FAILED


def test_a_reader_that_pauses_while_it_asks_leaves_no_job_without_a_runner(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_job(state, "echo done")
    lock = local.queue_folder() / local.RUNNER_LOCK
    lock.touch()
    asking = os.open(lock, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 40:
            os.close(asking)

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=pause))
    runner()
    assert said(state) == "done\n" and len(pauses) == 40


def test_a_runner_killed_between_the_note_and_the_start_loses_no_job(state: Path) -> None:
    job = waiting_job(state, "echo once")
    assert local_queue_jobs.begin(job) is not None  # and here it is killed
    waiting_job(state, "echo next")
    runner()
    assert (state / "out.txt").read_text().split() == ["next", "next"], "both share the script that was written last"
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2


@pytest.mark.slow  # 2 s in all
def test_a_runner_killed_between_the_start_and_its_note_starts_no_job_twice(state: Path) -> None:
    job = waiting_job(state, "echo begins; sleep 2; echo ends")
    noted = local_queue_jobs.begin(job)
    assert noted is not None
    child = subprocess.Popen(
        ["bash", "-c", local_queue_jobs.WRAPPER, str(noted.claim), noted.script], start_new_session=True
    )
    wait_for(lambda: said(state))
    waiting_job(state, "echo next").path  # noqa: B018 (so that a runner has something to do)
    (state / "job.sh").write_text(f"exec >>{state}/out.txt\necho next\n")
    reaper = threading.Thread(target=child.wait)  # as init does for a process whose parent is gone
    reaper.start()
    runner()
    reaper.join()
    assert (state / "out.txt").read_text().split() == ["begins", "ends", "next"], "waited for, and not begun again"


@pytest.mark.parametrize("noted", [False, True])
def test_a_cancelled_job_ends_whose_runner_was_killed(state: Path, noted: bool) -> None:
    """A job with a process on record or without one, also as the only job of the queue."""
    job = local_queue_jobs.begin(waiting_job(state, "echo begins; sleep 60"))
    assert job is not None
    words = ["bash", "-c", local_queue_jobs.WRAPPER, str(job.claim), job.script]
    child = subprocess.Popen(words, start_new_session=True)
    if noted:
        local_queue_jobs.change(job, JobState.RUNNING, pid=child.pid, born=born(child.pid))
    wait_for(lambda: said(state))
    Local(Settings()).cancel(str(job.number))
    assert child.wait(timeout=60) == -signal.SIGTERM
    assert Local(Settings()).jobs(["1"])["1"].state is JobState.CANCELLED


def test_a_job_that_was_left_behind_is_noted_as_ended_though_nothing_waits(state: Path) -> None:
    job = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert job is not None
    subprocess.run(["bash", "-c", local_queue_jobs.WRAPPER, str(job.claim), job.script], check=True)
    runner()
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.FAILED]
    assert (state / "out.txt").read_text().split() == ["once"]


def test_a_start_that_comes_too_late_does_nothing(state: Path) -> None:
    noted = local_queue_jobs.begin(waiting_job(state, "echo late"))
    assert noted is not None
    assert local_queue_jobs.began(noted) is None, "the next runner has made sure that it has not begun"
    late = subprocess.run(
        ["bash", "-c", local_queue_jobs.WRAPPER, str(noted.claim), noted.script], capture_output=True, check=False
    )
    assert late.returncode == 97
    assert not (state / "out.txt").exists()


def test_a_clock_that_is_set_back_lengthens_no_job(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: 1000.0)
    noted = local_queue_jobs.begin(waiting_job(state, "sleep 1"))
    assert noted is not None and noted.seconds_left == 60
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert noted.seconds_left == 60
    listed = Local(Settings()).jobs([str(noted.number)])[str(noted.number)]
    assert listed.end is None or listed.end - time.time() <= 60
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert noted.seconds_left == 60, "nor does one set forward shorten it"


def test_an_edge_of_the_day_is_kept_by_the_clock_on_the_wall(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: 1000.0)
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)
    noted = local_queue_jobs.begin(waiting_job(state, "sleep 1", until=present + 30))
    assert noted is not None and noted.seconds_left == 30
    monkeypatch.setattr(time, "time", lambda: present + 60)
    assert noted.seconds_left == -30
