"""The queue of this machine as another container sees it: numbers of processes mean nothing there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganhpc.core.process_numbers import born
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import local, local_queue_jobs, local_queue_worker
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.local import Local
from ganhpc.launch.schedulers.local_queue_jobs import QueuedJob
from ganhpc.runs import file_owner

SECONDS = 60.0


class Clock:
    """The machine's own clock, as a test sets it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(local_queue_jobs, "clock", made)
    return made


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this container, which has nothing to do with the queue."""
    made = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield made
    made.kill()
    made.wait()


@pytest.fixture
def elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, process: subprocess.Popen[bytes]
) -> QueuedJob:
    """A job that was begun in another container, by a runner that was killed; here its number is another process's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    script = tmp_path / "job.sh"
    script.write_text("echo never\n")
    tree = {"script": str(script), "tag": "t", "seconds": SECONDS}
    number = local_queue_jobs.add(local.queue_folder(), tree)
    with monkeypatch.context() as patch:
        patch.setattr(file_owner, "numbering", lambda: "4026532999")
        job = local_queue_jobs.begin(local_queue_jobs.jobs(local.queue_folder())[number])
    assert job is not None and job.started_clock == clock.now
    changed = local_queue_jobs.change(job, JobState.RUNNING, pid=process.pid, born="another")
    assert changed is not None
    return changed


def test_a_job_of_another_container_is_not_taken_for_dead(elsewhere: QueuedJob, clock: Clock) -> None:
    queue = Local(Settings()).queue()
    assert [(job.id, job.state) for job in queue] == [(str(elsewhere.number), JobState.RUNNING)]
    clock.now += SECONDS + 1
    assert not elsewhere.alive, "its own deadline has ended it"
    assert Local(Settings()).jobs(["1"])["1"].state is JobState.FAILED


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED])
@pytest.mark.parametrize("same_birth", [True, False])
def test_a_runner_waits_for_its_time_and_signals_no_process_of_its_own_container(
    elsewhere: QueuedJob,
    clock: Clock,
    process: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    state: JobState,
    same_birth: bool,
) -> None:
    birth = born(process.pid) if same_birth else "another"
    assert local_queue_jobs.change(elsewhere, JobState.RUNNING, born=birth, state=state.value)
    looks: list[float] = []

    def passes(seconds: float) -> None:
        del seconds
        looks.append(clock.now)
        clock.now += SECONDS / 4

    monkeypatch.setattr("ganhpc.launch.schedulers.local_queue_worker.time.sleep", passes)
    signals: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda *words: signals.extend(words))
    assert local_queue_worker.main(local.queue_folder()) == 0
    assert len(looks) >= 4 and not signals and process.poll() is None
    kept = local_queue_jobs.jobs(local.queue_folder())[elsewhere.number]
    assert kept.state is (JobState.FAILED if state is JobState.RUNNING else state)


def test_a_job_of_this_container_or_of_an_older_version_is_known_by_its_process(elsewhere: QueuedJob) -> None:
    for numbering in (file_owner.numbering(), None):
        job = local_queue_jobs.change(elsewhere, JobState.RUNNING, numbering=numbering)
        assert job is not None and job.is_here and not job.alive
