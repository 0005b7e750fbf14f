"""Jobs in the queue of this machine."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import local, local_queue_jobs, local_queue_worker
from ganhpc.launch.schedulers.base import JobRequest, JobState, PreparedJob
from ganhpc.launch.schedulers.local import Local
from tests.waiting import wait_for


def send(
    folder: Path, tag: str, lines: str, seconds: int = 60, start: dt.datetime | None = None, **values: object
) -> str:
    """Submit a job of these shell lines; returns its id."""
    script = folder / f"{tag}.sh"
    script.write_text(f"exec >>{folder}/out.txt\n{lines}\n")
    request = JobRequest(tag=tag, run=folder, segment=1, seconds=seconds, kind="queue", start=start, **values)  # type: ignore[arg-type]
    return Local(Settings()).submit(PreparedJob(request, "", ("bash", str(script)), script))


def ended(id: str) -> JobState:
    """The state in which the job ended."""
    wait_for(lambda: not Local(Settings()).jobs([id])[id].state.alive)
    return Local(Settings()).jobs([id])[id].state


def said(folder: Path) -> str:
    """All that jobs have written."""
    path = folder / "out.txt"
    return path.read_text() if path.exists() else ""


def waiting_job(state: Path, lines: str, **values: object) -> local_queue_jobs.QueuedJob:
    """A job in a queue that nobody runs yet."""
    script = state / "job.sh"
    script.write_text(f"exec >>{state}/out.txt\n{lines}\n")
    number = local_queue_jobs.add(local.queue_folder(), {"script": str(script), "tag": "t", "seconds": 60, **values})
    return local_queue_jobs.jobs(local.queue_folder())[number]


def runner() -> None:
    """Run the queue to its end."""
    assert local_queue_worker.main(local.queue_folder()) == 0
