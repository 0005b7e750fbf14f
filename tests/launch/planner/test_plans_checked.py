"""Whole submissions against a checker that was written from the rules alone: it walks over the wall clock and shares nothing with the
planner. It looks at what is asked of a scheduler (walltimes, deadlines, dependencies), not at the plan, and at every moment at which a
scheduler that is late, or early, may start a job."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.settings import Settings
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.planner.planner import Slot
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Availability, Job, JobRequest, JobState, PreparedJob
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission.prepare import Submission, Wanted
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.launch.planner.test_any_instant import OFFICIAL, ZONES, edges_by_hand, instants, policies, zones
from tests.launch.planner.test_planner import HOUR, OAR3

LATE, SHORTEST = 90, 60
"""How late a scheduler may start a job that is free to start, and the shortest walltime that one takes, in seconds."""
BASE = Cifar.from_preset("course").replace(data="synthetic")


class Printer(Slurm):
    """A scheduler of any abilities that is not here: requests are made and kept."""

    def __init__(self, able: Capabilities) -> None:
        super().__init__(Settings())
        self.name, self.able = able.name, able

    @cached_property
    def found(self) -> Availability:  # type: ignore[override]
        return Availability(False, "a test")

    def capabilities(self) -> Capabilities:
        return self.able

    def prepare(self, request: JobRequest) -> PreparedJob:
        return PreparedJob(request, "", (), Path("x"))


ABLE = {
    "oar": Capabilities("oar", reservations=True, begin=True),
    "slurm": Capabilities("slurm", begin=True),
    "oar3": OAR3,
}
limits = st.sampled_from([None, HOUR, 14 * HOUR, 62 * HOUR])
checked_policies = st.builds(
    dataclasses.replace,
    policies,
    night_limit=limits,
    weekend_limit=limits,
    day_quota=st.sampled_from([None, 2 * HOUR, 5 * 60, 36_000]),
    quota_free_job=st.sampled_from([0, HOUR]),
    quota_free_notice=st.sampled_from([0, 600]),
    min_slot=st.sampled_from([0, 1, 60, 300]),
    max_job=st.sampled_from([None, 45, 90, 600, HOUR, 5 * HOUR]),
    end_before_edge=st.sampled_from([0, 60]),
    start_after_edge=st.sampled_from([0, 60]),
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One launch."""

    policy: Policy
    tz: ZoneInfo
    now: dt.datetime
    queue: list[Job]
    works: list[int]
    scheduler: str
    window: Window | None

    def submission(self) -> Submission:
        wanted = [Wanted(Run(Path(f"/nowhere/cifar/run{k}")), BASE.replace(time=float(s), seed=k)) for k, s in enumerate(self.works)]  # fmt: skip
        zone = dataclasses.replace(self.policy, time_zone=str(self.tz))
        return submit.prepare(wanted, Printer(ABLE[self.scheduler]), zone, self.now, self.queue, self.window)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name, now = draw(zones), draw(instants)
    policy = draw(checked_policies)
    policy = dataclasses.replace(policy, country=ZONES[name] if policy.country else "")
    queue = []
    for id, (ago, seconds) in enumerate(draw(st.lists(st.tuples(st.integers(-4 * HOUR, 6 * HOUR), st.integers(60, 4 * HOUR)), max_size=2))):  # fmt: skip
        start = now.timestamp() + ago
        state = JobState.RUNNING if ago <= 0 else JobState.WAITING
        if start + seconds > now.timestamp():
            queue.append(Job(str(id), state, start=start, end=start + seconds, walltime=seconds, reservation=ago > 0))
    span = draw(st.one_of(st.none(), st.integers(2, 40 * HOUR)))
    window = span and Window(now, now + dt.timedelta(seconds=span))
    works = draw(st.lists(st.integers(120, 20 * HOUR), min_size=1, max_size=3))
    return Case(policy, ZoneInfo(name), now, queue, works, draw(st.sampled_from(sorted(ABLE))), window)


def pieces(case: Case, start: float, end: float) -> Iterator[tuple[str, dt.date, float]]:
    """(day, night or weekend; the working day or the one whose evening begins it; seconds) of [start, end), by the wall clock."""
    policy, tz = case.policy, case.tz

    def works(day: dt.date) -> bool:
        return day.weekday() < 5 and not (policy.country and day in OFFICIAL[policy.country])

    first = dt.datetime.fromtimestamp(start, tz).date() - dt.timedelta(days=12)
    last = dt.datetime.fromtimestamp(end, tz).date() + dt.timedelta(days=12)
    days = [first + dt.timedelta(days=k) for k in range((last - first).days)]
    working = [day for day in days if works(day)]
    spans = []
    for day, following in pairwise(working):
        begin, evening = (dt.datetime.combine(day, wall, tz).timestamp() for wall in (policy.day_start, policy.day_end))
        morning = dt.datetime.combine(following, policy.day_start, tz).timestamp()
        spans.append(("day", day, begin, evening))
        spans.append(("night" if (following - day).days == 1 else "weekend", day, evening, morning))
    for kind, day, begin, stop in spans:
        if (shared := min(end, stop) - max(start, begin)) > 0:
            yield kind, day, shared


def starts(case: Case, made: Submission, k: int) -> list[float]:
    """The moments at which a scheduler may start job `k`: as planned, as early as it can, as late as its deadline lets it."""
    slot, request = made.plan.slots[k], made.jobs[k].request
    planned = slot.start.timestamp()
    if slot.kind == "reservation":
        return [planned]
    early = planned
    if slot.kind == "chain":  # the job before it may end in its first second
        before = made.plan.slots[k - 1].start.timestamp() if k and not slot.after else case.now.timestamp()
        early = min(planned, before)
    late = request.deadline.timestamp() - request.seconds if request.deadline else planned + LATE
    return [early, planned, (planned + late) / 2, late]


