"""Check of a request as granted: admission rules and plugins of a site may change it, and a job that breaks the rules is taken back.

`python -m ganhpc.launch.submission.granted RUN TAG JOB [by=LATEST] [JOB BEFORE IT]..` does the same for a job that a night's script has submitted;
LATEST is the last second, since 1970, at which it may have been taken, 0 where nothing bounds it.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganhpc.core import streams
from ganhpc.core.errors import UserError
from ganhpc.launch.policy.policy import Policy, format_seconds
from ganhpc.launch.schedulers.base import Job, Refused, Scheduler
from ganhpc.launch.submission import recent_jobs
from ganhpc.launch.submission.planned_job import planned_job, report
from ganhpc.launch.submission.recent_jobs import Submitted
from ganhpc.runs import file_owner, submission_record
from ganhpc.runs.run_folder import Run

_SLACK = 60.0
"""Seconds that a granted walltime or start may differ where no rule is broken: schedulers round."""
_SHORTEST = 60
"""The shortest walltime that a scheduler may count in."""
TRIES, PAUSE_SECONDS = 4, 1.0
"""Number of questions to a scheduler that does not answer, and the seconds between them."""


@dataclass(frozen=True)
class Asked:
    """Parts of a request that the site may not change."""

    tag: str
    seconds: int
    start: dt.datetime | None = None
    """Before then it must not start."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended first."""


def check(scheduler: Scheduler, job: str, asked: Asked, policy: Policy) -> str:
    """Read back what `job` was granted. Returns what is to be said of it; takes back a job that breaks a rule, and raises Refused."""
    granted = _granted_by(scheduler, job, asked.tag)
    why = broken(granted, asked, policy) or _hidden(granted, job, asked) or _let_go(scheduler, granted, asked)
    if not granted and _is_ruled(policy):
        why = f"{scheduler.title} does not tell what became of the job, and policy {policy.name} has rules for it"
    elif why:
        why += ", by a rule of the site"
    if why:
        raise Refused(f"{why}; {_take_back(scheduler, list(dict.fromkeys([job, *(each.id for each in granted)])))}")
    said = []
    if granted and (walltime := granted[0].walltime) is not None and walltime < asked.seconds - _SLACK:
        said.append(f"the site shortened it from {format_seconds(asked.seconds)} to {format_seconds(round(walltime))}")
    if granted and granted[0].stuck:
        said.append(f"{scheduler.title} took it, and does not start it: {granted[0].why}")
    return "; ".join(said)


def take_back(scheduler: Scheduler, job: str) -> None:
    """End a job that was taken too late to end in time. Raises UserError where the scheduler does not do it."""
    if failed := _cancel(scheduler, [job]):
        raise UserError(
            f"job {job} was taken too late to end in time, and it could not be taken back ({failed}): cancel it by hand."
        )


def _take_back(scheduler: Scheduler, ids: Sequence[str]) -> str:
    """End the jobs. Returns the sentence on it, also where the scheduler does not answer."""
    many = f"jobs {', '.join(ids)} are" if len(ids) > 1 else f"job {ids[0]} is"
    return _cancel(scheduler, ids) or f"{many} taken back"


def _cancel(scheduler: Scheduler, ids: Sequence[str]) -> str:
    """End the jobs, every one of which is tried. Returns why some could not be ended; empty where all were."""
    failed = []
    for id in ids:
        try:
            scheduler.cancel(id)
        except UserError as error:
            failed.append(str(error).rstrip("."))
    return "; ".join(failed)


def _granted_by(scheduler: Scheduler, job: str, tag: str) -> list[Job]:
    """The jobs that the scheduler has made of one request, as it says now; [] where it says none."""
    for number in range(TRIES):
        time.sleep(PAUSE_SECONDS if number else 0)
        try:
            if granted := scheduler.granted(job, tag):
                return sorted(granted, key=lambda each: each.id != job)
        except UserError:
            continue
    return []


