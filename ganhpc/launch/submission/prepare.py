"""Submission, first half: what may run when is planned, and every job is prepared as something that can be printed.

A dry run and a submission are one path; the dry run stops here, before ganhpc.launch.submission.submit.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.core.units import format_duration
from ganhpc.launch.planner import planner
from ganhpc.launch.planner.planning_window import Window, from_now, tonight
from ganhpc.launch.policy.constraints import Constraints, ExistingJob
from ganhpc.launch.policy.policy import Policy, format_seconds
from ganhpc.launch.schedulers.base import Job, JobRequest, JobState, PreparedJob, Scheduler, system_zone
from ganhpc.launch.submission import readiness
from ganhpc.launch.submission import recent_jobs as submitted
from ganhpc.runs import submission_record
from ganhpc.runs.experiment import Experiment, Resources
from ganhpc.runs.run_folder import Run

LEAST_SECONDS = 120
"""A job shorter than this would spend itself on starting."""

LEAST_WALLTIME = 60
"""The shortest walltime that a job is given: Slurm counts in minutes. The planner leaves room for it, and for SLACK_SECONDS."""

SLACK_SECONDS = 90
"""Seconds that a scheduler may start a free job late, without its missing its deadline (seen: 10 s on OAR, 30 s on Slurm)."""

_SAME_SECONDS = 60
"""A plan whose slots have moved by no more than this is the one that was shown."""

STARTUP_SECONDS = 90
"""Seconds of starting up and saving beside the training clock, at most."""

MARGINS = planner.Margins(shortest=LEAST_WALLTIME, late=SLACK_SECONDS, startup=STARTUP_SECONDS)
"""Margins of every plan: the one that is submitted, and the one that counts the nights of a scan."""

LONGEST_SECONDS = 3600
"""A job of a run without a known length, where the policy has no longest job."""

MOST_GUESSED = 24
"""Longest jobs at most for a run whose length is only guessed from its first epochs; `resume` looks again after them."""

RESERVE = 1.2
"""Factor on the measured rest of a run with fixed epochs."""


@dataclass(frozen=True)
class Wanted:
    """A run to submit: its folder (which need not exist in a dry run) and its definition."""

    run: Run
    experiment: Experiment
    segments: int | None = None
    """Longest jobs to chain for a run whose length is not known; None: one, which goes on by itself where it may."""
    submitted: float = 0.0
    """Seconds of it that jobs which wait or run will do already."""
    behind: tuple[Job, ...] = ()
    """Those jobs: no other of the run may start before they have ended."""

    @property
    def ready(self) -> dt.datetime | None:
        """When they are likely to have ended."""
        return max((_utc(job.end) for job in self.behind if job.end), default=None)


@dataclass(frozen=True)
class Submission:
    """Submission of one launch: the plan, and each job ready to be sent."""

    plan: planner.Plan
    jobs: tuple[PreparedJob, ...]
    scheduler: Scheduler
    policy: Policy
    launch: str
    now: dt.datetime | None = None
    """The moment that the plan goes from."""

    def to_json(self) -> dict[str, Any]:
        """The plan's JSON, with the script and the command of each job beside it."""
        scripts = [{"script": job.script, "command": job.command, "path": str(job.script_path)} for job in self.jobs]
        return {**self.plan.to_json(), "scheduler": self.scheduler.name, "policy": self.policy.name, "jobs": scripts}


def zone(site: Settings, policy: Policy) -> dt.tzinfo:
    """The clock that the rules go by: the site's configured zone, else the policy's, else this machine's."""
    if name := site.time_zone or policy.time_zone:
        return ZoneInfo(name)
    return system_zone()