def faults(case: Case, made: Submission) -> Iterator[str]:
    """The rules that a submission breaks, in words."""
    policy = case.policy
    used: dict[dt.date, float] = defaultdict(float)
    if policy.day_quota is not None:
        for job in case.queue:
            for kind, day, seconds in pieces(case, job.start or 0.0, job.end or 0.0):
                used[day] += seconds if kind == "day" else 0.0
    for k, (slot, job) in enumerate(zip(made.plan.slots, made.jobs, strict=True)):
        yield from _alone(case, made, k)
        yield from _length(case, slot, job.request)
        for start in starts(case, made, k):
            yield from _edges(case, slot, start, start + job.request.seconds)
        planned = slot.start.timestamp()
        free = (
            job.request.seconds <= policy.quota_free_job and planned - case.now.timestamp() < policy.quota_free_notice
        )
        for kind, day, seconds in pieces(case, planned, planned + job.request.seconds):
            most = {"night": policy.night_limit, "weekend": policy.weekend_limit}.get(kind)
            if most is not None and seconds > most:
                yield f"{seconds} s of the {kind} of {day}, of {most}"
            if kind == "day" and policy.day_quota is not None and not free:
                used[day] += seconds
                if used[day] > policy.day_quota + 1:
                    yield f"{used[day]} s of the day {day}"
    if sum(slot.kind == "reservation" for slot in made.plan.slots) > policy.max_reservations:
        yield "reservations"


def _length(case: Case, slot: Slot, request: JobRequest) -> Iterator[str]:
    if case.policy.max_job is not None and request.seconds > case.policy.max_job:
        yield f"a walltime of {request.seconds}"
    if slot.start.timestamp() < case.now.timestamp():
        yield "a start in the past"
    if slot.kind != "reservation":
        if request.seconds < SHORTEST:
            yield f"a walltime of {request.seconds}, which is none"
        if request.deadline and slot.start.timestamp() + request.seconds + LATE > request.deadline.timestamp():
            yield "no time in hand before the deadline"


def _edges(case: Case, slot: Slot, start: float, end: float) -> Iterator[str]:
    policy = case.policy
    moments = (dt.datetime.fromtimestamp(t, case.tz) for t in (start, end))
    job = dataclasses.replace(slot, start=next(moments), end=next(moments))
    for edge in edges_by_hand(policy, case.tz, case.now, job):
        if start < edge + policy.start_after_edge and end > edge - policy.end_before_edge:
            yield f"{job.start} to {job.end} at the edge {dt.datetime.fromtimestamp(edge, case.tz)} ({slot.kind})"


def _alone(case: Case, made: Submission, k: int) -> Iterator[str]:
    """One at a time: every job is beside, behind, or kept from, what is there and what comes with it."""
    policy, slots = case.policy, made.plan.slots
    if policy.max_jobs != 1:
        return
    slot, request = slots[k], made.jobs[k].request
    if not request.alone:
        yield "a job that may run beside another"
    for job in case.queue:
        assert job.start is not None and job.end is not None
        if slot.start.timestamp() < job.end + policy.gap and slot.end.timestamp() > job.start - policy.gap:
            yield f"beside job {job.id}"
    for later in slots[k + 1 :]:
        if later.start.timestamp() < slot.end.timestamp() + policy.gap:
            yield f"slot {slot.segment} reaches into the next"
        fixed = later.start.timestamp() - policy.gap if later.kind == "reservation" else float("inf")
        if slot.kind != "reservation" and request.deadline and request.deadline.timestamp() > fixed:
            yield "a job that may still run when a reservation begins"


@pytest.mark.slow  # a second of processor time: it computes
@settings(max_examples=150, deadline=None)
@given(cases())
def test_no_submission_breaks_a_rule_however_late_the_scheduler_is(case: Case) -> None:
    made = case.submission()
    assert not list(faults(case, made))
    asked = sum(case.works)
    done = sum(slot.work for slot in made.plan.slots) + sum(left.seconds for left in made.plan.remaining)
    assert asked == done, "every second is planned, or named as left"


def test_the_checker_sees_what_is_wrong() -> None:
    """Of a submission that keeps the rules, each change that breaks one is seen."""
    student = Policy(
        "p",
        max_job=HOUR,
        max_jobs=1,
        gap=61,
        edges=(dt.time(9), dt.time(19)),
        end_before_edge=60,
        start_after_edge=60,
        day_quota=36_000,
        night_limit=4 * HOUR,
    )
    now = dt.datetime(2026, 11, 23, 17, 30, tzinfo=ZoneInfo("Europe/Paris"))
    case = Case(student, ZoneInfo("Europe/Paris"), now, [], [3 * HOUR], "slurm", None)
    made = case.submission()
    assert not list(faults(case, made)) and len(made.jobs) >= 3
    longer = [dataclasses.replace(job, request=dataclasses.replace(job.request, seconds=HOUR + 1)) for job in made.jobs]
    assert list(faults(case, dataclasses.replace(made, jobs=tuple(longer))))
    beside = [dataclasses.replace(job, request=dataclasses.replace(job.request, alone=False)) for job in made.jobs]
    assert list(faults(case, dataclasses.replace(made, jobs=tuple(beside))))
    for change in ({"day_quota": 60}, {"night_limit": 60}, {"edges": (dt.time(17, 45),)}, {"gap": 3600}):
        assert list(faults(dataclasses.replace(case, policy=dataclasses.replace(student, **change)), made)), change
    later = dataclasses.replace(case, now=now + dt.timedelta(hours=1))
    assert list(faults(later, made))
