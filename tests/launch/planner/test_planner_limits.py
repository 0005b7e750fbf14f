"""The planner at its limits: one second on each side of every bound."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.launch.planner import planner
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.planner.planner import Margins, Overhead, Plan, Work, plan
from ganhpc.launch.planner.planning_window import LOOKED_AHEAD, Window, from_now, tonight
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm

PARIS = ZoneInfo("Europe/Paris")
STUDENT, GRID, FREE = (load_policy(name) for name in ("student", "grid5000", "none"))
HOUR = 3600
OAR3 = Capabilities("oar", reservations=True)
BARE = Policy("bare")
"""No rule but the shortest slot of 300 s."""
NIGHTLY = Policy("nightly", edges=(dt.time(9), dt.time(19)), end_before_edge=60, start_after_edge=60)


def paris(text: str) -> dt.datetime:
    return parse_instant(text, PARIS)


def laid(policy: Policy, now: str, end: str, works: list[Work] | None = None, busy: tuple[ExistingJob, ...] = (), scheduler: Capabilities = Slurm.able, **more: object) -> Plan:  # fmt: skip
    """A plan from now to `end` for a run that never ends."""
    works = [Work("run", 10**7)] if works is None else works
    return plan(works, policy, busy, paris(now), PARIS, Window(paris(now), paris(end)), scheduler, **more)  # type: ignore[arg-type]


def seconds(made: Plan) -> list[int]:
    return [slot.seconds for slot in made.slots]


# --- a slot of exactly min_slot ---


@pytest.mark.parametrize("least", [1, 299, 300, 301])
def test_a_slot_of_exactly_the_shortest_length_is_used_and_none_of_a_second_less(least: int) -> None:
    """Where a window, an edge, another job, a quota or the longest job leaves that much."""
    policy = dataclasses.replace(BARE, min_slot=least)
    start = paris("2026-11-23T20:00")
    for room, expected in ((least, [least]), (least - 1, [])):
        end = start + dt.timedelta(seconds=room)
        if room:
            window = Window(start, end)
            made = plan([Work("run", 10**6)], policy, [], start, PARIS, window, Slurm.able)
            assert seconds(made) == expected, "a window"
        alone = dataclasses.replace(policy, max_jobs=1)
        there = [ExistingJob(start, start + dt.timedelta(hours=1)), ExistingJob(end + dt.timedelta(hours=1), end + dt.timedelta(hours=2))]  # fmt: skip
        made = plan([Work("run", 10**6)], alone, there, start, PARIS, Window(start, there[1].start + dt.timedelta(hours=1)), Slurm.able)  # fmt: skip
        assert seconds(made) == expected, "between two jobs"
        now = paris("2026-11-24T09:00") - dt.timedelta(seconds=60 + room)
        made = plan([Work("run", 10**6)], dataclasses.replace(NIGHTLY, min_slot=least), [], now, PARIS, Window(now, paris("2026-11-24T09:00")), Slurm.able)  # fmt: skip
        assert seconds(made) == expected, "before an edge"
        day = dataclasses.replace(policy, day_quota=1000)
        spent = [ExistingJob(paris("2026-11-24T09:00"), paris("2026-11-24T09:00") + dt.timedelta(seconds=1000 - room))]
        made = plan([Work("run", 10**6)], day, spent, paris("2026-11-24T12:00"), PARIS, Window(paris("2026-11-24T12:00"), paris("2026-11-24T19:00")), Slurm.able)  # fmt: skip
        assert seconds(made) == expected, "of a day's quota"


def test_where_no_job_may_be_as_long_as_the_shortest_slot_the_longest_job_counts() -> None:
    short = dataclasses.replace(BARE, min_slot=300, max_job=100)
    assert seconds(laid(short, "2026-11-23T20:00", "2026-11-23T20:05")) == [100, 100, 100]
    assert seconds(laid(short, "2026-11-23T20:00:01", "2026-11-23T20:05")) == [100, 100]


def test_a_run_that_is_shorter_than_the_shortest_slot_gets_its_job_where_a_slot_would_fit() -> None:
    brief = [Work("run", 1)]
    assert seconds(laid(BARE, "2026-11-23T20:00", "2026-11-23T20:05", brief)) == [1]
    assert seconds(laid(BARE, "2026-11-23T20:00:01", "2026-11-23T20:05", brief)) == []


def test_a_night_counts_as_at_hand_while_a_shortest_slot_fits_into_it() -> None:
    assert tonight(STUDENT, PARIS, paris("2026-11-24T08:54")).end == paris("2026-11-24T08:59")
    assert tonight(STUDENT, PARIS, paris("2026-11-24T08:54:01")).end == paris("2026-11-25T08:59")


def test_a_slot_has_a_second_for_its_run_beside_the_overhead() -> None:
    exact = dataclasses.replace(BARE, min_slot=0, max_job=61)
    made = laid(exact, "2026-11-23T20:00", "2026-11-23T20:01:01", overhead=Overhead(40, 20))
    assert [(slot.seconds, slot.work) for slot in made.slots] == [(61, 1)]
    none = laid(exact, "2026-11-23T20:00", "2026-11-23T20:01", overhead=Overhead(40, 20))
    assert none.slots == () and "no more fits between Mon 23 Nov 20:00 and Mon 23 Nov 20:01" in none.remaining[0].reason
    never = laid(dataclasses.replace(exact, max_job=60), "2026-11-23T20:00", "2026-11-23T21:00", overhead=Overhead(40, 20))  # fmt: skip
    assert (
        never.remaining[0].reason == "a job of at most 1m has no time for its run besides the 1m to start up and save."
    )


# --- margins ---


def test_a_slot_is_planned_where_its_job_may_be_late_and_not_a_second_later() -> None:
    """60 s at least, 90 s late, and a gap of 61 s to what comes next."""
    policy = dataclasses.replace(BARE, min_slot=1, gap=61)
    margins = Margins(shortest=60, late=90)
    assert seconds(laid(policy, "2026-11-23T20:00", "2026-11-23T20:03:31", margins=margins)) == [211]
    assert seconds(laid(policy, "2026-11-23T20:00:01", "2026-11-23T20:03:31", margins=margins)) == []
    punctual = Margins(shortest=60)
    assert seconds(laid(policy, "2026-11-23T20:00", "2026-11-23T20:01", margins=punctual)) == [60]
    assert seconds(laid(policy, "2026-11-23T20:00:01", "2026-11-23T20:01", margins=punctual)) == []
    short = laid(dataclasses.replace(policy, max_job=59), "2026-11-23T20:00", "2026-11-23T21:00", margins=margins)
    assert short.remaining[0].reason == "a job of at most 59s is shorter than the 1m that every job is given."
    assert seconds(laid(dataclasses.replace(policy, max_job=60), "2026-11-23T20:00", "2026-11-23T20:04", margins=margins)) == [60]  # fmt: skip


def test_the_last_job_of_a_run_may_ask_for_its_start_up_too_where_a_rule_lets_it() -> None:
    hour = dataclasses.replace(BARE, max_job=HOUR)
    works = [Work("run", HOUR + 600)]
    made = laid(hour, "2026-11-23T20:00", "2026-11-23T23:00", works, margins=Margins(startup=90))
    assert [(slot.seconds, slot.room) for slot in made.slots] == [(HOUR, HOUR), (600, 690)]
    nearly = laid(hour, "2026-11-23T20:00", "2026-11-23T23:00", [Work("run", HOUR - 30)], margins=Margins(startup=90))
    assert [(slot.seconds, slot.room) for slot in nearly.slots] == [(HOUR - 30, HOUR)]
    quota = dataclasses.replace(BARE, day_quota=1000)
    made = laid(quota, "2026-11-24T10:00", "2026-11-24T18:00", [Work("a", 600), Work("b", 10**5)], margins=Margins(startup=90))  # fmt: skip
    assert seconds(made) == [600, 310], "what the first may ask for counts"


# --- what is left, and why ---


def test_reasons_of_what_is_left() -> None:
    two = dataclasses.replace(BARE, max_job=HOUR, max_submitted=2)
    made = laid(two, "2026-11-23T20:00", "2026-11-24T06:00")
    assert len(made.slots) == 2
    (left,) = made.remaining
    assert left.later and left.reason == (
        "policy bare allows 2 submitted jobs at a time (max_submitted): the same command submits the rest once some have ended."
    )
    there = (ExistingJob(paris("2026-11-23T19:00"), paris("2026-11-23T20:30")),)
    assert len(laid(two, "2026-11-23T20:00", "2026-11-24T06:00", busy=there).slots) == 1
    over = (ExistingJob(paris("2026-11-23T19:00"), paris("2026-11-23T20:00")),)
    assert len(laid(two, "2026-11-23T20:00", "2026-11-24T06:00", busy=over).slots) == 2
    endless = dataclasses.replace(BARE, max_jobs=1)
    made = laid(
        endless, "2026-11-23T20:00", "2026-11-24T06:00", busy=(ExistingJob(paris("2026-11-23T19:00"), None, "7"),)
    )
    assert made.remaining[0].reason == "job 7 has no known end, and policy bare allows 1 at a time."
    assert not made.remaining[0].later
    made = laid(endless, "2026-11-23T20:00", "2026-11-24T06:00", busy=(ExistingJob(paris("2026-11-23T19:00"), None),))
    assert made.remaining[0].reason.startswith("job ? has no known end")
    night = dataclasses.replace(STUDENT, max_reservations=1)
    two_nights = Window(paris("2026-11-23T17:30"), paris("2026-11-25T09:00"))
    made = plan([Work("run", 10**6)], night, [], paris("2026-11-23T17:30"), PARIS, two_nights, OAR3)
    assert made.slots[-1].end == paris("2026-11-24T08:59")
    assert made.remaining[0].reason == (
        "oar can hold a job back until Tue 24 Nov 09:01 by an advance reservation only, and all 1 that policy student allows are taken."
    )


def test_every_second_of_a_fraction_counts_and_runs_without_time_get_no_job() -> None:
    made = laid(BARE, "2026-11-23T20:00", "2026-11-24T06:00", [Work("a", 0.5), Work("b", 0), Work("c", -3), Work("d", 600.0)])  # fmt: skip
    assert [(slot.run, slot.work) for slot in made.slots] == [("a", 1), ("d", 600)]
    assert made.remaining == ()


def test_an_empty_window_is_named() -> None:
    message = "the window from Mon 23 Nov 20:00 to Mon 23 Nov 20:00 is empty: give an end that is later \\(--until\\)."
    with pytest.raises(UserError, match=message):
        laid(BARE, "2026-11-23T20:00", "2026-11-23T20:00")
    one = laid(dataclasses.replace(BARE, min_slot=0), "2026-11-23T20:00", "2026-11-23T20:00:01")
    assert seconds(one) == [1]


# --- behind jobs that are there, and behind one another ---


def test_a_run_waits_for_its_own_jobs_by_the_gap_and_only_with_its_first_segment() -> None:
    policy = dataclasses.replace(BARE, gap=61, max_job=HOUR)
    ready = paris("2026-11-23T21:00")
    made = laid(policy, "2026-11-23T20:00", "2026-11-24T06:00", [Work("run", 2 * HOUR, 3, ready=ready, after="7")])
    first, second = made.slots
    assert (first.start, first.segment, first.kind, first.after) == (paris("2026-11-23T21:01:01"), 3, "chain", "7")
    assert first.reason.startswith("It starts behind its job 7 and ends after 1h")
    assert (second.start, second.segment, second.after) == (paris("2026-11-23T22:02:02"), 4, "")
    assert second.reason.startswith("It starts 1m1s after the slot before it")
    over = laid(policy, "2026-11-23T20:00", "2026-11-24T06:00", [Work("run", 600, ready=paris("2026-11-23T19:58:59"), after="7")])  # fmt: skip
    assert (over.slots[0].kind, over.slots[0].after) == ("now", "")
    assert over.slots[0].reason.startswith("It starts now")


def test_without_a_gap_slots_touch() -> None:
    made = laid(dataclasses.replace(BARE, max_job=HOUR), "2026-11-23T20:00", "2026-11-23T22:00")
    assert [slot.reason.split(" and ends")[0] for slot in made.slots] == [
        "It starts now",
        "It starts when the slot before it ends",
    ]
    assert made.slots[0].end == made.slots[1].start


def test_a_run_that_ends_with_its_slot_says_so() -> None:
    made = laid(BARE, "2026-11-23T20:00", "2026-11-24T06:00", [Work("a", 600)])
    assert made.slots[0].reason == "It starts now and ends with its run."
    exactly = laid(BARE, "2026-11-23T20:00", "2026-11-23T20:10", [Work("a", 600)])
    assert (seconds(exactly), exactly.remaining) == ([600], ())
    cut = laid(BARE, "2026-11-23T20:00", "2026-11-23T20:10", [Work("a", 601)])
    assert (seconds(cut), [left.seconds for left in cut.remaining]) == ([600], [1])
    assert cut.slots[0].reason == "It starts now and ends when the window closes."


def test_a_quota_leaves_a_hole_and_the_night_goes_on() -> None:
    """What is behind the hole is free again, without an edge on its side, and waits for no job."""
    policy = dataclasses.replace(BARE, day_quota=HOUR)
    made = laid(policy, "2026-11-24T10:00", "2026-11-24T22:00", [Work("run", 10**6, ready=paris("2026-11-24T11:00"), after="7")])  # fmt: skip
    assert [(f"{slot.start:%H:%M}", f"{slot.end:%H:%M}", slot.kind, slot.after) for slot in made.slots] == [
        ("11:00", "12:00", "chain", "7"),
        ("19:00", "22:00", "begin", ""),
    ]
    assert made.slots[1].reason == "It starts after the day of Tue 24 Nov and ends when the window closes."


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), st.integers(1, 6), st.sampled_from([0, 61]))
def test_the_jobs_that_are_there_and_those_of_the_plan_never_exceed_what_may_be_submitted(
    there: int, most: int, gap: int
) -> None:
    now = paris("2026-11-23T20:00")
    busy = tuple(ExistingJob(now + dt.timedelta(hours=k), now + dt.timedelta(hours=k + 1)) for k in range(there))
    made = laid(dataclasses.replace(BARE, gap=gap, max_job=HOUR, max_submitted=most), "2026-11-23T20:00", "2026-11-24T06:00", busy=busy)  # fmt: skip
    assert len(made.slots) == max(0, most - there)


def test_the_window_of_a_plan_is_tonight_unless_it_is_given() -> None:
    now = paris("2026-11-23T17:30")
    made = plan([Work("run", 600)], STUDENT, [], now, PARIS, scheduler=Slurm.able)
    assert made.window == tonight(STUDENT, PARIS, now)
    pair = plan([Work("run", 600)], STUDENT, [], now, PARIS, scheduler=Oar.able).window
    assert pair == tonight(STUDENT, PARIS, now, edge_pair=True) and pair.end == paris("2026-11-24T10:01")
    one = plan([Work("run", 600)], dataclasses.replace(STUDENT, max_reservations=1), [], now, PARIS, scheduler=Oar.able)
    assert one.window.end == paris("2026-11-24T08:59"), "an edge needs a reservation on each side"


# --- windows ---


def test_from_now_has_whole_days_and_its_reason() -> None:
    now = paris("2026-11-23T20:00:00.25")
    window = from_now(PARIS, now)
    assert window.start == paris("2026-11-23T20:00:01") and window.opens == window.opens_now == "now"
    assert window.end == paris("2026-12-07T20:00:01") and window.start.tzinfo is PARIS is window.end.tzinfo
    assert from_now(PARIS, now, 2).end == paris("2026-11-25T20:00:01")
    assert window.closes == "when the window closes"


def test_a_night_of_a_saturday_with_edges_begins_at_once_where_the_laxer_reading_lets_it_cross() -> None:
    """Typed from five o'clock on, a job may cross that day's 19:00."""
    lax = dataclasses.replace(STUDENT, edge_days="every", lax=True)
    assert tonight(lax, PARIS, paris("2026-11-28T16:59")).start == paris("2026-11-28T19:01")
    assert tonight(lax, PARIS, paris("2026-11-28T17:00")).start == paris("2026-11-28T17:00")


def test_a_night_says_why_it_begins_and_ends() -> None:
    evening = tonight(STUDENT, PARIS, paris("2026-11-23T17:30"))
    assert (evening.opens, evening.closes, evening.opens_now) == ("when the night begins", "when the night ends", "now")
    saturday = tonight(STUDENT, PARIS, paris("2026-11-28T12:00"))
    assert saturday.opens_now == "at once (Saturday: no edge comes before the 09:00 edge of Mon 30 Nov)"
    assert saturday.closes == "when the night ends (no edge on Sun 29 Nov, Sunday: --until can go on)"
    holiday = tonight(STUDENT, PARIS, paris("2026-11-11T12:00"))
    assert "(Armistice Day: no edge comes before" in holiday.opens_now
    free = tonight(FREE, PARIS, paris("2026-11-28T12:00"))
    assert (free.start, free.opens_now, free.closes) == (paris("2026-11-28T19:00"), "now", "when the night ends")
    assert tonight(FREE, PARIS, paris("2026-11-28T19:00")).start == paris("2026-11-28T19:00")
    begun = tonight(STUDENT, PARIS, paris("2026-11-28T19:01"))
    assert (begun.start, begun.opens_now) == (paris("2026-11-28T19:01"), "now")


def test_on_a_day_without_work_an_edge_of_every_day_still_waits_for_the_evening() -> None:
    daily = dataclasses.replace(STUDENT, edge_days="every")
    saturday = tonight(daily, PARIS, paris("2026-11-28T12:00"))
    assert saturday.start == paris("2026-11-28T19:01"), "the 19:00 edge comes"
    assert saturday.closes == "when the night ends"
    lone = dataclasses.replace(daily, edges=(dt.time(9),))
    assert tonight(lone, PARIS, paris("2026-11-28T12:00")).start == paris("2026-11-28T12:00"), "no edge comes today"


def test_without_an_edge_for_a_week_none_is_named() -> None:
    tuesdays = dataclasses.replace(STUDENT, working_days=("tue",), country="")
    wednesday = paris("2026-11-25T12:00")
    assert "before the 09:00 edge of Tue 01 Dec)" in tonight(tuesdays, PARIS, wednesday).opens_now
    late = dataclasses.replace(tuesdays, lax=True)
    assert "before the 09:00 edge" in tonight(late, PARIS, wednesday).opens_now
    assert LOOKED_AHEAD == 7 * 24 * HOUR
    christmas = dataclasses.replace(STUDENT, working_days=("fri",))  # 25 Dec and 1 Jan are holidays
    assert tonight(christmas, PARIS, paris("2026-12-19T12:00")).opens_now == "at once (Saturday: no edge comes)"


def test_a_pair_around_the_morning_edge_needs_a_longest_job_and_an_edge() -> None:
    now = paris("2026-11-23T17:30")
    assert tonight(STUDENT, PARIS, now, edge_pair=True).end == paris("2026-11-24T10:01")
    assert tonight(dataclasses.replace(STUDENT, max_job=None), PARIS, now, edge_pair=True).end == paris("2026-11-24T08:59")  # fmt: skip
    assert tonight(STUDENT, PARIS, paris("2026-11-27T17:30"), edge_pair=True).end == paris("2026-11-28T08:59")


def test_the_jobs_of_the_plan_are_json_to_the_second() -> None:
    made = laid(BARE, "2026-11-23T20:00", "2026-11-23T21:00", [Work("a", 2 * HOUR)])
    assert made.to_json() == {
        "slots": [
            {
                "run": "a",
                "segment": 1,
                "start": "2026-11-23T20:00:00+01:00",
                "end": "2026-11-23T21:00:00+01:00",
                "kind": "now",
                "reason": "It starts now and ends when the window closes.",
            }
        ],
        "remaining": [
            {"run": "a", "seconds": HOUR, "reason": "no more fits between Mon 23 Nov 20:00 and Mon 23 Nov 21:00."}
        ],
    }
    assert not math.isnan(made.slots[0].seconds)


def test_the_gap_holds_across_an_edge_without_time_around_it() -> None:
    sharp = dataclasses.replace(NIGHTLY, end_before_edge=0, start_after_edge=0, gap=61)
    made = laid(sharp, "2026-11-24T08:00", "2026-11-24T12:00")
    assert [(f"{slot.start:%H:%M:%S}", f"{slot.end:%H:%M:%S}") for slot in made.slots] == [
        ("08:00:00", "09:00:00"),
        ("09:01:01", "12:00:00"),
    ]


def test_a_scheduler_that_holds_jobs_back_without_reservations_is_not_bound_by_their_number() -> None:
    made = laid(STUDENT, "2026-11-23T17:30", "2026-11-26T09:00", scheduler=Oar.able)
    assert made.slots[-1].end == paris("2026-11-26T08:59")


# --- what the planner hands on ---


def test_jobs_of_the_type_night_are_laid_into_nights_only() -> None:
    made = laid(dataclasses.replace(GRID, max_reservations=0), "2026-11-23T12:00", "2026-11-24T12:00", [Work("run", 3 * HOUR)], scheduler=Slurm.able._replace(hours="night"))  # fmt: skip
    assert [(slot.start, slot.end) for slot in made.slots] == [(paris("2026-11-23T19:01"), paris("2026-11-23T22:01"))]
    made = laid(BARE, "2026-11-24T20:00", "2026-11-25T12:00", [Work("run", HOUR)], scheduler=Slurm.able._replace(hours="day"))  # fmt: skip
    assert [slot.start for slot in made.slots] == [paris("2026-11-25T09:00")]


def test_the_quota_counts_the_cores_of_each_run() -> None:
    """Two hours of ten cores: a run on five has four hours, and what it takes is gone for the next."""
    policy = Policy("quota", day_quota=2 * HOUR, cores=10)
    five = Work("five", 3 * HOUR, cores=5)
    made = laid(policy, "2026-11-24T09:00", "2026-11-24T19:00", [five, Work("ten", 3 * HOUR, cores=10)])
    assert [(slot.run, slot.seconds) for slot in made.slots] == [("five", 3 * HOUR), ("ten", HOUR // 2)]
    made = laid(policy, "2026-11-24T09:00", "2026-11-24T19:00", [dataclasses.replace(five, seconds=5 * HOUR)])
    assert seconds(made) == [4 * HOUR]


def test_why_the_first_slot_starts_where_it_does() -> None:
    now = paris("2026-11-23T20:00")
    for start, word in ((now, "at once"), (now + dt.timedelta(seconds=1), "in the evening")):
        window = Window(start, start + dt.timedelta(hours=1), "in the evening", "then", "at once")
        (slot,) = plan([Work("run", 10**6)], BARE, [], now, PARIS, window, Slurm.able).slots
        assert slot.reason == f"It starts {word} and ends then."


def test_the_least_that_is_kept_in_hand_is_the_shortest_job_and_the_latest_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a slot that is shorter nothing is fixed (`choose_modes`)."""
    seen = []
    real = planner.choose_modes
    monkeypatch.setattr(planner, "choose_modes", lambda *asked: seen.append(asked[3]) or real(*asked))
    laid(BARE, "2026-11-23T20:00", "2026-11-23T21:00", margins=Margins(shortest=60, late=240))
    assert seen == [300]
