"""The overnight planner: named dates, and the rules that must hold at any instant of several years."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.planner import Overhead, Plan, Slot, Work, plan
from ganhpc.launch.planner.planning_window import Window, from_now, tonight
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm

PARIS = ZoneInfo("Europe/Paris")
STUDENT, GRID, FREE = (load_policy(name) for name in ("student", "grid5000", "none"))
HOUR = 3600
OAR3 = Capabilities("oar", reservations=True)


def paris(text: str) -> dt.datetime:
    return parse_instant(text, PARIS)


def window(start: str, end: str) -> Window:
    return Window(paris(start), paris(end))


def hours(n: float, run: str = "cifar") -> list[Work]:
    return [Work(run, n * HOUR)]


def walls(made: Plan) -> list[tuple[str, str]]:
    return [(f"{slot.start:%d %H:%M:%S}", f"{slot.end:%d %H:%M:%S}") for slot in made.slots]


def length(slots: list[Slot] | tuple[Slot, ...]) -> int:
    return sum(slot.seconds for slot in slots)


# --- named dates ---


def test_six_hours_on_an_evening() -> None:
    made = plan(hours(6), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=Oar.able)
    assert walls(made)[0] == ("23 19:01:00", "23 20:01:00")
    assert walls(made)[-1] == ("24 00:06:05", "24 01:06:05")
    assert [slot.kind for slot in made.slots] == ["reservation"] * 2 + ["chain"] * 4
    assert [slot.segment for slot in made.slots] == [1, 2, 3, 4, 5, 6]
    assert {slot.deadline for slot in made.slots[2:]} == {paris("2026-11-24T08:59")}
    assert made.remaining == ()
    assert made.slots[0].reason == (
        "It starts 1m after the 19:00 edge of Mon 23 Nov and ends after 1h, the longest job that policy student allows."
    )


def test_json_has_exactly_the_promised_keys() -> None:
    made = plan(hours(20), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=Slurm.able)
    data = json.loads(json.dumps(made.to_json()))
    assert set(data) == {"slots", "remaining"}
    assert list(data["slots"][0]) == ["run", "segment", "start", "end", "kind", "reason"]
    assert data["slots"][0]["start"] == "2026-11-23T19:01:00+01:00"
    assert list(data["remaining"][0]) == ["run", "seconds", "reason"]
    assert length(made.slots) + data["remaining"][0]["seconds"] == 20 * HOUR


def test_a_full_night_on_oar_has_its_two_reservations_around_the_morning_edge() -> None:
    made = plan(hours(30), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=Oar.able)
    assert [slot.kind for slot in made.slots] == ["begin"] + ["chain"] * 12 + ["reservation"] * 2
    assert walls(made)[-2:] == [("24 08:14:13", "24 08:59:00"), ("24 09:01:00", "24 10:01:00")]
    assert made.slots[12].deadline == paris("2026-11-24T08:13:12")  # late jobs must not meet the reservation
    assert "09:00 edge of Tue 24 Nov" in made.slots[-2].reason


def test_oar_3_holds_jobs_back_by_reservations_only() -> None:
    made = plan(hours(30), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=OAR3)
    assert Counter(slot.kind for slot in made.slots) == {"reservation": 2, "chain": 13}
    assert [made.slots[0].kind, made.slots[-1].kind] == ["reservation"] * 2
    assert made.slots[-1].start == paris("2026-11-24T09:01")
    two_days = window("2026-11-23T17:30", "2026-11-25T09:00")
    made = plan(hours(60), STUDENT, [], paris("2026-11-23T17:30"), PARIS, two_days, OAR3)
    assert made.slots[0].kind == "now"
    assert made.slots[-1].end == paris("2026-11-24T18:59")  # a third start at a fixed time cannot be had
    assert "until Tue 24 Nov 19:01" in made.remaining[0].reason
    none_left = dataclasses.replace(STUDENT, max_reservations=0)
    made = plan(hours(1), none_left, [], paris("2026-11-23T17:30"), PARIS, scheduler=OAR3)
    assert made.slots == ()
    assert "by an advance reservation only" in made.remaining[0].reason


def test_waiting_reservations_of_the_user_count() -> None:
    waiting = [ExistingJob(paris(f"2026-11-24T0{h}:00"), paris(f"2026-11-24T0{h}:30"), str(h), True) for h in (2, 4)]
    modes = [
        slot.kind
        for slot in plan(hours(6), STUDENT, waiting, paris("2026-11-23T17:30"), PARIS, scheduler=Oar.able).slots
    ]
    assert "reservation" not in modes
    modes = [
        slot.kind
        for slot in plan(hours(6), STUDENT, waiting[:1], paris("2026-11-23T17:30"), PARIS, scheduler=Oar.able).slots
    ]
    assert modes.count("reservation") == 1


def test_a_reservation_that_runs_already_does_not_count() -> None:
    running = [ExistingJob(paris("2026-11-23T17:00"), paris("2026-11-23T17:45"), "1", reservation=True)]
    made = plan(hours(6), STUDENT, running, paris("2026-11-23T17:30"), PARIS, scheduler=Oar.able)
    assert [slot.kind for slot in made.slots] == ["reservation"] * 2 + ["chain"] * 4


def test_one_reservation_goes_to_the_slot_that_touches_an_edge() -> None:
    single = dataclasses.replace(STUDENT, max_reservations=1)
    day = window("2026-11-23T15:00", "2026-11-23T18:59")
    made = plan(hours(5), single, [], paris("2026-11-23T15:00"), PARIS, day, Oar.able)
    assert [slot.kind for slot in made.slots] == ["now", "chain", "chain", "reservation"]


@pytest.mark.parametrize(("scheduler", "modes"), [(Slurm.able, ["begin", "chain"]), (QUEUE, ["queue", "queue"])])
def test_kinds_elsewhere(scheduler: Capabilities, modes: list[str]) -> None:
    made = plan(hours(2), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=scheduler)
    assert [slot.kind for slot in made.slots] == modes


@pytest.mark.parametrize("scheduler", [Oar.able, Slurm.able, OAR3])
def test_a_chain_from_now(scheduler: Capabilities) -> None:
    now = paris("2026-11-23T20:00:00.25")
    made = plan(hours(1.5), STUDENT, [], now, PARIS, from_now(PARIS, now), scheduler)
    assert walls(made) == [("23 20:00:01", "23 21:00:01"), ("23 21:01:02", "23 21:31:02")]
    assert made.slots[0].kind == "now"
    assert made.slots[0].reason.startswith("It starts now")


def test_christmas_eve_has_no_edge_on_the_next_morning() -> None:
    now = paris("2026-12-24T17:30")
    made = plan(hours(30), STUDENT, [], now, PARIS, scheduler=Oar.able)
    assert made.window.start == paris("2026-12-24T19:01")
    assert made.slots[-1].end == paris("2026-12-25T08:59")
    assert "Fri 25 Dec, Christmas Day" in made.slots[-1].reason
    long = plan(hours(86), STUDENT, [], now, PARIS, window("2026-12-24T19:01", "2026-12-28T09:00"), Oar.able)
    assert long.slots[-1].end == paris("2026-12-28T08:59")  # Monday: the first working day
    crossing = [slot for slot in long.slots if slot.start < paris("2026-12-25T09:00") < slot.end]
    assert len(crossing) == 1


@pytest.mark.parametrize(
    ("now", "night", "segments"),
    [("2027-03-27T19:01", 13 * HOUR, 13), ("2027-10-30T19:01", 15 * HOUR, 15), ("2026-11-23T17:30", 14 * HOUR, 14)],
)
def test_nights_when_the_clock_changes(now: str, night: int, segments: int) -> None:
    made = plan(hours(20), STUDENT, [], paris(now), PARIS, scheduler=Slurm.able)
    whole = made.window.end.timestamp() - made.window.start.timestamp()
    assert whole == night - 120
    assert len(made.slots) == segments
    assert length(made.slots) == whole - 61 * (segments - 1)
    assert all(slot.seconds == HOUR for slot in made.slots[:-1])
    assert (f"{made.slots[-1].end:%H:%M}", made.slots[0].start.utcoffset() == made.slots[-1].end.utcoffset()) == (
        "08:59",
        night == 14 * HOUR,
    )


def test_easter_2027_is_85_real_hours() -> None:
    now, until = paris("2027-03-26T17:30"), "2027-03-30T09:00"
    easter = window("2027-03-26T19:00", until)
    whole = dataclasses.replace(GRID, weekend_limit=None)
    (slot,) = plan(hours(200), whole, [], now, PARIS, easter, Slurm.able).slots
    assert slot.seconds == 85 * HOUR - 120
    assert (slot.start, slot.end) == (paris("2027-03-26T19:01"), paris("2027-03-30T08:59"))
    first, second = plan(hours(200), GRID, [], now, PARIS, easter, Slurm.able).slots
    assert (first.seconds, second.seconds) == (62 * HOUR, 23 * HOUR - 120 - 61)
    assert "the most that policy grid5000 allows a job" in first.reason
    made = plan(hours(200), STUDENT, [], now, PARIS, easter, Slurm.able)
    assert length(made.slots) == 83 * HOUR + (85 * HOUR - 120) % (HOUR + 61)
    assert length(made.slots) + made.remaining[0].seconds == 200 * HOUR


def test_friday_evening_is_one_night_and_until_goes_on() -> None:
    now = paris("2026-11-27T17:30")
    made = plan(hours(100), GRID, [], now, PARIS, scheduler=Slurm.able)
    assert walls(made) == [("27 19:01:00", "28 08:59:00")]
    assert "Sat 28 Nov, Saturday: --until can go on" in made.slots[0].reason
    made = plan(hours(100), GRID, [], now, PARIS, window("2026-11-27T17:30", "2026-11-30T12:00"), Slurm.able)
    assert [(slot.start, slot.seconds) for slot in made.slots] == [
        (paris("2026-11-27T17:30"), 89 * 60),  # to 18:59, under the day's quota
        (paris("2026-11-27T19:01"), 62 * HOUR - 120),
        (paris("2026-11-30T09:01"), 2 * HOUR),  # the day quota of Monday
    ]
    assert "day quota of Mon 30 Nov" in made.slots[-1].reason


def test_the_day_quota_leaves_the_rest_of_a_day() -> None:
    now = paris("2026-11-23T10:00")
    made = plan(hours(9), GRID, [], now, PARIS, window("2026-11-23T10:00", "2026-11-24T08:00"), Slurm.able)
    assert walls(made) == [("23 10:00:00", "23 12:00:00"), ("23 19:01:00", "24 02:01:00")]
    spent = [ExistingJob(paris("2026-11-23T09:01"), paris("2026-11-23T11:01"))]
    made = plan(
        hours(9),
        dataclasses.replace(GRID, max_jobs=None),
        spent,
        now,
        PARIS,
        window("2026-11-23T10:00", "2026-11-24T08:00"),
    )
    assert walls(made) == [("23 10:00:00", "23 11:00:00"), ("23 19:01:00", "24 03:01:00")]  # one hour at once is free
    no_edges = dataclasses.replace(GRID, edges=())
    made = plan(
        hours(9), no_edges, spent, paris("2026-11-23T12:00"), PARIS, window("2026-11-23T13:00", "2026-11-24T08:00")
    )
    assert walls(made) == [("23 19:00:00", "24 04:00:00")]
    assert made.slots[0].reason.startswith("It starts after the day of Mon 23 Nov")


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2026-11-23T08:00", "2026-11-23T08:00", "2026-11-23T08:59"),  # the night is not over
        ("2026-11-23T08:55", "2026-11-23T19:01", "2026-11-24T08:59"),  # too little of it is left
        ("2026-11-23T12:00", "2026-11-23T19:01", "2026-11-24T08:59"),
        ("2026-11-23T19:00:30", "2026-11-23T19:01", "2026-11-24T08:59"),
        ("2026-11-23T22:00", "2026-11-23T22:00", "2026-11-24T08:59"),
        ("2026-11-24T00:00", "2026-11-24T00:00", "2026-11-24T08:59"),
        ("2026-11-28T12:00", "2026-11-28T12:00", "2026-11-29T08:59"),  # a Saturday: no edge comes before the morning
        ("2026-11-29T12:00", "2026-11-29T12:00", "2026-11-30T08:59"),
        ("2026-11-11T09:00", "2026-11-11T09:00", "2026-11-12T08:59"),  # a public holiday
        ("2026-11-27T18:00", "2026-11-27T19:01", "2026-11-28T08:59"),  # a Friday
    ],
)
def test_tonight(now: str, start: str, end: str) -> None:
    night = tonight(STUDENT, PARIS, paris(now))
    assert (night.start, night.end) == (paris(start), paris(end))
    whole = tonight(FREE, PARIS, paris("2026-11-23T12:00"))
    assert (whole.start, whole.end) == (paris("2026-11-23T19:00"), paris("2026-11-24T09:00"))


def test_short_runs_are_packed_with_the_gap() -> None:
    runs = [Work("a", 20 * 60, segment=3), Work("b", 90 * 60), Work("c", 0), Work("d", 61.5)]
    made = plan(runs, STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=Slurm.able)
    assert [(slot.run, slot.segment, slot.seconds) for slot in made.slots] == [
        ("a", 3, 1200),
        ("b", 1, HOUR),
        ("b", 2, 1800),
        ("d", 1, 62),
    ]
    assert {after.start.timestamp() - before.end.timestamp() for before, after in pairwise(made.slots)} == {61.0}


def test_overhead_is_added_to_every_segment() -> None:
    made = plan(
        hours(2), STUDENT, [], paris("2026-11-23T17:30"), PARIS, scheduler=Slurm.able, overhead=Overhead(60, 30)
    )
    assert [(slot.seconds, slot.work) for slot in made.slots] == [(3600, 3510), (3600, 3510), (270, 180)]
    nothing = plan(hours(2), STUDENT, [], paris("2026-11-23T17:30"), PARIS, overhead=Overhead(HOUR, 0))
    assert nothing.slots == ()
    assert "start up and save" in nothing.remaining[0].reason


def test_a_job_of_unknown_end_holds_back_what_follows() -> None:
    now = paris("2026-11-23T20:00")
    made = plan(hours(1), STUDENT, [ExistingJob(paris("2026-11-23T19:30"), None, "7")], now, PARIS, scheduler=Oar.able)
    assert walls(made) == [("23 21:01:01", "23 22:01:01")]  # it ends an hour from now at the latest
    endless = dataclasses.replace(STUDENT, max_job=None)
    made = plan(hours(1), endless, [ExistingJob(paris("2026-11-23T19:30"), None, "7")], now, PARIS, scheduler=Oar.able)
    assert made.slots == ()
    assert "job 7" in made.remaining[0].reason


def test_a_minute_between_two_jobs_is_used_where_the_policy_lets_it() -> None:
    exact = dataclasses.replace(STUDENT, gap=0, min_slot=0)
    there = [
        ExistingJob(paris(f"2026-11-23T20:{a}"), paris(f"2026-11-23T20:{b}"))
        for a, b in (("00", "30"), ("30:40", "50"))
    ]
    made = plan(hours(1), exact, there, paris("2026-11-23T20:00"), PARIS, scheduler=Slurm.able)
    assert walls(made)[0] == ("23 20:30:00", "23 20:30:40")
    assert plan(hours(1), STUDENT, there, paris("2026-11-23T20:00"), PARIS).slots[0].start == paris(
        "2026-11-23T20:51:01"
    )


def test_two_jobs_at_a_time_leave_room_for_one_more_beside_one() -> None:
    two = dataclasses.replace(STUDENT, max_jobs=2)
    there = [
        ExistingJob(paris("2026-11-23T20:00"), paris("2026-11-23T22:00")),
        ExistingJob(paris("2026-11-23T20:30"), paris("2026-11-23T21:00")),
    ]
    made = plan(hours(1), two, there, paris("2026-11-23T20:00"), PARIS, scheduler=Slurm.able)
    assert walls(made) == [("23 20:00:00", "23 20:28:59"), ("23 21:01:01", "23 21:32:02")]


def test_an_edge_in_the_hour_that_comes_twice_stands_twice() -> None:
    odd = dataclasses.replace(STUDENT, edges=(dt.time(2, 30),), edge_days="every", max_job=None)
    made = plan(hours(9), odd, [], paris("2027-10-31T00:00"), PARIS, scheduler=Slurm.able)
    assert [(slot.start.isoformat()[11:], slot.end.isoformat()[11:]) for slot in made.slots[:2]] == [
        ("00:00:00+02:00", "02:29:00+02:00"),
        ("02:31:00+02:00", "02:29:00+01:00"),
    ]
    skipped = plan(hours(9), odd, [], paris("2027-03-28T00:00"), PARIS, scheduler=Slurm.able)
    assert [slot.end.isoformat()[11:] for slot in skipped.slots] == ["03:29:00+02:00", "08:59:00+02:00"]


def test_a_chain_behind_a_job_that_is_there() -> None:
    now, job = paris("2026-11-23T20:00"), ExistingJob(paris("2026-11-23T19:30"), paris("2026-11-23T20:30"), "7")
    first, second = plan(hours(2), STUDENT, [job], now, PARIS, scheduler=Slurm.able).slots
    assert (first.kind, first.after, first.start) == ("chain", "7", paris("2026-11-23T20:31:01"))
    assert (second.kind, second.after) == ("chain", "")
    early = ExistingJob(
        paris("2026-11-23T18:30"), paris("2026-11-23T19:30"), "8"
    )  # may end before the edge: fix the start
    (slot,) = plan(hours(1), STUDENT, [early], paris("2026-11-23T18:40"), PARIS, scheduler=Slurm.able).slots
    assert (slot.kind, slot.after, slot.start) == ("begin", "", paris("2026-11-23T19:31:01"))


def test_an_empty_window_gets_a_sentence() -> None:
    with pytest.raises(UserError, match="is empty"):
        plan(hours(1), STUDENT, [], paris("2026-11-23T17:30"), PARIS, window("2026-11-22T19:00", "2026-11-23T09:00"))


def test_the_planner_is_imported_quickly_and_without_the_calendar_library() -> None:
    code = "import sys, ganhpc.launch.planner.planner, ganhpc.launch.policy.check; print(sorted({'torch', 'numpy', 'holidays'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


# --- any instant ---

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
