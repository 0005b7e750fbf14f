"""The jobs that this user's launchers have submitted lately, from whatever folder: what the day quota counts where no scheduler tells."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, parse_json, read_text
from ganhpc.core.settings import state_folder
from ganhpc.launch.policy.constraints import Busy
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Job, Scheduler

_KEPT_SECONDS = 3 * 86_400


@dataclass(frozen=True)
class Submitted:
    """A job as it was planned: its id, start (seconds since 1970) and walltime."""

    id: str
    start: float
    seconds: float


def add(scheduler: str, job: Submitted) -> None:
    """Note a job; older ones than some days are forgotten. A full disk is no reason to give a job up."""
    kept = [each for each in _read(_file(scheduler)) if each.start > time.time() - _KEPT_SECONDS]
    with suppress(UserError, OSError), atomic_open(_file(scheduler), durable=False) as file:
        file.write("".join(json.dumps([each.id, each.start, each.seconds]) + "\n" for each in (*kept, job)).encode())


def ended_today(
    scheduler: Scheduler, policy: Policy, queue: Sequence[Job], now: dt.datetime, tz: dt.tzinfo
) -> list[Busy]:
    """This user's jobs that ran on the day of `now` and are over, where the policy counts them: from the scheduler, else as planned."""
    if policy.day_quota is None or not scheduler.found.here:
        return []
    midnight = dt.datetime.combine(now.astimezone(tz).date(), dt.time(), tz).timestamp()
    found = {job.id: job for job in scheduler.ended_since(midnight)}
    known = {*found, *(job.id for job in queue)}
    noted = {each.id: each for each in _read(_file(scheduler.name)) if each.id not in known}
    for id, job in scheduler.jobs(list(noted)).items() if noted else ():
        planned = noted[id]
        if job.start is None and not job.native and planned.start + planned.seconds > midnight:
            found[id] = Job(id, job.state, start=planned.start, end=planned.start + planned.seconds)
        elif job.start is not None and not job.state.alive:
            found[id] = job
    return [busy for job in found.values() if (busy := _busy(job, now.timestamp(), midnight))]


def _busy(job: Job, now: float, midnight: float) -> Busy | None:
    """The time that an ended job took; without its id, since no other job can wait for it."""
    end = min(job.end or now, now)
    if job.start is None or job.start >= end or end <= midnight:
        return None
    return Busy(dt.datetime.fromtimestamp(job.start, dt.UTC), dt.datetime.fromtimestamp(math.floor(end), dt.UTC))


def _file(scheduler: str) -> Path:
    return state_folder() / f"submitted-{scheduler}.jsonl"


def _read(path: Path) -> Iterator[Submitted]:
    try:
        lines = read_text(path).splitlines()
    except (FileNotFoundError, UserError):
        return
    for line in lines:
        with suppress(ValueError, TypeError, OverflowError):
            id, start, seconds = parse_json(line)
            if isinstance(id, str) and 0 < float(start) < 4e9 and 0 < float(seconds) < 1e8:
                yield Submitted(id, float(start), float(seconds))