def seconds_to_go(wanted: Wanted, policy: Policy) -> int:
    """The time that the run still wants, in seconds.

    With a bound on the time, that less what it has used. For fixed epochs: `segments` longest jobs; else what the epochs made so far
    tell of the rest, `MOST_GUESSED` longest jobs at most; before any, one.
    """
    budget = wanted.experiment.budget
    status = wanted.run.status() if wanted.run.status_json.exists() else {}
    used, epoch = status.get("seconds") or 0.0, status.get("epoch") or 0.0
    if budget.time is not None:
        return max(LEAST_SECONDS, round(budget.time - used - wanted.submitted))
    longest = policy.max_job or LONGEST_SECONDS
    if wanted.segments is not None:
        return max(1, wanted.segments - len(wanted.behind)) * longest
    if budget.epochs and 0 < epoch < budget.epochs:
        rest = RESERVE * (budget.epochs - epoch) * used / epoch
        least = longest if rest > longest / 2 else LEAST_SECONDS
        return max(least, round(min(rest, MOST_GUESSED * longest)))
    return longest


def prepare(
    wanted: Sequence[Wanted],
    scheduler: Scheduler,
    policy: Policy,
    now: dt.datetime,
    queue: Sequence[Job] = (),
    window: Window | None = None,
) -> Submission:
    """Plan the runs around the jobs in `queue`, and prepare each job. `window` bounds the plan (default: two weeks from now).

    Raises UserError where the jobs could not train, as far as the machine with the scheduler can see.
    """
    if wanted and scheduler.found.here:
        readiness.check(scheduler.site)
    tz = zone(scheduler.site, policy)
    named = _named(wanted)
    works = [
        planner.Work(
            name,
            seconds_to_go(w, policy),
            segment=_next_segment(w.run),
            ready=w.ready,
            after=w.behind[-1].id if w.behind else "",
        )
        for name, w in named.items()
    ]
    busy = [busy_of(job, now) for job in queue]
    over = submitted.ended_today(scheduler, policy, queue, now, tz)
    plan = planner.plan(
        works,
        policy,
        [*busy, *over],
        now,
        tz,
        window or from_now(tz, now),
        scheduler.capabilities(),
        margins=MARGINS,
    )
    launch = os.urandom(4).hex()
    bounded = window is not None
    make = _Requests(named, plan, scheduler, policy, launch, bounded, tuple(busy))
    return Submission(
        plan, tuple(scheduler.prepare(make.request(slot)) for slot in plan.slots), scheduler, policy, launch, now
    )


def _named(wanted: Sequence[Wanted]) -> dict[str, Wanted]:
    """The runs by the names that the plan gives them: their own; runs that were moved or renamed may share one, and have longer ones."""
    named: dict[str, Wanted] = {}
    for name_of in _NAMES:
        named = {name_of(w.run): w for w in wanted}
        if len(named) == len(wanted):
            break
    return named


_NAMES: tuple[Callable[[Run], str], ...] = (
    lambda run: run.name,
    lambda run: run.title,
    lambda run: str(run.folder.absolute()),
)


def differs(submission: Submission, shown: Submission) -> bool:
    """True if a plan is another one than the user has seen. Where all that moved is the present, by a minute at most, it is not."""
    ours, theirs = submission.plan, shown.plan
    pairs = list(zip(ours.slots, theirs.slots, strict=False))
    return (
        len(ours.slots) != len(theirs.slots)
        or any((a.run, a.segment, a.kind) != (b.run, b.segment, b.kind) for a, b in pairs)
        or any(_apart(a.start, b.start) or _apart(a.end, b.end) for a, b in pairs)
        or {left.run for left in ours.remaining} != {left.run for left in theirs.remaining}
    )


def _apart(a: dt.datetime, b: dt.datetime) -> bool:
    return abs(a.timestamp() - b.timestamp()) > _SAME_SECONDS


def without(submission: Submission, sent: int) -> Submission:
    """The submission without its first `sent` jobs."""
    plan = dataclasses.replace(submission.plan, slots=submission.plan.slots[sent:])
    return dataclasses.replace(submission, plan=plan, jobs=submission.jobs[sent:])


