"""Free time, allowances and refusals to the second: what happens exactly where one rule begins and another ends."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.launch.planner.planner import Work, plan
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.calendar import parse_instant, seconds_of
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.constraints import (
    NEVER,
    UNKNOWN_END_SECONDS,
    BlockedInterval,
    Constraints,
    ExistingJob,
    FreeInterval,
    MaxJob,
)
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.slurm import Slurm

PARIS = ZoneInfo("Europe/Paris")
HOUR, DAY = 3600, 86_400
STUDENT = load_policy("student")
TWO_EDGES = Policy("edges", edges=(dt.time(9), dt.time(19)), end_before_edge=60, start_after_edge=120)
ALONE = Policy("alone", max_jobs=1, gap=61)


def paris(text: str) -> dt.datetime:
    return parse_instant(text, PARIS)


def at(text: str) -> int:
    return seconds_of(paris(f"2026-11-{text}"))


def job(start: str, end: str | None, name: str = "", **more: object) -> ExistingJob:
    return ExistingJob(paris(f"2026-11-{start}"), end and paris(f"2026-11-{end}"), name, **more)  # type: ignore[arg-type]


def constraints(policy: Policy, now: str, *busy: ExistingJob) -> Constraints:
    return Constraints(policy, PARIS, paris(f"2026-11-{now}"), busy)


def free(of: Constraints, start: int, end: int) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in of.spans(start, end)]


# --- a span that begins where a block begins, or ends where one ends ---

EDGE = at("24T09:00")


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (EDGE - 61, (EDGE - 61, EDGE - 60)),  # one second before the block
        (EDGE - 60, (EDGE + 120, EDGE + HOUR)),  # where it begins
        (EDGE, (EDGE + 120, EDGE + HOUR)),
        (EDGE + 119, (EDGE + 120, EDGE + HOUR)),
        (EDGE + 120, (EDGE + 120, EDGE + HOUR)),  # where it ends
        (EDGE + 121, (EDGE + 121, EDGE + HOUR)),
    ],
)
def test_free_time_that_begins_where_an_edge_does(start: int, first: tuple[int, int]) -> None:
    of = constraints(TWO_EDGES, "24T07:00")
    spans = list(of.spans(start, EDGE + HOUR, "now", "then"))
    assert (spans[0].start, spans[0].end) == first
    assert all(span.start < span.end for span in spans)
    after = spans[-1]
    if start <= EDGE + 120:
        assert (after.opens, after.edge_before and after.edge_before.instant) == ("2m after the 09:00 edge of Tue 24 Nov", EDGE)  # fmt: skip
    else:
        assert (after.opens, after.edge_before) == ("now", None)
    assert (after.closes, after.edge_after) == ("then", None)
    if spans[0] is not after:
        assert (spans[0].opens, spans[0].closes) == ("now", "1m before the 09:00 edge of Tue 24 Nov")
        assert spans[0].edge_after and spans[0].edge_after.instant == EDGE and spans[0].edge_before is None


@pytest.mark.parametrize(
    ("end", "last", "edge"),
    [
        (EDGE - 61, EDGE - 61, False),
        (EDGE - 60, EDGE - 60, True),  # where the block begins: the edge is the reason
        (EDGE - 59, EDGE - 60, True),
        (EDGE + 120, EDGE - 60, True),
        (EDGE + 121, EDGE + 121, False),
    ],
)
def test_free_time_that_ends_where_an_edge_does(end: int, last: int, edge: bool) -> None:
    spans = list(constraints(TWO_EDGES, "24T07:00").spans(EDGE - HOUR, end, "now", "then"))
    assert (spans[-1].end, spans[-1].edge_after is not None) == (last, edge)
    assert spans[-1].closes == ("1m before the 09:00 edge of Tue 24 Nov" if edge else "then")


def test_edges_without_time_around_them_are_named_at_their_instant() -> None:
    sharp = dataclasses.replace(TWO_EDGES, end_before_edge=0, start_after_edge=0)
    before, after = constraints(sharp, "24T07:00").spans(EDGE - HOUR, EDGE + HOUR)
    assert (before.end, after.start) == (EDGE, EDGE)
    assert before.closes == after.opens == "at the 09:00 edge of Tue 24 Nov"
    (only,) = constraints(sharp, "24T07:00").spans(EDGE, EDGE + HOUR)
    assert (only.start, only.edge_before is not None) == (EDGE, True), "a span begins at the edge, and says so"
    (only,) = constraints(sharp, "24T07:00").spans(EDGE - HOUR, EDGE, "now", "then")
    assert (only.end, only.closes) == (EDGE, "at the 09:00 edge of Tue 24 Nov")
    assert list(constraints(sharp, "24T07:00").spans(EDGE, EDGE)) == []


def test_a_plan_that_begins_inside_an_edges_block_starts_behind_it() -> None:
    for now in ("2026-11-24T08:59", "2026-11-24T09:00", "2026-11-24T09:00:59", "2026-11-24T09:01"):
        window = Window(paris(now), paris("2026-11-24T12:00"))
        (slot, *_) = plan([Work("run", HOUR)], STUDENT, [], paris(now), PARIS, window, Slurm.able).slots
        assert (slot.start, slot.seconds) == (paris("2026-11-24T09:01"), HOUR)
        assert slot.reason.startswith("It starts 1m after the 09:00 edge of Tue 24 Nov")
        assert slot.kind == ("now" if now.endswith("09:01") else "begin")


@pytest.mark.parametrize(("start", "begins"), [(-62, -62), (-61, HOUR + 61), (HOUR + 60, HOUR + 61), (HOUR + 61, HOUR + 61), (HOUR + 62, HOUR + 62)])  # fmt: skip
def test_free_time_that_begins_where_a_jobs_time_does(start: int, begins: int) -> None:
    ten = at("24T10:00")
    of = constraints(ALONE, "24T09:00", job("24T10:00", "24T11:00", "7"))
    span = next(of.spans(ten + start, ten + 3 * HOUR, "now", "then"))
    assert (span.start, span.after) == (ten + begins, "7" if HOUR + 60 >= start > -62 or start == HOUR + 61 else "")
    if span.after:
        assert span.opens == "1m1s after job 7 ends"
    if start == -62:
        assert (span.end, span.closes) == (ten - 61, "1m1s before job 7 starts")


def test_jobs_that_follow_one_another_leave_no_time_of_no_length() -> None:
    bare = dataclasses.replace(ALONE, gap=0)
    touching = [job("24T10:00", "24T11:00", "1"), job("24T11:00", "24T12:00", "2")]
    assert free(constraints(bare, "24T09:00", *touching), at("24T09:00"), at("24T13:00")) == [
        (at("24T09:00"), at("24T10:00")),
        (at("24T12:00"), at("24T13:00")),
    ]
    first, last = constraints(bare, "24T09:00", *touching).spans(at("24T09:00"), at("24T13:00"))
    assert (first.closes, last.opens, last.after) == ("before job 1 starts", "after job 2 ends", "2")
    nameless = constraints(bare, "24T09:00", job("24T10:00", "24T11:00"))
    first, last = nameless.spans(at("24T09:00"), at("24T13:00"))
    assert (first.closes, last.opens, last.after) == ("before another job starts", "after another job ends", "")


def test_where_several_may_run_only_their_number_closes_time() -> None:
    three = [job("24T10:00", "24T14:00", "1"), job("24T11:00", "24T13:00", "2"), job("24T12:00", "24T15:00", "3")]
    bare = dataclasses.replace(ALONE, gap=0)
    start, end = at("24T09:00"), at("24T16:00")
    expected = {
        1: [(start, at("24T10:00")), (at("24T15:00"), end)],
        2: [(start, at("24T11:00")), (at("24T14:00"), end)],
        3: [(start, at("24T12:00")), (at("24T13:00"), end)],
        4: [(start, end)],
        None: [(start, end)],
    }
    for most, spans in expected.items():
        assert free(constraints(dataclasses.replace(bare, max_jobs=most), "24T09:00", *three), start, end) == spans, (
            most
        )


def test_a_job_that_has_ended_by_the_gap_is_in_nobodys_way() -> None:
    over = job("24T09:00", "24T09:58:59", "7")  # its gap ends at 10:00:00
    assert constraints(ALONE, "24T10:00", over)._busy_blocks == []
    (block,) = constraints(ALONE, "24T09:59:59", over).blocks(at("24T09:59:59"), at("24T12:00"))
    assert (block.end, block.job, block.rule, block.edge) == (at("24T10:00"), "7", "max_jobs", None)


def test_a_waiting_job_holds_its_place_from_when_it_may_start() -> None:
    waiting = job("24T11:00", "24T12:00", "7", since=paris("2026-11-24T10:00:00.9"))
    assert free(constraints(ALONE, "24T09:00", waiting), at("24T09:00"), at("24T13:00")) == [
        (at("24T09:00"), at("24T10:00") - 61),
        (at("24T12:00") + 61, at("24T13:00")),
    ]
    later = job("24T10:00:00.9", "24T12:00", since=paris("2026-11-24T11:00"))
    assert (later.begins, later.takes_place) == (at("24T10:00"), at("24T10:00"))


# --- ends that are not known ---


def test_a_job_of_unknown_end_has_ended_after_one_longest_job_from_now_or_from_its_start() -> None:
    hour = dataclasses.replace(ALONE, max_job=HOUR)
    unknown, later = job("24T09:00", None, "7"), job("24T12:00", None, "8")
    assert constraints(hour, "24T10:00", unknown).end_of(unknown) == at("24T11:00")
    assert constraints(hour, "24T10:00", later).end_of(later) == at("24T13:00")
    assert constraints(ALONE, "24T10:00", unknown).end_of(unknown) == NEVER
    evening = at("24T18:00")
    assert constraints(ALONE, "24T10:00", unknown).held_at(evening) == "job 7 has no known end"
    assert (
        constraints(ALONE, "24T10:00").held_at(evening) == constraints(hour, "24T10:00", unknown).held_at(evening) == ""
    )
    assert constraints(ALONE, "24T10:00", job("24T09:00", None)).held_at(evening) == "job ? has no known end"
    # Slurm gives a job without a limit the end of a year from now.
    late = job("24T09:00", "25T09:00", "7")
    assert constraints(ALONE, "24T10:00", late).held_at(evening) == "job 7 may last until Wed 25 Nov 2026 09:00"
    assert constraints(ALONE, "24T10:00", late).held_at(at("25T10:00")) == ""
    (block,) = constraints(ALONE, "24T10:00", unknown).blocks(at("24T10:00"), at("24T12:00"))
    assert block.opens == "1m1s after job 7 ends (its end is not known)"
    (block,) = constraints(hour, "24T10:00", unknown).blocks(at("24T10:00"), at("24T12:00"))
    assert block == BlockedInterval(at("24T09:00") - 61, at("24T11:00") + 61, "max_jobs", "1m1s after job 7 ends", "1m1s before job 7 starts", None, "7")  # fmt: skip


def test_a_job_of_unknown_end_uses_the_quota_of_a_month() -> None:
    quota = Policy("quota", day_quota=2 * HOUR)
    of = constraints(quota, "24T10:00", job("24T09:00", None, "7"))
    last = at("24T10:00") + UNKNOWN_END_SECONDS  # 10:00 on 25 December, a Friday, and this policy knows no holidays
    for day in (at("24T12:00"), at("26T12:00"), last - DAY):
        found = of.allowed(day, day + HOUR, None)
        assert found and found.end == day, "nothing is left"
    found = of.allowed(last, last + 2 * HOUR, None)
    assert found and found.end == last + HOUR, "of the last day one hour is taken"
    assert of.allowed(last + 3 * DAY, last + 3 * DAY + 2 * HOUR, None) is None


# --- counts ---


def test_reservations_and_submitted_jobs_that_are_left() -> None:
    now = "24T10:00"
    waiting = [job(f"24T{hour}:00", f"24T{hour}:30", reservation=True) for hour in (11, 12)]
    started, plain = job("24T10:00", "24T10:30", reservation=True), job("24T11:00", "24T12:00")
    assert constraints(STUDENT, now, started, plain).reservations_left == 2
    assert constraints(STUDENT, now, waiting[0], plain).reservations_left == 1
    assert constraints(STUDENT, now, *waiting).reservations_left == 0
    assert constraints(dataclasses.replace(STUDENT, max_reservations=1), now, *waiting).reservations_left == 0
    some = dataclasses.replace(STUDENT, max_submitted=2)
    ended, ending = job("24T09:00", "24T10:00"), job("24T09:00", "24T10:00:01")
    assert constraints(STUDENT, now, plain).submitted_left == math.inf
    assert constraints(some, now, ended).submitted_left == 2
    assert constraints(some, now, ending).submitted_left == 1
    assert constraints(some, now, *waiting).submitted_left == 0
    assert constraints(dataclasses.replace(some, max_submitted=1), now, *waiting).submitted_left == 0


# --- how long a job may be ---


def test_the_longest_job_names_the_rule_that_ends_it() -> None:
    hour = dataclasses.replace(TWO_EDGES, max_job=HOUR)
    of = constraints(hour, "24T07:00")
    before = next(of.spans(at("24T07:00"), at("24T12:00")))
    longest = "after 1h, the longest job that policy edges allows"
    assert of.longest(at("24T07:00"), before, None) == MaxJob(at("24T08:00"), longest, "max_job")
    assert of.longest(at("24T07:58:59"), before, None) == MaxJob(at("24T08:58:59"), longest, "max_job")
    edge = "1m before the 09:00 edge of Tue 24 Nov"
    assert of.longest(at("24T07:59"), before, None) == MaxJob(at("24T08:59"), edge, ""), (
        "both end it: the edge is named"
    )
    assert of.longest(at("24T08:30"), before, None) == MaxJob(at("24T08:59"), edge, "")
    open_end = FreeInterval(at("24T10:00"), at("24T11:00"), "now", "then")
    assert of.longest(at("24T10:00"), open_end, None) == MaxJob(at("24T11:00"), longest, "max_job")
    assert of.longest(at("24T10:01"), open_end, None) == MaxJob(at("24T11:00"), "then", "")


@pytest.mark.parametrize(("kind", "start", "period_end"), [("night", "23T19:00", "24T09:00"), ("weekend", "27T19:00", "30T09:00")])  # fmt: skip
def test_limits_of_nights_and_weekends_end_a_job_to_the_second(kind: str, start: str, period_end: str) -> None:
    limited = Policy("limits", **{f"{kind}_limit": 4 * HOUR})  # type: ignore[arg-type]
    of = constraints(limited, "23T10:00")
    begin, end = at(start), at(period_end)
    date = "Mon 23 Nov" if kind == "night" else "Fri 27 Nov"
    expected = MaxJob(
        begin + 4 * HOUR,
        f"after 4h of the {kind} of {date}, the most that policy limits allows a job",
        f"{kind}_limit",
        end,
        f"after the {kind} of {date}",
    )
    assert of.allowed(begin, begin + 4 * HOUR, None) is None
    assert of.allowed(begin, begin + 4 * HOUR + 1, None) == expected
    assert of.allowed(begin - HOUR, begin + 4 * HOUR + 1, None) == expected, "the hour before is of another period"
    assert of.allowed(end - 4 * HOUR, end + HOUR, None) is None, "four hours and the day behind them"
    later = of.allowed(end - 4 * HOUR - 1, end, None)
    assert later and later.end == end - 1
    other = Policy("other", **{"weekend_limit" if kind == "night" else "night_limit": 60})  # type: ignore[arg-type]
    assert constraints(other, "23T10:00").allowed(begin, begin + 12 * HOUR, None) is None


# --- the day quota, and the short job that is free of it ---

QUOTA = Policy("quota", day_quota=2 * HOUR, quota_free_job=HOUR, quota_free_notice=600)


def room(of: Constraints, start: int, cores: int | None = None) -> int:
    """Seconds that a job from `start` on may have until the evening."""
    evening = at("24T19:00")
    found = of.allowed(start, evening, cores)
    if found:
        assert (found.rule, found.closes) == ("day_quota", "where the day quota of Tue 24 Nov leaves off")
        assert (found.resume, found.reopens) == (evening, "after the day of Tue 24 Nov")
    return (found.end if found else evening) - start


@pytest.mark.parametrize("used", [0, 1, HOUR - 1, HOUR, HOUR + 1, 2 * HOUR - 1, 2 * HOUR, 3 * HOUR])
def test_the_quota_ends_a_job_to_the_second_and_a_short_one_at_short_notice_is_free(used: int) -> None:
    nine, now = at("24T09:00"), at("24T13:00")
    spent = ExistingJob(paris("2026-11-24T09:00"), paris("2026-11-24T09:00") + dt.timedelta(seconds=used))
    of = Constraints(QUOTA, PARIS, paris("2026-11-24T13:00"), [spent] if used else [])
    left = max(0, 2 * HOUR - used)
    assert nine + used <= now
    assert room(of, now + 600) == left, "ten minutes of notice are no short notice"
    assert room(of, now + 599) == max(left, HOUR)
    assert room(of, now) == max(left, HOUR)
    for start, most in ((600, left), (599, max(left, HOUR)), (0, max(left, HOUR))):
        for seconds in (most, most + 1):
            request = Request(paris("2026-11-24T13:00") + dt.timedelta(seconds=start), seconds)
            if seconds:
                broken = [item.rule for item in check(request, QUOTA, PARIS, paris("2026-11-24T13:00"), of.busy)]
                assert broken == ([] if seconds == most else ["day_quota"]), (start, seconds)


def test_a_job_that_is_free_uses_nothing_and_one_second_more_uses_all_of_itself() -> None:
    now = at("24T13:00")
    for ahead, length, left in ((0, HOUR, 2 * HOUR), (599, HOUR, 2 * HOUR), (0, HOUR + 1, HOUR - 1), (600, HOUR, HOUR)):
        of = constraints(QUOTA, "24T13:00")
        of.use(now + ahead, now + ahead + length, None)
        assert room(of, at("24T16:00")) == left, (ahead, length)
    of = constraints(dataclasses.replace(QUOTA, day_quota=None, night_limit=60), "24T13:00")
    of.use(now, now + 2 * HOUR, None)
    assert room(of, at("24T16:00")) == 3 * HOUR, "no quota, nothing to count"


def test_only_the_seconds_of_the_day_count() -> None:
    """A job of the night and the morning, and one of the evening; jobs that are there count from when they began."""
    for start, end, used in (
        ("24T08:00", "24T09:00", 0),
        ("24T08:00", "24T09:00:01", 1),
        ("24T18:59:59", "24T20:00", 1),
        ("24T19:00", "24T20:00", 0),
        ("24T09:59:59.5", "24T10:00", 1),
        ("23T18:00", "24T09:30", 1800),
    ):
        of = constraints(QUOTA, "24T10:00", job(start, end))
        assert room(of, at("24T12:00")) == 2 * HOUR - used, start
        planned = constraints(QUOTA, "20T10:00")
        planned.use(at(start), at(end), None)
        whole = used if "." not in start else 0
        assert room(planned, at("24T12:00")) == 2 * HOUR - whole, start


@pytest.mark.parametrize(
    ("country", "day_start", "day_end"),
    [("", dt.time(0), dt.time(23, 59)), ("FR", dt.time(9), dt.time(19))],
    ids=["days of nearly 24 h", "days of 10 h"],
)
def test_a_job_over_midnight_uses_the_quota_of_each_day_by_its_own_seconds(
    country: str, day_start: dt.time, day_end: dt.time
) -> None:
    policy = dataclasses.replace(QUOTA, country=country, day_start=day_start, day_end=day_end)
    of = Constraints(policy, PARIS, paris("2026-11-24T12:00"), [job("24T18:30", "25T09:30")])
    used = {date.day: seconds for date, seconds in of._used.items()}
    whole = day_end == dt.time(23, 59)
    assert used == ({24: 5 * HOUR + 1740, 25: 9 * HOUR + 1800} if whole else {24: 1800, 25: 1800})


@pytest.mark.parametrize(
    ("change", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-30", 24)],
    ids=["set on", "set back", "no change"],
)
def test_the_quota_of_a_day_in_which_the_clock_changes_counts_seconds_that_pass(change: str, hours: int) -> None:
    """A site that works on Sundays: of 0:30 to 4:30 on the wall, three, five or four hours pass."""
    every_day = dataclasses.replace(
        QUOTA, working_days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), day_start=dt.time(0), day_end=dt.time(23)
    )
    start, end = (paris(f"{change}T{clock}") for clock in ("00:30", "04:30"))
    passed = (hours - 20) * HOUR
    assert end.timestamp() - start.timestamp() == passed
    of = Constraints(every_day, PARIS, start - dt.timedelta(days=1), [ExistingJob(start, end)])
    assert list(of._used.values()) == [passed]
    from_one, noon = seconds_of(paris(f"{change}T00:30")), seconds_of(paris(f"{change}T12:00"))
    free = Constraints(every_day, PARIS, start - dt.timedelta(days=1))
    limit = free.allowed(from_one, noon, None)
    assert limit and limit.end - from_one == 2 * HOUR, "two hours of quota are two hours that pass"


def test_the_free_hour_is_for_the_day_in_which_the_job_begins() -> None:
    """A job at short notice that reaches into the next morning has that morning's quota only."""
    spent = ExistingJob(paris("2026-11-25T09:00"), paris("2026-11-25T10:30"))
    of = Constraints(QUOTA, PARIS, paris("2026-11-25T08:00"), [spent])
    found = of.allowed(at("25T08:00"), at("25T12:00"), None)
    assert found and found.end == at("25T09:30"), "half an hour is left, and no hour is free"
    assert (of.allowed(at("25T08:00"), at("25T09:30"), None)) is None
    at_nine = Constraints(QUOTA, PARIS, paris("2026-11-25T09:00"), [spent])
    found = at_nine.allowed(at("25T09:00"), at("25T12:00"), None)
    assert found and found.end == at("25T10:00"), "it begins with the day: its hour is free"


