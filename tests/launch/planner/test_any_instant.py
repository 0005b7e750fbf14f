"""Rules of the planner that must hold at any instant of several years, for any policy, jobs and scheduler."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from itertools import pairwise
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.planner import Overhead, Plan, Slot, Work, plan
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from tests.launch.planner.test_planner import (
    FREE,
    GRID,
    HOUR,
    OAR3,
    STUDENT,
)

ZONES = {"Europe/Paris": "FR", "UTC": "", "America/New_York": "US", "Australia/Lord_Howe": "AU", "Asia/Kolkata": "IN"}
OFFICIAL = {
    country: holidays.country_holidays(country, years=range(2023, 2036)) for country in ZONES.values() if country
}
TURNS = [
    dt.datetime(*day, tzinfo=dt.UTC)
    for day in ((2027, 3, 26), (2027, 10, 29), (2026, 12, 24), (2028, 3, 11), (2029, 11, 3))
]
instants = st.one_of(
    st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2032, 12, 31), timezones=st.just(dt.UTC)),
    st.builds(lambda day, s: day + dt.timedelta(seconds=s), st.sampled_from(TURNS), st.floats(0, 4 * 86_400)),
)
zones = st.sampled_from(sorted(ZONES))
runs = st.lists(st.integers(1, 3 * 86_400), min_size=1, max_size=5).map(
    lambda lengths: [Work(f"run{i}", seconds, 1 + i, [None, 8, 256][i % 3]) for i, seconds in enumerate(lengths)]
)
policies = st.builds(
    dataclasses.replace,
    st.sampled_from([STUDENT, GRID, FREE]),
    max_job=st.sampled_from([None, 600, HOUR, 75 * 60, 5 * HOUR]),
    max_jobs=st.sampled_from([None, 1, 1, 2]),
    gap=st.sampled_from([61, 61, 0, 300]),
    edges=st.sampled_from([(dt.time(9), dt.time(19)), (dt.time(9),), (), (dt.time(2, 30), dt.time(9))]),
    edge_days=st.sampled_from(["working", "every"]),
    lax=st.booleans(),
    cores=st.sampled_from([None, 256]),
    max_reservations=st.integers(0, 3),
    min_slot=st.sampled_from([0, 300]),
)
offsets = st.integers(-5 * HOUR, 60 * HOUR)
jobs = st.lists(st.tuples(offsets, st.one_of(st.none(), st.integers(1, 8 * HOUR)), st.booleans()), max_size=4)
schedulers = st.sampled_from([Oar.able, Slurm.able, QUEUE, OAR3])
overheads = st.sampled_from([Overhead(), Overhead(45, 20)])


@dataclasses.dataclass
class Case:
    """One question to the planner."""

    works: list[Work]
    policy: Policy
    busy: list[ExistingJob]
    now: dt.datetime
    tz: ZoneInfo
    window: Window | None
    scheduler: Capabilities
    overhead: Overhead

    def ask(self, **changes: object) -> Plan:
        asked = dataclasses.replace(self, **changes)
        return plan(*(getattr(asked, item.name) for item in dataclasses.fields(Case)))


@st.composite
def cases(draw: st.DrawFn, any_policy: st.SearchStrategy[Policy] = policies) -> Case:
    name, now = draw(zones), draw(instants)
    tz, policy = ZoneInfo(name), draw(any_policy)
    policy = dataclasses.replace(policy, country=ZONES[name] if policy.country else "")
    busy = [
        ExistingJob(
            now + dt.timedelta(seconds=start), seconds and now + dt.timedelta(seconds=start + seconds), str(i), reserved
        )
        for i, (start, seconds, reserved) in enumerate(draw(jobs))
    ]
    # Two seconds at least after `now`: the planner counts whole seconds, and an empty window is a user's mistake.
    span = draw(st.one_of(st.none(), st.tuples(st.integers(-HOUR, 80 * HOUR), st.integers(HOUR + 2, 90 * HOUR))))
    chosen = span and Window(now + dt.timedelta(seconds=span[0]), now + dt.timedelta(seconds=sum(span)))
    return Case(draw(runs), policy, busy, now, tz, chosen, draw(schedulers), draw(overheads))


def edges_by_hand(policy: Policy, tz: ZoneInfo, now: dt.datetime, slot: Slot) -> list[float]:
    """The edges around a slot, by a walk over the minutes of the wall clock that shares nothing with the planner."""
    found, submitted = [], now.astimezone(tz)
    day = (slot.start - dt.timedelta(days=2)).date()
    while day <= slot.end.date() + dt.timedelta(days=2):
        working = day.weekday() < 5 and not (policy.country and day in OFFICIAL[policy.country])
        for wall in policy.edges if working or policy.edge_days == "every" else ():
            lax_morning = wall == policy.day_start
            lax_evening = wall == policy.day_end and submitted.time() >= policy.lax_evening_from
            if not (policy.lax and submitted.date() == day and (lax_morning or lax_evening)):
                moments = [dt.datetime.combine(day, wall, tz).replace(fold=fold) for fold in (0, 1)]
                exists = moments[0].astimezone(dt.UTC).astimezone(tz).time() == wall
                found += [moment.timestamp() for moment in (moments if exists else moments[:1])]
        day += dt.timedelta(days=1)
    return found


def latest_end(job: ExistingJob, case: Case) -> float:
    """When a job has surely ended: one longest job from now on where that is unknown."""
    if job.end is not None:
        return job.end.timestamp()
    return max(job.start, case.now).timestamp() + (case.policy.max_job or float("inf"))


@pytest.mark.slow  # 2 s of processor time: it computes
@settings(max_examples=400, deadline=None)
@given(cases())
def test_every_rule_holds_at_any_instant(case: Case) -> None:
    made, policy = case.ask(), case.policy
    spans = [(slot.start.timestamp(), slot.end.timestamp()) for slot in made.slots]
    asked, done = Counter[str](), Counter[str]()
    for work in case.works:
        asked[work.run] += int(work.seconds)
    for slot, (start, end) in zip(made.slots, spans, strict=True):
        done[slot.run] += slot.work
        assert slot.seconds == slot.work + case.overhead.seconds
        assert case.now.timestamp() <= start < end <= slot.deadline.timestamp() <= made.window.end.timestamp()
        assert policy.max_job is None or slot.seconds <= policy.max_job
        for edge in edges_by_hand(policy, case.tz, case.now, slot):
            assert end <= edge - policy.end_before_edge or start >= edge + policy.start_after_edge, (slot, edge)
        if policy.max_jobs == 1:
            for job in case.busy:
                assert end <= job.start.timestamp() - policy.gap or start >= latest_end(job, case) + policy.gap
    for (_, end), (start, _) in pairwise(spans):
        assert start >= end + policy.gap
    for left in made.remaining:
        done[left.run] += left.seconds
        assert left.seconds > 0
        assert left.reason
    assert done == asked
    assert sum(slot.kind == "reservation" for slot in made.slots) <= policy.max_reservations


@pytest.mark.slow  # a second of processor time: it computes
@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_slot_passes_the_check(case: Case) -> None:
    made, used = case.ask(), []
    for slot, cores in zip(made.slots, _cores(case, made), strict=True):
        request = Request(slot.start, slot.seconds, cores)
        loose = dataclasses.replace(case.policy, max_jobs=None)
        assert check(request, loose, case.tz, case.now, [*case.busy, *used]) == []
        assert check(request, case.policy, case.tz, case.now, case.busy) == []
        short = slot.seconds <= case.policy.quota_free_job
        if not (short and slot.start.timestamp() - case.now.timestamp() < case.policy.quota_free_notice):
            used.append(ExistingJob(slot.start, slot.end, cores=cores))


def _cores(case: Case, made: Plan) -> list[int | None]:
    cores = {work.run: work.cores for work in case.works}
    return [cores[slot.run] for slot in made.slots]


@pytest.mark.slow  # a second of processor time: it computes
@settings(max_examples=100, deadline=None)
@given(cases())
def test_no_free_second_is_wasted(case: Case) -> None:
    """Without limits of length, a run that never ends takes the window less the time around edges and jobs."""
    bare = dict.fromkeys(("max_job", "night_limit", "weekend_limit", "day_quota"))
    policy = dataclasses.replace(case.policy, gap=0, min_slot=0, max_jobs=1, **bare)
    works = [Work("endless", 10**8)]
    made = case.ask(policy=policy, works=works, scheduler=Slurm.able, overhead=Overhead())
    start, end = made.window.start, made.window.end
    start = max(start, case.now)
    whole = Slot("", 1, start, end, "", "", end)
    taken = [(job.start.timestamp(), latest_end(job, dataclasses.replace(case, policy=policy))) for job in case.busy]
    around = edges_by_hand(policy, case.tz, case.now, whole)
    taken += [(edge - policy.end_before_edge, edge + policy.start_after_edge) for edge in around]
    free, cursor = 0.0, start.timestamp()
    for begin, done in sorted(taken):
        free += max(0.0, min(begin, end.timestamp()) - cursor)
        cursor = max(cursor, min(done, end.timestamp()))
    free += end.timestamp() - cursor
    assert abs(_work(made) - free) <= 2 * len(case.busy) + 2  # whole seconds


@settings(max_examples=100, deadline=None)
@given(cases())
def test_segments_are_numbered_and_the_answer_is_always_the_same(case: Case) -> None:
    made = case.ask()
    assert made == case.ask()
    assert made == case.ask(busy=case.busy[::-1])
    for work in case.works:
        numbers = [slot.segment for slot in made.slots if slot.run == work.run]
        assert numbers == list(range(work.segment, work.segment + len(numbers)))
    order = [slot.run for slot in made.slots]
    assert order == sorted(order)


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 50 * HOUR))
def test_a_longer_window_never_does_less(case: Case, more: int) -> None:
    assume(case.scheduler != OAR3)
    made = case.ask()
    longer = dataclasses.replace(made.window, end=made.window.end + dt.timedelta(seconds=more))
    assert _work(case.ask(window=longer)) >= _work(case.ask(window=made.window))


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 10 * HOUR))
def test_a_longer_run_never_gets_less(case: Case, more: int) -> None:
    one = case.works[0]
    assert _work(case.ask(works=[dataclasses.replace(one, seconds=one.seconds + more)])) >= _work(case.ask(works=[one]))


def _work(made: Plan) -> int:
    return sum(slot.work for slot in made.slots)


@settings(max_examples=100, deadline=None)
@given(instants, st.integers(1, 90 * HOUR), cases(), st.integers(-HOUR, 40 * HOUR))
def test_the_nearest_request_passes_and_a_refusal_has_a_reason(
    now: dt.datetime, seconds: int, case: Case, ahead: int
) -> None:
    request = Request(now + dt.timedelta(seconds=ahead), seconds, reservation=ahead % 2 == 0)
    broken = check(request, case.policy, case.tz, now, case.busy)
    for item in broken:
        assert item.nearest is None or check(item.nearest, case.policy, case.tz, now, case.busy) == []
        assert str(item).endswith(".")