def joined(parts: Sequence[tuple[Submission, Sequence[Any]]]) -> Submission:
    """One submission of what was sent of several, each with its jobs."""
    last = parts[-1][0]
    slots = [slot for submission, sent in parts for slot in submission.plan.slots[: len(sent)]]
    jobs = [job for submission, sent in parts for job in submission.jobs[: len(sent)]]
    return dataclasses.replace(last, plan=dataclasses.replace(last.plan, slots=tuple(slots)), jobs=tuple(jobs))


def tonight_of(scheduler: Scheduler, policy: Policy, now: dt.datetime, queue: Sequence[Job] = ()) -> Window:
    """The night at hand; with a slot behind the morning edge where two reservations are left for the pair around it."""
    tz = zone(scheduler.site, policy)
    rules = Constraints(policy, tz, now, [busy_of(job, now) for job in queue])
    return tonight(policy, tz, now, edge_pair=scheduler.capabilities().reservations and rules.reservations_left >= 2)


class _Requests(NamedTuple):
    """Turns the slots of a plan into requests."""

    wanted: dict[str, Wanted]
    plan: planner.Plan
    scheduler: Scheduler
    policy: Policy
    launch: str
    bounded: bool
    busy: tuple[ExistingJob, ...]

    @property
    def site(self) -> Settings:
        """The settings, with what is typed in their place."""
        return self.scheduler.site

    def request(self, slot: planner.Slot) -> JobRequest:
        wanted = self.wanted[slot.run]
        resources = wanted.experiment.resources
        gpus = self._gpus(resources)
        tasks = resources.tasks_per_node or gpus or 1
        wanted.experiment.check_processes(resources.nodes * tasks)
        last = self._is_last(slot)
        endless = wanted.experiment.budget.time is None and wanted.segments is None
        return JobRequest(
            tag=f"{self.launch}-{slot.segment}-{os.urandom(2).hex()}",
            run=wanted.run.folder.absolute(),
            segment=slot.segment,
            seconds=_walltime(slot),
            kind=slot.kind,
            start=self._start(slot),
            deadline=self._deadline(slot),
            until=self._until(slot),
            most=self.policy.max_job,
            after=self._after(slot),
            alone=self.policy.max_jobs == 1,
            last=last,
            again=last and endless and slot.kind != "reservation",
            launch=self.launch,
            nodes=resources.nodes,
            gpus_per_node=gpus,
            tasks_per_node=tasks,
            typed_nodes=resources.nodes if resources.nodes_typed is True or resources.nodes > 1 else None,
            typed_gpus=resources.gpus_per_node,
            threads=resources.threads or 1,
            folder=_typed_in(),
        )

    def _gpus(self, resources: Resources) -> int:
        """GPUs on each node: none for the CPU; as typed; as the settings have them; else one, where a scheduler gives them out."""
        if resources.device == "cpu":
            if resources.gpus_per_node and self.scheduler.command:
                raise UserError(
                    f"--gpus-per-node {resources.gpus_per_node} asks for GPUs, and --device cpu uses none: leave out one of the two "
                    "(--tasks-per-node sets the number of processes)."
                )
            return 0
        named = resources.gpus_per_node if resources.gpus_per_node is not None else self.site.gpus_per_node
        if resources.device == "cuda" and named == 0 and self.scheduler.command:
            where = "--gpus-per-node 0" if resources.gpus_per_node == 0 else "gpus_per_node = 0 in the settings"
            raise UserError(
                f"--device cuda needs a GPU, and {where} asks for none: type --gpus-per-node 1, or --device auto."
            )
        if resources.gpus_per_node is not None:
            return resources.gpus_per_node
        known = self.scheduler.gpus_of_settings()
        usual = 0 if not self.scheduler.command else 1
        return usual if known is None else known

    def _after(self, slot: planner.Slot) -> tuple[str, ...]:
        """The jobs, none of this plan, that must have ended first. Where one runs at a time, each job that has no fixed time waits for every
        job expected before it, not for the last of them alone: an expected end may be late, and the job between may be taken back."""
        after = [slot.after] if slot.after else []
        first = next(s for s in self.plan.slots if s.run == slot.run)
        after += (
            [job.id for job in self.wanted[slot.run].behind] if slot is first and slot.kind != "reservation" else []
        )
        if self.policy.max_jobs == 1 and slot.kind not in ("reservation", "queue"):
            start = slot.start.timestamp()
            after += [job.job for job in self.busy if job.job and (job.end is None or job.end.timestamp() <= start)]
        return tuple(dict.fromkeys(after))

    def _start(self, slot: planner.Slot) -> dt.datetime:
        """When it may start. On this machine each follows the one before it, however early that ends, unless edges forbid it."""
        return self.plan.slots[0].start if slot.kind == "queue" and not self.policy.edges else slot.start

    def _is_last(self, slot: planner.Slot) -> bool:
        later = any(s.run == slot.run and s.segment > slot.segment for s in self.plan.slots)
        return not later and all(left.run != slot.run for left in self.plan.remaining)

    def _deadline(self, slot: planner.Slot) -> dt.datetime | None:
        """When a job that starts late must have ended all the same; None where nothing forbids it to be late."""
        return None if slot.kind == "reservation" else self._until(slot)

    def _until(self, slot: planner.Slot) -> dt.datetime | None:
        """When its trainer must have ended, also where the job's walltime is made longer; None where nothing forbids more."""
        real = self.bounded or slot.deadline.timestamp() < self.plan.window.end.timestamp()
        return slot.deadline if real else None