def test_the_quota_is_of_the_whole_clusters_cores() -> None:
    sized = dataclasses.replace(QUOTA, cores=10, quota_free_notice=0)
    of = constraints(sized, "24T10:00", job("24T09:00", "24T09:30", cores=4))
    left = 10 * 2 * HOUR - 4 * 1800
    assert room(of, at("24T10:00"), 10) == left // 10
    assert room(of, at("24T10:00"), None) == left // 10, "an unknown number is all of them"
    assert room(of, at("24T10:00"), 7) == left // 7 != left / 7, "whole seconds"
    whole_day = FreeInterval(at("24T10:00"), at("24T19:00"), "", "")
    assert [of.longest(at("24T10:00"), whole_day, cores).end for cores in (7, 1)] == [
        at("24T10:00") + left // 7,
        at("24T19:00"),
    ]
    assert room(of, at("24T10:00"), 1) == 9 * HOUR
    unsized = constraints(dataclasses.replace(sized, cores=None), "24T10:00", job("24T09:00", "24T09:30", cores=4))
    assert room(unsized, at("24T10:00"), 8) == 2 * HOUR - 1800, "of a cluster of unknown size each job takes it all"


def test_a_plan_uses_the_free_hour_and_then_the_quota_to_its_last_second() -> None:
    now = paris("2026-11-24T13:00")
    window = Window(now, paris("2026-11-24T19:00"))
    for first, second in ((HOUR, 2 * HOUR), (HOUR + 1, HOUR - 1)):
        works = [Work("a", first), Work("b", 10**5)]
        made = plan(works, dataclasses.replace(QUOTA, min_slot=1), [], now, PARIS, window, Slurm.able)
        assert [slot.seconds for slot in made.slots][:2] == [first, second]
        assert made.slots[-1].reason.endswith("ends where the day quota of Tue 24 Nov leaves off.")
        assert len(made.slots) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3 * HOUR, 8 * HOUR), st.integers(1, 3 * HOUR)), max_size=5), st.integers(1, 3))
