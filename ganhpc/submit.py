"""Submission: what may run when is planned, every job is prepared as something that can be printed, then sent.

A dry run and a submission are one path; the dry run stops before sending. One launcher at a time submits; what is about to be submitted
is written down first, with a tag that the scheduler keeps, so that a crash in between never submits twice.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ganhpc import plan as planner
from ganhpc.errors import Busy as BusyError
from ganhpc.errors import UserError
from ganhpc.experiment import Experiment
from ganhpc.files import read_json, storage_errors, write_json
from ganhpc.policy import Policy
from ganhpc.rules import Busy
from ganhpc.run import Run
from ganhpc.schedulers.base import Job, JobRequest, Prepared, Refused, Scheduler
from ganhpc.site import Site
from ganhpc.units import format_duration
from ganhpc.window import Window, from_now

LEAST_SECONDS = 120
"""A job shorter than this would spend itself on starting."""

SLACK_SECONDS = 90
"""How late a scheduler may start a job that is free to start, without its missing its deadline (seen: 10 s on OAR, 30 s on Slurm)."""


@dataclass(frozen=True)
class Wanted:
    """A run to submit: its folder (which need not exist in a dry run) and its definition."""

    run: Run
    experiment: Experiment


@dataclass(frozen=True)
class Submission:
    """What one launch submits: the plan, and each job ready to be sent."""

    plan: planner.Plan
    jobs: tuple[Prepared, ...]
    scheduler: Scheduler
    policy: Policy
    launch: str

    def to_json(self) -> dict[str, Any]:
        """The plan's JSON, with the script and the command of each job beside it."""
        scripts = [{"script": job.script, "command": job.command, "path": str(job.script_path)} for job in self.jobs]
        return {**self.plan.to_json(), "scheduler": self.scheduler.name, "policy": self.policy.name, "jobs": scripts}


def zone(site: Site) -> dt.tzinfo:
    """The time zone of the site's schedulers: configured, else this machine's."""
    if site.time_zone:
        return ZoneInfo(site.time_zone)
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return dt.UTC


def seconds_to_go(wanted: Wanted, policy: Policy) -> int:
    """The time that the run still wants: its budget less what it has used; for fixed epochs without a bound, one longest job."""
    budget = wanted.experiment.budget.time
    if budget is None:
        return int(policy.max_job or 3600)
    used = (wanted.run.status().get("seconds") or 0.0) if wanted.run.status_json.exists() else 0.0
    return max(LEAST_SECONDS, round(budget - used))


def prepare(
    wanted: Sequence[Wanted],
    scheduler: Scheduler,
    policy: Policy,
    now: dt.datetime,
    queue: Sequence[Job] = (),
    window: Window | None = None,
    tonight: bool = False,
) -> Submission:
    """Plan the runs around the jobs in `queue`, and prepare each job. `window` bounds the plan (default: two weeks from now,
    or the night at hand where `tonight`)."""
    site, tz = scheduler.site, zone(scheduler.site)
    if window is None and not tonight:
        window = from_now(tz, now)
    works = [planner.Work(w.run.name, seconds_to_go(w, policy), segment=_next_segment(w.run)) for w in wanted]
    plan = planner.plan(works, policy, [busy_of(job, now) for job in queue], now, tz, window, scheduler.capabilities())
    by_name = {w.run.name: w for w in wanted}
    launch = secrets.token_hex(4)
    ends = {slot.run: slot.segment for slot in plan.slots}
    whole = {left.run for left in plan.remaining}
    requests = []
    for slot in plan.slots:
        w = by_name[slot.run]
        last = slot.segment == ends[slot.run] and slot.run not in whole
        requests.append(_request(slot, w, site, policy, launch, last))
    return Submission(plan, tuple(scheduler.prepare(r) for r in requests), scheduler, policy, launch)


def _walltime(slot: planner.Slot) -> int:
    """Seconds to ask for: the slot's, but a job that may start late keeps some in hand before its deadline, or the scheduler
    would give it up for a few seconds' delay."""
    if slot.kind == "reservation":
        return slot.seconds
    room = slot.deadline.timestamp() - slot.start.timestamp() - SLACK_SECONDS
    return max(60, min(slot.seconds, int(room)))


def _request(slot: planner.Slot, wanted: Wanted, site: Site, policy: Policy, launch: str, last: bool) -> JobRequest:
    resources = wanted.experiment.resources
    gpus = resources.gpus_per_node if resources.gpus_per_node is not None else (site.gpus_per_node or 0)
    gpus = 0 if resources.device == "cpu" else gpus
    return JobRequest(
        tag=f"{launch}-{slot.segment}-{secrets.token_hex(2)}",
        run=wanted.run.folder.absolute(),
        segment=slot.segment,
        seconds=_walltime(slot),
        kind=slot.kind,
        start=slot.start,
        # Without edges and other jobs a job may start whenever: a deadline is only where the plan has one soon.
        deadline=slot.deadline if slot.kind != "reservation" and policy.edges and _soon(slot) else None,
        after=(slot.after,) if slot.after else (),
        alone=policy.max_jobs == 1,
        last=last,
        launch=launch,
        nodes=resources.nodes,
        gpus_per_node=gpus,
        tasks_per_node=resources.tasks_per_node or gpus or 1,
    )


