"""This machine as a scheduler: a queue of jobs that run one after another in the background, kept in files.

ganhpc.launch.schedulers.local_queue_worker runs them; it is started with the first job and ends with the last.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ganhpc.core import locks
from ganhpc.core.files import open_to_write
from ganhpc.core.settings import ROOT, state_folder
from ganhpc.launch.planner.capabilities import QUEUE
from ganhpc.launch.schedulers import local_queue_jobs, script_text
from ganhpc.launch.schedulers.base import (
    Availability,
    Job,
    JobRequest,
    JobState,
    PreparedJob,
    Scheduler,
    with_expected_times,
)
from ganhpc.launch.schedulers.enclosing_job import inside
from ganhpc.launch.schedulers.job_script import node_command, setup_lines
from ganhpc.launch.schedulers.local_queue_jobs import QueuedJob
from ganhpc.runs import file_owner

RUNNER_LOCK = "runner.lock"
"""Held by the living runner of the queue."""


class Local(Scheduler):
    """The queue of this machine: jobs one after another, started by a runner of its own."""

    name, title = "local", "the queue of this machine"
    able = QUEUE
    default_policy = "none"

    def find(self) -> Availability:
        return Availability(True, "jobs run on this machine")

    def cluster(self) -> str:
        return os.uname().nodename

    def servers(self) -> tuple[str, ...]:
        """This installation: two machines may share a host's name, and a home."""
        return (f"{os.uname().nodename}/{file_owner.machine()}",) if file_owner.machine() else ()

    @functools.cached_property
    def _outer_end(self) -> dt.datetime | None:
        """The end of a cluster's job on whose node this queue is, and with which its jobs end; None outside of any."""
        job = inside()
        end = job.end() if job else None
        return dt.datetime.fromtimestamp(end).astimezone() if end else None

    def prepare(self, request: JobRequest) -> PreparedJob:
        ends = [moment for moment in (request.until or request.deadline, self._outer_end) if moment]
        # For the trainer alone: a launcher takes back what could not end by a request's own bounds.
        bounded = dataclasses.replace(request, until=min(ends, default=None))
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = script_text.fill(
            "local.sh",
            segment=script_text.number(request.segment),
            run=script_text.comment(request.run.name),
            setup=setup_lines(self.site, self.name, request),
            command=node_command(self.site, bounded),
        )
        return PreparedJob(request, script, ("bash", str(path)), path)

    def submit(self, prepared: PreparedJob) -> str:
        request = prepared.request
        tree = {
            "script": str(prepared.script_path),
            "tag": request.tag,
            "seconds": request.seconds,
            "not_before": request.start.timestamp() if request.start else None,
            "until": request.deadline.timestamp() if request.deadline else None,
        }
        # Jobs run in the order of their numbers.
        folder = queue_folder()
        number = local_queue_jobs.add(folder, tree)
        _start_runner(folder)
        return str(number)

    def queue(self) -> list[Job]:
        jobs: list[Job] = []
        before: tuple[str, ...] = ()
        for queued in local_queue_jobs.jobs(queue_folder()).values():
            job = _job(queued, before)
            if job.state.alive:
                jobs.append(job)
                before = (job.id,)
        return with_expected_times(jobs, time.time())

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        known = {str(number): job for number, job in _known_jobs().items()}
        return {id: _job(known[id], ()) if id in known else Job(id, JobState.UNKNOWN) for id in ids}

    def ended_since(self, moment: float) -> list[Job]:
        jobs = (_job(queued, ()) for queued in _known_jobs().values() if queued.started)
        return [job for job in jobs if not job.state.alive and (job.end or 0.0) > moment]

    def cancel(self, job: str) -> None:
        queued = local_queue_jobs.jobs(queue_folder()).get(int(job)) if job.isdecimal() else None
        for state in (JobState.WAITING, JobState.RUNNING) if queued else ():
            assert queued
            if local_queue_jobs.change(queued, state, state=JobState.CANCELLED.value, ended=time.time()):
                # Its own queue: that of an older version is empty by now.
                if state is JobState.RUNNING and not _runner_lives(queued.path.parent):
                    _start_runner(queued.path.parent)  # the one before was killed, and the job still runs
                return


def queue_folder() -> Path:
    """Where the queue of this user on this machine lies: one file a job, named by its number. Two machines may share a host's name, and a home;
    of older versions they shared a queue, which is used until it is empty."""
    shared, own = _queues()
    left = own != shared and any(job.state.alive for job in local_queue_jobs.jobs(shared).values())
    return shared if left else own


def _queues() -> tuple[Path, Path]:
    """The queue of older versions, which machines of one name shared, and this machine's own."""
    shared = state_folder() / f"queue-{os.uname().nodename}"
    return shared, shared.with_name(f"{shared.name}-{file_owner.machine()}".rstrip("-"))


def _known_jobs() -> dict[int, QueuedJob]:
    """Every job by its number, those that have ended in the queue of older versions among them; of one number, that of the queue in use."""
    used = queue_folder()
    found: dict[int, QueuedJob] = {}
    for folder in sorted(set(_queues()), key=lambda each: each == used):
        found |= local_queue_jobs.jobs(folder)
    return found


def _start_runner(folder: Path) -> None:
    """Start the process that runs the queue in `folder`, away from this one; where it lives already, the new one ends at once."""
    with open_to_write(folder / "runner.log", append=True) as log:
        subprocess.Popen(
            [sys.executable, "-m", "ganhpc.launch.schedulers.local_queue_worker", str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _runner_lives(folder: Path) -> bool:
    """True if a runner holds the queue in `folder`."""
    return locks.is_held(folder / RUNNER_LOCK)


def _job(queued: QueuedJob, after: tuple[str, ...]) -> Job:
    state = queued.state
    if state is JobState.RUNNING and not queued.alive and not _runner_lives(queued.path.parent):
        # Read once more: it may have ended since, and its runner with it, which has noted that first.
        queued = local_queue_jobs.read(queued.path) or queued
        # Else the machine went down, or the runner was killed with it.
        state = JobState.FAILED if queued.state is JobState.RUNNING else queued.state
    now = time.time()
    start, end = queued.started, queued.ended
    if state is JobState.WAITING:
        start = max(queued.not_before, now) if queued.not_before else None
    elif state is JobState.RUNNING:
        end = now + max(0.0, queued.seconds_left)
    return Job(
        str(queued.number),
        state,
        queued.state.value,
        tag=queued.tag,
        start=start,
        end=end,
        walltime=round(queued.seconds),
        exit_code=queued.exit_code,
        after=after,
        not_before=queued.not_before,
    )