def _typed_in() -> Path | None:
    """The folder in which the command was typed, by the name that the shell has for it; None where it is gone."""
    try:
        here = Path.cwd()
        named = Path(os.environ.get("PWD", ""))
        return named if named.is_absolute() and named.samefile(here) else here
    except OSError:
        return None


def _walltime(slot: planner.Slot) -> int:
    """Seconds to ask for: the slot's; for a run's last job, with time to start up and save where the rules have it.

    A job that may start late keeps some in hand before its deadline, or the scheduler would give it up for a few seconds' delay.
    """
    if slot.kind == "reservation":
        return slot.seconds
    return min(slot.room, int(slot.deadline.timestamp() - slot.start.timestamp()) - SLACK_SECONDS)


def busy_of(job: Job, now: dt.datetime) -> ExistingJob:
    """A job of the queue as the planner takes it. One that waits has all of its time before it, whatever was expected; and it may start
    earlier than expected, which is why nothing is planned into a gap before it."""
    start, end = job.start or now.timestamp(), job.end
    if job.state is JobState.WAITING and start < now.timestamp():
        start, end = now.timestamp(), now.timestamp() + job.walltime if job.walltime else None
    loose = job.state is JobState.WAITING and not job.reservation
    since = _utc(max(job.not_before or 0.0, now.timestamp())) if loose else None
    return ExistingJob(_utc(start), _utc(end) if end else None, job.id, job.reservation, count=job.count, since=since)


def _utc(moment: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


def _next_segment(run: Run) -> int:
    return 1 + max((job["segment"] for job in submission_record.read(run)["jobs"] if job["job_id"]), default=0)


def check_whole(submission: Submission) -> None:
    """Raise UserError where the policy has no place for all of a request, with what would pass."""
    for left in submission.plan.remaining:
        if left.later and submission.plan.slots:
            continue
        granted = sum(slot.work for slot in submission.plan.slots if slot.run == left.run)
        way = f"type --time {format_duration(granted)}" if granted else "try another time, or another --policy"
        way = "wait for one of them to end" if left.later else way
        raise UserError(
            f"the policy {submission.policy.name!r} has no place for {format_seconds(left.seconds)} of {left.run}: {left.reason.rstrip('.')}; {way}."
        )