def test_free_time_and_blocks_make_up_the_whole(jobs: list[tuple[int, int]], most: int) -> None:
    """Every second of a window is free or in a block; free time never touches itself, and no piece of it is empty."""
    now = paris("2026-11-24T06:00")
    busy = [ExistingJob(now + dt.timedelta(seconds=s), now + dt.timedelta(seconds=s + n), str(k)) for k, (s, n) in enumerate(jobs)]  # fmt: skip
    of = Constraints(dataclasses.replace(TWO_EDGES, max_jobs=most, gap=5), PARIS, now, busy)
    start, end = of.now, of.now + 6 * HOUR
    spans = free(of, start, end)
    blocks = [(block.start, block.end) for block in of.blocks(start, end)]
    assert all(a < b for a, b in spans)
    assert all(end_of < begin for (_, end_of), (begin, _) in pairwise(spans))
    for probe in range(start, end, 97):
        is_free = any(a <= probe < b for a, b in spans)
        inside = any(a <= probe < b for a, b in blocks)
        assert is_free != inside


def test_jobs_of_a_type_that_runs_at_night_or_by_day_only() -> None:
    """OAR's types `night` and `day`: what is not theirs is blocked, from its first second to its last."""
    day, night = (at("24T09:00"), at("24T19:00")), (at("24T19:00"), at("25T09:00"))
    of = {hours: Constraints(STUDENT, PARIS, paris("2026-11-24T08:00"), (), hours) for hours in ("night", "day")}
    (blocked,) = (block for block in of["night"].blocks(day[0] + 1, day[1] - 1) if block.rule == "type")
    assert blocked[:2] == day
    assert blocked.opens == "after the day of Tue 24 Nov, in which no job of type night runs"
    assert blocked.closes == "before the day of Tue 24 Nov, in which no job of type night runs"
    (blocked,) = (block for block in of["day"].blocks(night[0] + 1, night[1] - 1) if block.rule == "type")
    assert blocked[:2] == night
    assert blocked.opens == "after the night of Tue 24 Nov, in which no job of type day runs"
    assert [block.rule for block in of["night"].blocks(night[0] + 60, night[1] - 61)] == ["edge"]
    plain = Constraints(STUDENT, PARIS, paris("2026-11-24T08:00"), ())
    assert "type" not in {block.rule for block in plain.blocks(day[0], night[1])}


