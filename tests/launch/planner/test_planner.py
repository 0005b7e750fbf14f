"""The overnight planner on named dates."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from ganhpc.core.errors import UserError
from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.planner import Overhead, Plan, Slot, Work, plan
from ganhpc.launch.planner.planning_window import Window, from_now, tonight
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import load_policy
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


def test_a_slot_across_the_change_of_the_clock_names_both_times() -> None:
    """It read 02:05:05 - 02:05:05."""
    begin = dt.datetime(2026, 10, 25, 2, 5, 5, tzinfo=PARIS)
    made = Slot("a", 1, begin, begin.replace(fold=1), "now", "", begin)
    assert (made.seconds, made.times) == (3600, "02:05:05 CEST - 02:05:05 CET")
    assert Slot("a", 1, begin, begin.replace(minute=50), "now", "", begin).times == "02:05:05 - 02:50:05"
