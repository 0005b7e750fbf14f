"""What a scheduler made of a request: admission rules and plugins of a site may change it, and a job that breaks the rules is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from ganhpc.launch.policy.policy import Policy, say_seconds
from ganhpc.launch.schedulers.base import Job, JobRequest, Refused, Scheduler

_SLACK = 60.0
"""Seconds that a granted walltime or start may differ: schedulers round."""


def check(scheduler: Scheduler, job: str, request: JobRequest, policy: Policy) -> str:
    """Read back what `job` was granted. Returns what is to be said of it; takes back a job that breaks a rule, and raises Refused."""
    granted = scheduler.granted(job)
    if why := broken(granted, request, policy):
        scheduler.cancel(job)
        raise Refused(f"{why}, by a rule of the site; job {job} is taken back")
    if granted and (walltime := granted[0].walltime) is not None and walltime < request.seconds - _SLACK:
        return f"the site shortened it from {say_seconds(request.seconds)} to {say_seconds(round(walltime))}"
    return ""


def broken(granted: Sequence[Job], request: JobRequest, policy: Policy) -> str:
    """The rule that the granted job breaks, or an empty text."""
    if not granted:
        return ""  # the scheduler doesn't tell
    if len(granted) > 1:
        return f"it made {len(granted)} jobs of the one that was asked for"
    job = granted[0]
    ruled = policy.max_job is not None or policy.max_jobs is not None or policy.edges
    if ruled and (job.walltime is None or job.walltime > request.seconds + _SLACK):
        made = "one without an end" if job.walltime is None else f"one of {say_seconds(round(job.walltime))}"
        return f"it made {made} of a job of {say_seconds(request.seconds)}, which policy {policy.name} doesn't allow"
    early = request.start.timestamp() - _SLACK if request.start and request.kind in ("begin", "reservation") else None
    if ruled and early is not None and job.start is not None and job.start < early:
        return f"it starts the job before {request.start:%a %d %b %H:%M:%S}, which policy {policy.name} doesn't allow"
    return ""