def test_blocks_are_those_that_touch_the_time_in_their_order_and_free_time_begins_now() -> None:
    of = constraints(dataclasses.replace(TWO_EDGES, max_jobs=1, gap=0), "24T00:00", job("24T01:00", "24T02:00"), job("24T12:00", "24T13:00"), job("24T22:00", "24T23:00"))  # fmt: skip
    blocks = list(of.blocks(at("24T08:00"), at("24T20:00")))
    assert [block.rule for block in blocks] == ["edge", "max_jobs", "edge"]
    assert [block.start for block in of.blocks(at("24T13:00"), at("24T22:00"))][::2] == [at("24T12:00"), at("24T22:00")]
    assert [span.opens for span in of.spans(at("24T03:00"), at("24T04:00"))] == ["now"]
    assert [span.closes for span in of.spans(at("24T03:00"), at("24T04:00"))] == ["when the window closes"]


def test_with_other_jobs_all_else_is_the_same() -> None:
    of = Constraints(STUDENT, PARIS, paris("2026-11-24T08:00"), (), "night")
    other = of.with_jobs([job("24T20:00", "24T21:00", "7")])
    assert (other.policy, other.now, other.hours, [each.job for each in other.busy]) == (
        STUDENT,
        of.now,
        "night",
        ["7"],
    )
