"""The jobs that this user's launchers have submitted lately, from whatever folder: what the day quota counts where no scheduler tells."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, parse_json, raise_passing, read_text
from ganhpc.core.settings import state_folder
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Job, Scheduler
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_files import is_job_id

_KEPT_SECONDS = 3 * 86_400


@dataclass(frozen=True)
class Submitted:
    """A job as it was planned: its id, start (seconds since 1970) and walltime, its cluster, its tag and the cluster's servers.

    Numbers are given again: by another cluster, and by the same one once its database was made anew.
    """

    id: str
    start: float
    seconds: float
    cluster: str = ""
    tag: str = ""
    servers: tuple[str, ...] = ()

    @staticmethod
    def at(here: Origin, id: str, start: float, seconds: float, tag: str) -> Submitted:
        """A job that was submitted here."""
        return Submitted(id, start, seconds, here.cluster, tag, here.servers)

    def may_be_of(self, here: Origin) -> bool:
        """True if it names no other place."""
        return here.may_ask({"cluster": self.cluster, "servers": list(self.servers)})

    def is_among(self, known: Mapping[str, Job]) -> bool:
        """True if it is one of the jobs that the scheduler knows, by their numbers."""
        job = known.get(self.id)
        return job is not None and (not job.tag or not self.tag or job.tag == self.tag)


def add(scheduler: str, job: Submitted) -> None:
    """Note a job; older ones than some days are forgotten. A full disk is no reason to give a job up."""
    with suppress(UserError, OSError):
        kept = [each for each in _read(_file(scheduler)) if each.start > time.time() - _KEPT_SECONDS]
        with atomic_open(_file(scheduler), durable=False) as file:
            file.write("".join(json.dumps(dataclasses.astuple(each)) + "\n" for each in (*kept, job)).encode())


def ended_today(
    scheduler: Scheduler, policy: Policy, queue: Sequence[Job], now: dt.datetime, tz: dt.tzinfo
) -> list[ExistingJob]:
    """This user's jobs that ran on the day of `now` and are over, where the policy counts them: from the scheduler, else as planned. Raises
    UserError where neither can be read."""
    if policy.day_quota is None or not scheduler.found.here:
        return []
    midnight = dt.datetime.combine(now.astimezone(tz).date(), dt.time(), tz).timestamp()
    living = {job.id: job for job in queue}
    ended = [job for job in scheduler.ended_since(midnight) if _is_apart(job, living.get(job.id))]
    known = {job.id: job for job in (*ended, *queue)}
    mine = (each for each in _read(_file(scheduler.name)) if each.may_be_of(scheduler.origin))
    noted = [each for each in mine if not each.is_among(known)]
    told = scheduler.jobs([each.id for each in noted]) if noted else {}
    for each in noted:
        job = told[each.id]
        # One that is forgotten, or whose number is another job's by now, counts as planned.
        if not job.native or not each.is_among(told):
            ended.append(Job(each.id, job.state, start=each.start, end=each.start + each.seconds))
        elif job.start is not None and not job.state.alive:
            ended.append(job)
    return [busy for job in ended if (busy := _busy(job, now.timestamp(), midnight))]


def _is_apart(job: Job, living: Job | None) -> bool:
    """True if a job that has ended is none of the queue's, or what one of these did before it was sent again. One that ended while the two questions
    were asked, or whose state has no name here, is in the queue: it counts once."""
    return living is None or (job.end is not None and living.start is not None and job.end <= living.start)


def _busy(job: Job, now: float, midnight: float) -> ExistingJob | None:
    """The time that an ended job took; without its id, since no other job can wait for it."""
    end = min(job.end or now, now)
    if job.start is None or job.start >= end or end <= midnight:
        return None
    return ExistingJob(dt.datetime.fromtimestamp(job.start, dt.UTC), dt.datetime.fromtimestamp(math.floor(end), dt.UTC))


def _file(scheduler: str) -> Path:
    return state_folder() / f"submitted-{scheduler}.jsonl"


def _read(path: Path) -> Iterator[Submitted]:
    """The notes in `path`. Raises StorageFault for a fault that may pass: without them a day's quota would be used twice."""
    try:
        lines = read_text(path).splitlines()
    except FileNotFoundError:
        return
    except UserError as error:
        raise_passing(error)
        return
    for line in lines:
        with suppress(ValueError, TypeError, OverflowError):
            id, start, seconds, *more = parse_json(line)
            cluster, tag, servers = more + ["", "", []][len(more) :]  # older versions wrote less
            # Its scheduler is asked for the number: no other word may become one of a command's.
            texts = is_job_id(id) and all(isinstance(text, str) for text in (cluster, tag, *servers))
            if texts and 0 < float(start) < 4e9 and 0 < float(seconds) < 1e8:
                yield Submitted(id, float(start), float(seconds), cluster, tag, tuple(servers))
