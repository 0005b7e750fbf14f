"""This machine as a scheduler: a queue of jobs that run one after another in the background, kept in files.

ganhpc.local_queue runs them; it is started with the first job and ends with the last.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganhpc import script_text
from ganhpc.files import read_json, storage_errors, write_json
from ganhpc.schedulers.base import (
    Found,
    Job,
    JobRequest,
    JobState,
    Prepared,
    Scheduler,
    foreseen,
    node_command,
    setup_lines,
)
from ganhpc.site import ROOT, state_folder

RUNNER_LOCK = "runner.lock"
"""Held by the living runner of the queue."""


class Local(Scheduler):
    """See the module."""

    name = "local"

    def find(self) -> Found:
        return Found(True, "jobs run on this machine")

    def cluster(self) -> str:
        return os.uname().nodename

    def prepare(self, request: JobRequest) -> Prepared:
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = script_text.fill(
            "local.sh",
            segment=script_text.number(request.segment),
            run=script_text.comment(request.run.name),
            log=script_text.word(request.log),
            setup=setup_lines(self.site, self.name, request),
            command=node_command(self.site, request),
        )
        return Prepared(request, script, ("bash", str(path)), path)

    def submit(self, prepared: Prepared) -> str:
        request = prepared.request
        folder = queue_folder()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # Jobs run in the order of their numbers.
        number = 1 + max((int(path.stem) for path in folder.glob("*.json")), default=0)
        tree = {
            "script": str(prepared.script_path),
            "tag": request.tag,
            "seconds": request.seconds,
            "not_before": request.start.timestamp() if request.start else None,
            "until": request.deadline.timestamp() if request.deadline else None,
            "state": JobState.WAITING.value,
        }
        write_json(folder / f"{number}.json", tree)
        start_runner()
        return str(number)

    def queue(self) -> list[Job]:
        jobs: list[Job] = []
        before: tuple[str, ...] = ()
        for number, tree in sorted(_trees().items()):
            job = _job(number, tree, before)
            if job.state.alive:
                jobs.append(job)
                before = (job.id,)
        return foreseen(jobs, time.time())

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        trees = _trees()
        return {id: _job(int(id), trees[int(id)], ()) if int(id) in trees else Job(id, JobState.UNKNOWN) for id in ids}

    def cancel(self, job: str) -> None:
        path = queue_folder() / f"{job}.json"
        tree = read_json(path)
        if tree and JobState(tree["state"]).alive:
            write_json(path, {**tree, "state": JobState.CANCELLED.value})


def queue_folder() -> Path:
    """Where the queue of this user on this machine lies: one file a job, named by its number."""
    return state_folder() / f"queue-{os.uname().nodename}"


def start_runner() -> None:
    """Start the process that runs the queue, away from this one; where it lives already, the new one ends at once."""
    with storage_errors(queue_folder()), (queue_folder() / "runner.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "ganhpc.local_queue", str(queue_folder())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def runner_lives() -> bool:
    """Whether a runner holds the queue."""
    try:
        handle = os.open(queue_folder() / RUNNER_LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _trees() -> dict[int, dict[str, Any]]:
    return {int(path.stem): tree for path in queue_folder().glob("*.json") if (tree := read_json(path))}


def _job(number: int, tree: dict[str, Any], after: tuple[str, ...]) -> Job:
    state = JobState(tree["state"])
    if state is JobState.RUNNING and not alive(tree) and not runner_lives():
        state = JobState.FAILED  # the machine went down, or the runner was killed with it
    start = tree.get("started") or (tree.get("not_before") if state is JobState.WAITING else None)
    return Job(
        str(number),
        state,
        tree["state"],
        tag=tree["tag"],
        start=max(start, time.time()) if start and state is JobState.WAITING and not tree.get("started") else start,
        end=tree.get("ended") or (tree["started"] + tree["seconds"] if tree.get("started") else None),
        walltime=tree["seconds"],
        exit_code=tree.get("exit_code"),
        after=after,
        not_before=tree.get("not_before"),
    )


def alive(tree: dict[str, Any]) -> bool:
    """Whether the process of a running job still is that process."""
    try:
        stat = Path(f"/proc/{tree['pid']}/stat").read_text().rpartition(")")[2].split()
    except (OSError, KeyError):
        return False
    return stat[0] != "Z" and stat[19] == tree.get("born")