def _soon(slot: planner.Slot) -> bool:
    return slot.deadline.timestamp() - slot.start.timestamp() < 7 * 86_400


def busy_of(job: Job, now: dt.datetime) -> Busy:
    """A job of the queue as the planner takes it."""
    start = dt.datetime.fromtimestamp(job.start, dt.UTC) if job.start else now
    end = dt.datetime.fromtimestamp(job.end, dt.UTC) if job.end else None
    return Busy(start, end, job.id, job.reservation)


def _next_segment(run: Run) -> int:
    jobs = (read_json(run.request_json) or {}).get("jobs", [])
    return 1 + max((job["segment"] for job in jobs if job.get("job_id")), default=0)


# -- sending ------------------------------------------------------------------------------------------------------------


@contextmanager
def one_launcher(scheduler: str) -> Iterator[None]:
    """One launcher of this user at a time looks at the queue and submits; another waits up to a minute. Raises Busy."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "ganhpc"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / f"submit-{scheduler}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(600):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise BusyError(
                "another launcher of yours is submitting for over a minute: wait for it, then type the command again."
            )
        yield
    finally:
        os.close(handle)


def refuse_submitted(wanted: Sequence[Wanted], queue: Sequence[Job]) -> None:
    """Raise UserError where a run has a living job already: it was submitted before, or a crash cut an earlier submission."""
    by_id, by_tag = {job.id: job for job in queue}, {job.tag: job for job in queue if job.tag}
    for w in wanted:
        record = read_json(w.run.request_json) or {"jobs": []}
        alive = []
        for entry in record["jobs"]:
            job = by_id.get(entry.get("job_id") or "") or by_tag.get(entry["tag"])
            if job:
                entry["job_id"] = job.id
                alive.append(job)
        if alive:
            write_json(w.run.request_json, record)
            jobs = ", ".join(f"{job.id} ({job.state.value})" for job in alive)
            raise UserError(
                f"{w.run} is submitted already, as job {jobs}: `python launch.py status` shows it, "
                f"`python launch.py cancel {w.run.name}` takes it back."
            )


def send(submission: Submission, wanted: Sequence[Wanted]) -> list[str]:
    """Submit every job of the plan in order; returns their ids.

    Raises UserError where the scheduler refuses one; those before it stay, and are named.
    """
    runs = {w.run.name: w.run for w in wanted}
    for run in runs.values():
        _write_intent(run, submission)
    ids: list[str] = []
    for slot, prepared in zip(submission.plan.slots, submission.jobs, strict=True):
        after = prepared.request.after
        if slot.kind == "chain" and not after and ids:
            after = (ids[-1],)
        job = dataclasses.replace(prepared.request, after=after)
        ready = submission.scheduler.prepare(job)
        try:
            id = submission.scheduler.submit(ready)
        except Refused as refused:
            raise UserError(_refused(submission, ids, refused)) from None
        ids.append(id)
        _note_id(runs[slot.run], job.tag, id, ready.command)
    return ids


def _refused(submission: Submission, ids: list[str], refused: Refused) -> str:
    name = {"oar": "OAR", "slurm": "Slurm"}.get(submission.scheduler.name, submission.scheduler.name)
    kept = (
        f"; job{'s' if len(ids) > 1 else ''} {', '.join(ids)} before it stay submitted"
        if ids
        else "; nothing is submitted"
    )
    offered = f"; {name} offers {refused.earliest:%a %d %b %H:%M:%S}" if refused.earliest else ""
    return f"{name} refused job {len(ids) + 1} of {len(submission.jobs)}: {refused}{offered}{kept}. Type the command again to go on."


def _write_intent(run: Run, submission: Submission) -> None:
    """Write down what is about to be submitted for `run`."""
    record = read_json(run.request_json) or {"jobs": []}
    record |= {"scheduler": submission.scheduler.name, "policy": submission.policy.name, "launch": submission.launch}
    record["submitted"] = time.time()
    record.pop("cancelled", None)
    # A job without an id was never accepted (or refuse_submitted would have found it by its tag).
    record["jobs"] = [job for job in record["jobs"] if job.get("job_id")]
    for slot, prepared in zip(submission.plan.slots, submission.jobs, strict=True):
        if slot.run == run.name:
            entry = {**slot.to_json(), "tag": prepared.request.tag, "seconds": slot.seconds, "job_id": None}
            record["jobs"].append({**entry, "last": prepared.request.last, "launch": submission.launch})
    write_json(run.request_json, record)


def _note_id(run: Run, tag: str, id: str, command: str) -> None:
    record = read_json(run.request_json) or {"jobs": []}
    for entry in record["jobs"]:
        if entry["tag"] == tag:
            entry |= {"job_id": id, "command": command}
    write_json(run.request_json, record)


def check_whole(submission: Submission) -> None:
    """Raise UserError where the policy has no place for all of a request, with what would pass."""
    for left in submission.plan.remaining:
        granted = sum(slot.work for slot in submission.plan.slots if slot.run == left.run)
        way = f"type --time {format_duration(granted)}" if granted else "try another time, or another --policy"
        raise UserError(
            f"the policy {submission.policy.name!r} has no place for {format_duration(left.seconds)} of {left.run}: {left.reason}; {way}."
        )