def broken(granted: Sequence[Job], asked: Asked, policy: Policy) -> str:
    """The rule that the granted job breaks, or an empty text."""
    if not granted:
        return ""
    if (number := sum(job.count for job in granted)) > 1:
        return f"it made {number} jobs of the one that was asked for"
    job = granted[0]
    if _is_ruled(policy) and job.state.alive and (job.walltime is None or job.walltime > _longest(asked, policy)):
        made = "one without an end" if job.walltime is None else f"one of {format_seconds(round(job.walltime))}"
        return f"it made {made} of a job of {format_seconds(asked.seconds)}, which policy {policy.name} doesn't allow"
    early = asked.start.timestamp() - _SLACK if asked.start else None
    if _is_ruled(policy) and early is not None and job.start is not None and job.start < early:
        return f"it starts the job before {asked.start:%a %d %b %H:%M:%S}, which policy {policy.name} doesn't allow"
    return ""


def _hidden(granted: Sequence[Job], job: str, asked: Asked) -> str:
    """The sentence on a job whose tag the site has replaced: nobody would find it again, and the same command would submit a second one."""
    if any(each.id == job and each.state.alive and each.tag != asked.tag for each in granted):
        return f"it took the tag {asked.tag} out of the job, by which the launcher finds it again"
    return ""


def _is_ruled(policy: Policy) -> bool:
    return policy.max_job is not None or policy.max_jobs is not None or bool(policy.edges)


def _longest(asked: Asked, policy: Policy) -> float:
    """The longest walltime that is no other than the one asked for. Rounding makes no job longer than the policy's longest, nor does it
    reach an edge."""
    exact = max(asked.seconds, _SHORTEST)
    if policy.edges:
        return exact
    return min(exact + _SLACK, max(policy.max_job or exact + _SLACK, exact))


def _let_go(scheduler: Scheduler, granted: Sequence[Job], asked: Asked) -> str:
    """The sentence on a job that was to wait for one that still lives, and does not."""
    missing = [id for job in granted[:1] if job.state.alive for id in asked.after if id not in job.after]
    living = [job.id for job in scheduler.jobs(missing).values() if job.state.alive] if missing else []
    return f"it does not wait for job {living[0]}, behind which it was to start" if living else ""


def _by_hand(run: Run, tag: str, job: str, after: Sequence[str], late: bool) -> str:
    """Check a job that a night's script has submitted behind the jobs `after`, by the record of its run; `late`: it was taken too late to end
    in time. Returns what is to be said. Raises UserError."""
    entry, scheduler, policy = planned_job(run, tag)
    start = dt.datetime.fromisoformat(entry["start"]) if entry["kind"] in ("begin", "reservation") else None
    try:
        said = check(scheduler, job, Asked(tag, int(entry["seconds"]), start, tuple(after)), policy)
    except Refused as refused:
        raise UserError(
            f"{scheduler.title}, job {job}: {refused}. Type the command of the night again to plan it anew."
        ) from None
    if late and entry["kind"] != "reservation":
        take_back(scheduler, job)
        raise UserError(
            f"{scheduler.title} took so long that job {job} could not end in time any more, and it is taken back. Nothing more is submitted; plan "
            "anew with `python launch.py night`."
        )
    submission_record.note_id(run, tag, job, here=scheduler.origin)
    begins = start.timestamp() if start else time.time()
    recent_jobs.add(scheduler.name, Submitted.at(scheduler.origin, job, begins, float(entry["seconds"]), tag))
    return said


def main(words: Sequence[str], taken: float | None = None) -> None:
    """Check the job that `words` name: a run's folder, a tag, the scheduler's number, and the numbers of the jobs before it. `taken`: a moment by
    which the scheduler had taken it; None: now."""
    folder, tag, job, *after = words
    latest = (
        int(after.pop(0).removeprefix("by=")) if after[:1] and after[0].startswith("by=") else 0
    )  # older scripts have none
    late = bool(latest) and (time.time() if taken is None else taken) > latest
    report(lambda: _by_hand(Run.at(Path(folder)), tag, job, after, late))


if __name__ == "__main__":
    streams.settle()
    main(sys.argv[1:], file_owner.began())
