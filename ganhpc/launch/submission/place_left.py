"""Check before a night's script submits a job: jobs that came since the plan may have taken its place under the policy.

`python -m ganhpc.launch.submission.place_left RUN TAG LATEST [JOB BEFORE IT]..`; LATEST is the last second, since 1970, at which the job
may start, 0 where nothing bounds it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ganhpc.core import streams
from ganhpc.core.errors import UserError
from ganhpc.launch.policy.check import Request, rules_broken
from ganhpc.launch.policy.constraints import Constraints, ExistingJob
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.submission import prepare, recent_jobs
from ganhpc.launch.submission.planned_job import planned_job, report
from ganhpc.runs.run_files import Entry
from ganhpc.runs.run_folder import Run

_COUNTED = ("max_submitted", "max_reservations", "day_quota")
"""Rules on the number of jobs and on their sum, whatever their order."""
_FOREVER = dt.timedelta(days=31)


def broken(
    entry: Entry,
    latest: int,
    behind: Collection[str],
    rules: Constraints,
    queue: Sequence[Job],
) -> Iterator[str]:
    """The rules that the job of `entry` would break beside the jobs in `queue`, each as a sentence without its full stop.

    `rules` have the moment, and the jobs that ended today. `behind`: jobs that must have ended before it starts. Jobs of its own launch
    were planned together with it.
    """
    now = rules.calendar.local(rules.now)
    before = _all_before(behind, queue)
    launch = entry["tag"].partition("-")[0]
    own = {job.id for job in queue if job.tag.partition("-")[0] == launch}
    first = _earliest(entry, now, bool(own & before))
    last = _latest_end(entry, latest, first)
    others = [_beside(job, entry, now, last) for job in queue if not job.is_among(before | own)]
    span = Request(first, round(last.timestamp() - first.timestamp()))
    yield from _of(("max_jobs",), span, rules.with_jobs(others))
    request = Request(first, int(entry["seconds"]), reservation=entry["kind"] == "reservation")
    yield from _of(_COUNTED, request, rules.with_jobs([*rules.busy, *(prepare.busy_of(job, now) for job in queue)]))


def _of(names: Collection[str], request: Request, rules: Constraints) -> Iterator[str]:
    return (sentence for name, sentence in rules_broken(request, rules) if name in names)


def _all_before(behind: Collection[str], queue: Sequence[Job]) -> set[str]:
    """The jobs that have ended before it starts: those that it waits for, and those that they wait for."""
    after = {job.id: job.after for job in queue}
    found, left = set(behind), list(behind)
    while left:
        new = [id for id in after.get(left.pop(), ()) if id not in found]
        found.update(new)
        left += new
    return found


def _earliest(entry: Entry, now: dt.datetime, follows: bool) -> dt.datetime:
    """When it may start at the earliest; `follows`: behind a job of its own launch, which holds the place before it."""
    start = dt.datetime.fromisoformat(entry["start"])
    return max(start, now) if follows or entry["kind"] in ("begin", "reservation") else now


def _latest_end(entry: Entry, latest: int, first: dt.datetime) -> dt.datetime:
    length = dt.timedelta(seconds=int(entry["seconds"]))
    if entry["kind"] == "reservation":
        return first + length
    return max(first, dt.datetime.fromtimestamp(latest, first.tzinfo)) + length if latest else first + _FOREVER


def _beside(job: Job, entry: Entry, now: dt.datetime, last: dt.datetime) -> ExistingJob:
    """A job that it does not wait for. The end of one that waits is likely only: it counts for a reservation, as the planner takes it, and
    not for a job that may start beside it."""
    busy = prepare.busy_of(job, now)
    sure = job.state is not JobState.WAITING or job.reservation or entry["kind"] == "reservation"
    return busy if sure or busy.end is None else dataclasses.replace(busy, end=max(busy.end, last))


def check(run: Run, tag: str, latest: int, behind: Sequence[str]) -> str:
    """Raise UserError where the job with `tag`, of the plan in the record of `run`, may not be submitted now; nothing is to be said else."""
    entry, scheduler, policy = planned_job(run, tag)
    if not scheduler.origin.may_ask(entry):
        server = f", server {entry['servers'][0]}" if entry.get("servers") else ""
        where = registry.place(entry.get("scheduler", ""), entry.get("cluster", ""))
        raise UserError(
            f"this night was planned by {entry.get('user') or 'somebody else'} for {where}{server}, and this is another place or user: run the "
            "script as that user there, or plan anew with `python launch.py night`."
        )
    tz = prepare.zone(scheduler.site, policy)
    queue, now = scheduler.queue(), dt.datetime.now(tz)
    over = recent_jobs.ended_today(scheduler, policy, queue, now, tz)
    if why := next(broken(entry, latest, behind, Constraints(policy, tz, now, over), queue), ""):
        raise UserError(
            f"jobs of yours are there that this plan does not know: {why}. Nothing more is submitted; wait until they have ended, or plan "
            "anew with `python launch.py night`."
        )
    return ""


def main(words: Sequence[str]) -> None:
    """Check the job that `words` name: a run's folder, a tag, the last second to start, and the numbers of the jobs before it."""
    folder, tag, latest, *behind = words
    report(lambda: check(Run.at(Path(folder)), tag, int(latest), behind))


if __name__ == "__main__":
    streams.settle()
    main(sys.argv[1:])
