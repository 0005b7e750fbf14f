"""A scheduler in memory that answers as it is told, and jobs for it."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from ganhpc.core.settings import Settings
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.planner.planner import Plan, Slot
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Availability, Job, JobRequest, JobState, PreparedJob, Refused
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission.prepare import SLACK_SECONDS, Submission, Wanted
from ganhpc.launch.submission.submit import send
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar

HOUR = 3600
NOW = dt.datetime(2026, 11, 23, 20, 0, tzinfo=dt.UTC)
POLICY = Policy("p", max_job=HOUR, max_jobs=1, gap=61)
HERE = Origin("slurm", "alpha", os.getuid(), "me")
Answer = str | Refused


class Fake(Slurm):
    """Gives one answer after another; ids 1, 2, 3 where it has none left."""

    def __init__(self, *answers: Answer, able: Capabilities | None = None, site: Settings | None = None) -> None:
        super().__init__(site or Settings())
        self.answers, self.taken, self.able = list(answers), [], able
        self.origin = HERE  # type: ignore[misc]

    def find(self) -> Availability:
        return Availability(True, "here")

    def capabilities(self) -> Capabilities:
        return self.able or super().capabilities()

    def prepare(self, request: JobRequest) -> PreparedJob:
        script = request.run / "jobs" / f"{request.tag}-{request.kind}.sh"
        return PreparedJob(request, f"walltime {request.seconds}\n", ("sbatch", str(script)), script)

    def submit(self, prepared: PreparedJob) -> str:
        self.taken.append(prepared)
        answer = self.answers.pop(0) if self.answers else str(len(self.taken))
        if isinstance(answer, Refused):
            raise answer
        return answer

    def granted(self, job: str, tag: str) -> list[Job]:
        asked = self.taken[-1].request
        return [Job(job, JobState.WAITING, "PENDING", tag=tag, walltime=asked.seconds, after=asked.after)]


def wanted(tmp_path: Path, name: str = "run", **values: object) -> Wanted:
    experiment = Cifar.from_preset("course").replace(**{"data": "synthetic", "time": 2.0 * HOUR, **values})
    folder = tmp_path / "runs" / "cifar" / name
    folder.mkdir(parents=True, exist_ok=True)
    return Wanted(Run(folder), experiment)


def job(w: Wanted, start: int, kind: str = "chain", seconds: int = HOUR, **more: object) -> tuple[Slot, JobRequest]:
    """A slot and its request, `start` seconds after now."""
    begin, end = NOW + dt.timedelta(seconds=start), NOW + dt.timedelta(seconds=start + seconds)
    tag = f"tag-{w.run.folder.name}-{start}"
    slot = Slot(w.run.name, 1 + start // HOUR, begin, end, kind, "It does.", end, work=seconds - 60)
    latest = {"deadline": end + dt.timedelta(seconds=SLACK_SECONDS), **more}
    return slot, JobRequest(tag, w.run.folder, slot.segment, seconds, kind, begin, launch="L", **latest)  # type: ignore[arg-type]


def submission(scheduler: Fake, *pairs: tuple[Slot, JobRequest]) -> Submission:
    slots = tuple(slot for slot, _ in pairs)
    plan = Plan(slots, (), Window(NOW, NOW + dt.timedelta(days=1)))
    return Submission(plan, tuple(scheduler.prepare(request) for _, request in pairs), scheduler, POLICY, "L", NOW)


def sent_jobs(tmp_path: Path, *lasts: bool, name: str = "run", **values: object) -> Wanted:
    w = wanted(tmp_path, name, **values)
    pairs = [job(w, 4000 * k, "now" if not k else "chain", last=last) for k, last in enumerate(lasts)]
    send(submission(Fake(), *pairs), [w], "student")
    return w


def queued(w: Wanted, k: int, id: str | None = None, state: JobState = JobState.WAITING, **more: object) -> Job:
    return Job(id or str(k + 1), state, tag=f"tag-{w.run.folder.name}-{4000 * k}", **more)  # type: ignore[arg-type]
