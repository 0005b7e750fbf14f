"""`python -m ganhpc.launch.schedulers.local_queue_worker FOLDER`: run the jobs of this machine's queue one after another, then end. Never imports torch.

One file a job (ganhpc.launch.schedulers.local_queue_jobs). A second runner finds the first one's lock and ends at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ganhpc.core import locks, storage_errors
from ganhpc.core.errors import BusyError, StorageFault, UserError
from ganhpc.core.printable import print_error
from ganhpc.core.process_numbers import born
from ganhpc.launch.schedulers import local_queue_jobs
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.local import RUNNER_LOCK
from ganhpc.launch.schedulers.local_queue_jobs import QueuedJob, change

_LOOK_SECONDS = 1.0
_KEPT_SECONDS = 7 * 86_400
"""Seconds for which the file of an ended job is kept."""
_GRACE_SECONDS = 30.0
"""Between the polite signal at the end of a job's time, or at its cancelling, and the other one."""
PATIENCE_SECONDS = 12 * 3600.0
"""Longest wait, in seconds, for a fault of the file system that may pass, or for another process that holds the queue: a night."""
_NOT_BEGUN = 97
"""Exit code of a job whose process could not note that it begins (`local_queue_jobs.WRAPPER`)."""

_PASSING = (StorageFault, BusyError)
"""Errors that may pass: of the file system, and a queue that a launcher holds which was stopped (Ctrl-Z)."""

T = TypeVar("T")


def main(folder: Path) -> int:
    """Run the queue in `folder` to its end."""
    return _with_retries(lambda: _run_all(folder))


def _with_retries(work: Callable[[], T]) -> T:
    return storage_errors.with_retries(work, PATIENCE_SECONDS, print_error)


def _run_all(folder: Path) -> int:
    """Run jobs until nothing waits, nor is left behind by a runner that was killed."""
    left = any(job.state in (JobState.RUNNING, JobState.CANCELLED) for job in local_queue_jobs.jobs(folder).values())
    # Looked at once more after the lock is let go: a job may have come between the last look and that.
    while left or _first_waiting(folder) is not None:
        left = False
        try:
            # `status` asks for the lock, and has it for an instant, or for seconds where the machine is busy: who gives up
            # for that leaves a job without a runner.
            with locks.held(folder / RUNNER_LOCK, tries=100):
                _take_over(folder)
                _drain(folder)
        except locks.Held:
            return 0
    return 0


def _drain(folder: Path) -> None:
    while (job := _first_waiting(folder)) is not None:
        if job.until and time.time() >= job.until:
            change(job, JobState.WAITING, state=JobState.TIMEOUT.value, ended=time.time())
        elif job.not_before and time.time() < job.not_before:
            time.sleep(_LOOK_SECONDS)
        else:
            run(job)


def _first_waiting(folder: Path) -> QueuedJob | None:
    """The job that is next, or None; files of long-ended jobs are removed."""
    first = None
    for job in local_queue_jobs.jobs(folder).values():
        if job.state is JobState.WAITING:
            first = first or job
        elif not job.state.alive and job.ended and time.time() - job.ended > _KEPT_SECONDS:
            local_queue_jobs.forget(job)
    return first


def run(job: QueuedJob) -> None:
    """Run one job to its end, or to the end of its time. It is noted as running first: killed at any moment, it is not run again."""
    running = local_queue_jobs.begin(job)
    if running is None:
        return
    command = ["bash", "-c", local_queue_jobs.WRAPPER, str(running.claim), running.script]
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        fault = storage_errors.fault(error, running.script, doing="start")
        if fault.passing:  # too many processes, or too little memory, for a moment
            _put_back(running)
            raise fault from error
        print_error(f"job {job.number} could not be started: {error}")
        _end(running, JobState.FAILED)
        return
    with contextlib.suppress(*_PASSING):  # the process has its own note
        change(running, JobState.RUNNING, pid=child.pid, born=born(child.pid) or "gone")
    watch(running, child.pid, lambda: child.poll() is None)
    if child.returncode == _NOT_BEGUN and not local_queue_jobs.has_begun(running):
        _put_back(running)
        raise storage_errors.fault(OSError(errno.ENOSPC, "No space left on device"), running.claim)
    state = JobState.ENDED if child.returncode == 0 else JobState.FAILED
    _end(running, state, exit_code=child.returncode)


def _put_back(job: QueuedJob) -> None:
    """Note that a job that was about to begin waits again."""
    _with_retries(lambda: change(job, JobState.RUNNING, state=JobState.WAITING.value))


def _end(job: QueuedJob, state: JobState, **values: object) -> None:
    """Note the end of a job, as soon as it can be noted."""
    moment = time.time()
    _with_retries(lambda: change(job, JobState.RUNNING, state=state.value, ended=moment, **values))


def watch(job: QueuedJob, pid: int, lives: Callable[[], bool]) -> None:
    """Wait for the end of a running job, and bring it about at the end of its time, or where it was cancelled; of one in another container, whose
    number is another process's here, for the end of its time."""
    while lives():
        now = None
        with contextlib.suppress(StorageFault):  # it is asked again
            now = local_queue_jobs.read(job.path)
        cancelled = now is not None and now.state is JobState.CANCELLED
        if job.is_here and (cancelled or job.seconds_left < 0):
            stop(pid, lives)
            if not cancelled:
                _end(job, JobState.TIMEOUT)
            return
        time.sleep(0.2)


def stop(pid: int, lives: Callable[[], bool]) -> None:
    """Ask the job to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not lives():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        patience = time.monotonic() + _GRACE_SECONDS
        while lives() and time.monotonic() < patience:
            time.sleep(0.1)


def _take_over(folder: Path) -> None:
    """Go on with what a killed runner has left behind: a job that has begun is waited for (how it ended only its run knows), one
    that was about to begin begins anew."""
    for job in local_queue_jobs.jobs(folder).values():
        # A cancelled job may still run, and its runner may have been killed before it could end it.
        if job.state not in (JobState.RUNNING, JobState.CANCELLED) or (job.attempt is None and job.pid is None):
            continue
        known = local_queue_jobs.began(job)
        if known is None:
            change(job, JobState.RUNNING, state=JobState.WAITING.value)
            continue
        if known.pid is not None and known.alive:
            watch(known, known.pid, lambda known=known: known.alive)  # type: ignore[misc]
        _end(known, JobState.FAILED)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except UserError as problem:
        print_error(problem)
        sys.exit(2)
