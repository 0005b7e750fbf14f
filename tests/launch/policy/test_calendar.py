"""Days, nights, edges and typed moments to the second; the kept public holidays are those of the library, which is asked for all others."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
import sys
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from ganhpc.core.errors import UserError
from ganhpc.launch.policy.calendar import KEPT, Calendar, parse_instant, seconds_of
from ganhpc.launch.policy.policy import Policy, load_policy
from tests.golden import holidays_of


def test_the_kept_holidays_are_the_librarys() -> None:
    kept = json.loads(KEPT.read_text())["years"]
    assert {year: set(days) for year, days in kept.items()} == {
        year: set(days) for year, days in holidays_of.table().items()
    }, "`python -m tests.golden.holidays_of` writes the file anew"


def test_years_and_countries_that_are_not_kept_are_asked_for() -> None:
    france, germany = (Calendar(Policy("p", country=country), dt.UTC) for country in ("fr", "DE"))
    assert [france.working(dt.date(year, 7, 14)) for year in (2026, 2053)] == [False, False]
    assert france.holiday(dt.date(2026, 7, 14)) == france.holiday(dt.date(2053, 7, 14)) != ""
    assert not germany.working(dt.date(2028, 10, 3))
    assert germany.working(dt.date(2026, 7, 14))


def test_a_french_plan_needs_no_calendar_library() -> None:
    code = (
        "import datetime as dt, sys; from ganhpc.launch.policy.calendar import Calendar; from ganhpc.launch.policy.policy import load_policy;"
        "print(Calendar(load_policy('student'), dt.UTC).working(dt.date(2026, 12, 25)), 'holidays' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- edges, periods and sentences ---

PARIS = ZoneInfo("Europe/Paris")
WEEK = Policy("week", edges=(dt.time(19), dt.time(9)), country="FR")


def at(text: str) -> int:
    return seconds_of(parse_instant(text, PARIS))


def test_seconds_are_rounded_up_and_need_a_zone() -> None:
    moment = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
    assert seconds_of(moment) == moment.timestamp() and isinstance(seconds_of(moment), int)
    assert seconds_of(moment + dt.timedelta(microseconds=1)) == moment.timestamp() + 1
    with pytest.raises(AssertionError, match="has no time zone"):
        seconds_of(dt.datetime(2026, 11, 23))


def test_edges_stand_on_working_days_in_order_and_at_both_ends_of_what_is_asked() -> None:
    calendar = Calendar(WEEK, PARIS)
    found = [
        calendar.format_instant(edge.instant)
        for edge in calendar.edges(at("2026-11-10T09:00"), at("2026-11-12T19:00"), 0)
    ]
    assert found == ["Tue 10 Nov 09:00", "Tue 10 Nov 19:00", "Thu 12 Nov 09:00", "Thu 12 Nov 19:00"], (
        "the 11th is a holiday"
    )
    inside = list(calendar.edges(at("2026-11-10T09:00:01"), at("2026-11-10T18:59:59"), 0))
    assert inside == []
    daily = Calendar(dataclasses.replace(WEEK, edge_days="every"), PARIS)
    assert len(list(daily.edges(at("2026-11-10T09:00"), at("2026-11-12T19:00"), 0))) == 6
    none = Calendar(dataclasses.replace(WEEK, edges=()), PARIS)
    assert list(none.edges(at("2026-11-10T09:00"), at("2026-11-12T19:00"), 0)) == []
    (edge,) = calendar.edges(at("2026-11-10T09:00"), at("2026-11-10T09:00"), 0)
    assert (edge.wall, edge.date, edge.instant) == (dt.time(9), dt.date(2026, 11, 10), at("2026-11-10T09:00"))
    assert calendar.format_edge(edge) == "the 09:00 edge of Tue 10 Nov"


def test_in_the_night_when_the_clock_is_set_back_an_edge_comes_twice() -> None:
    calendar = Calendar(dataclasses.replace(WEEK, edges=(dt.time(2, 30), dt.time(9)), edge_days="every"), PARIS)
    start = at("2027-10-31T00:00")
    found = [(edge.instant - start) / 3600 for edge in calendar.edges(start, start + 12 * 3600, 0)]
    assert found == [2.5, 3.5, 10]
    start = at("2027-03-28T00:00")  # 2:30 is skipped: half an hour after the change
    assert [(edge.instant - start) / 3600 for edge in calendar.edges(start, start + 12 * 3600, 0)] == [2.5, 8]


@pytest.mark.parametrize(
    ("now", "crosses"),
    [
        ("2026-11-24T00:00", {"24 09:00"}),
        ("2026-11-24T16:59:59", {"24 09:00"}),
        ("2026-11-24T17:00", {"24 09:00", "24 19:00"}),
        ("2026-11-23T23:59:59", set()),
        ("2026-11-25T00:00", {"25 09:00"}),
    ],
)
def test_the_laxer_reading_lets_the_same_days_edges_be_crossed(now: str, crosses: set[str]) -> None:
    start, end = at("2026-11-24T00:00"), at("2026-11-26T00:00")
    strict, lax = (Calendar(dataclasses.replace(WEEK, lax=lax), PARIS) for lax in (False, True))
    all_of_them = {f"{calendar_edge.date:%d} {calendar_edge.wall:%H:%M}" for calendar_edge in strict.edges(start, end, at(now))}  # fmt: skip
    left = {f"{edge.date:%d} {edge.wall:%H:%M}" for edge in lax.edges(start, end, at(now))}
    assert all_of_them - left == crosses
    other = Calendar(dataclasses.replace(WEEK, lax=True, edges=(dt.time(12),)), PARIS)
    assert len(list(other.edges(start, end, at(now)))) == 2, "only the day's two ends are lax"


@pytest.mark.parametrize(
    ("moment", "kind", "date", "start", "end"),
    [
        ("2026-11-24T09:00", "day", "24", "2026-11-24T09:00", "2026-11-24T19:00"),
        ("2026-11-24T18:59:59", "day", "24", "2026-11-24T09:00", "2026-11-24T19:00"),
        ("2026-11-24T19:00", "night", "24", "2026-11-24T19:00", "2026-11-25T09:00"),
        ("2026-11-25T08:59:59", "night", "24", "2026-11-24T19:00", "2026-11-25T09:00"),
        ("2026-11-27T19:00", "weekend", "27", "2026-11-27T19:00", "2026-11-30T09:00"),
        ("2026-11-28T12:00", "weekend", "27", "2026-11-27T19:00", "2026-11-30T09:00"),
        ("2026-11-30T08:59:59", "weekend", "27", "2026-11-27T19:00", "2026-11-30T09:00"),
        ("2026-11-11T12:00", "weekend", "10", "2026-11-10T19:00", "2026-11-12T09:00"),
    ],
)
def test_periods_to_the_second(moment: str, kind: str, date: str, start: str, end: str) -> None:
    calendar = Calendar(WEEK, PARIS)
    for _ in range(2):  # the second time from what is kept
        found = calendar.period(at(moment))
        assert (found.kind, f"{found.date:%d}", found.start, found.end) == (kind, date, at(start), at(end))


def test_periods_follow_one_another_without_a_hole() -> None:
    calendar = Calendar(WEEK, PARIS)
    start, end = at("2026-11-09T12:00"), at("2026-11-16T12:00")
    found = list(calendar.periods(start, end))
    assert [period.kind for period in found] == ["day", "night", "day", "weekend", "day", "night", "day", "weekend", "day"]  # fmt: skip
    assert all(before.end == after.start for before, after in pairwise(found))
    assert found[0].start <= start < found[0].end and found[-1].start < end <= found[-1].end
    assert [period.kind for period in calendar.periods(start, found[0].end)] == ["day"], "its end is no part of it"
    assert list(calendar.periods(start, start)) == []


@pytest.mark.parametrize(
    ("day", "works", "why"),
    [
        ("2026-04-03", True, ""),  # Good Friday, a holiday in Alsace and Moselle only
        ("2026-04-06", False, "Easter Monday"),
        ("2027-03-29", False, "Easter Monday"),
        ("2026-05-01", False, "Labor Day"),  # a Friday
        ("2027-05-01", False, "Labor Day"),  # a Saturday
        ("2026-05-08", False, "Victory Day"),
        ("2026-05-14", False, "Ascension Day"),
        ("2026-05-15", True, ""),  # the bridge that many take
        ("2026-05-25", False, "Pentecost Monday"),
        ("2026-07-14", False, "National Day"),  # a Tuesday
        ("2027-07-14", False, "National Day"),  # a Wednesday
        ("2026-12-26", False, ""),  # a Saturday
        ("2028-12-26", True, ""),  # a Tuesday, a holiday in Alsace and Moselle only
    ],
)
def test_french_days(day: str, works: bool, why: str) -> None:
    date = dt.date.fromisoformat(day)
    for policy in (WEEK, load_policy("student"), load_policy("grid5000")):
        calendar = Calendar(policy, PARIS)
        assert (calendar.working(date), calendar.holiday(date)) == (works, why), policy.name
        assert bool(list(calendar.edges(at(f"{day}T09:00"), at(f"{day}T19:00"), at(f"{day}T09:00")))) is works
        assert (calendar.period(at(f"{day}T12:00")).kind == "day") is works


@pytest.mark.parametrize(("country", "works"), [("FR", True), ("FR-6AE", False), ("fr-57", False), ("", True)])
def test_good_friday_and_the_second_day_of_christmas_are_the_policys(country: str, works: bool) -> None:
    calendar = Calendar(dataclasses.replace(WEEK, country=country), PARIS)
    for date in (dt.date(2026, 4, 3), dt.date(2028, 12, 26)):
        assert calendar.working(date) is works, date
    assert calendar.working(dt.date(2026, 4, 6)) is (country == "")
    with pytest.raises(UserError, match=r"^policy 'p' has country = 'FR-6AF', which has no calendar: .*FR-6AE"):
        Calendar(Policy("p", country="FR-6AF"), PARIS).working(dt.date(2026, 4, 3))


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2026-05-01T09:00", "2026-04-30T19:00", "2026-05-04T09:00"),  # a Friday holiday and its weekend are one rest
        ("2026-05-03T23:00", "2026-04-30T19:00", "2026-05-04T09:00"),
        ("2026-04-04T12:00", "2026-04-03T19:00", "2026-04-07T09:00"),  # Easter
        ("2026-12-26T12:00", "2026-12-24T19:00", "2026-12-28T09:00"),  # Christmas on a Friday
        ("2026-07-14T09:00", "2026-07-13T19:00", "2026-07-15T09:00"),
        ("2024-05-08T12:00", "2024-05-07T19:00", "2024-05-10T09:00"),  # two holidays one after the other
    ],
)
def test_rests_around_holidays(moment: str, start: str, end: str) -> None:
    found = Calendar(WEEK, PARIS).period(at(moment))
    assert (found.kind, found.start, found.end) == ("weekend", at(start), at(end))
    assert not list(Calendar(WEEK, PARIS).edges(at(start) + 1, at(end) - 1, at(moment))), "no edge inside of it"
    assert len(list(Calendar(WEEK, PARIS).edges(at(start), at(end), at(moment)))) == 2


def test_a_part_of_a_country_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    christmas = dt.date(2026, 12, 25)
    with pytest.raises(UserError, match=r"country = 'FI-QQ', which has no calendar: .*FI-19\b"):
        Calendar(dataclasses.replace(WEEK, country="fi-qq"), PARIS).holiday(christmas)
    with pytest.raises(UserError, match=r"country = 'QF-1', which has no calendar: .*\bFR\b"):
        Calendar(dataclasses.replace(WEEK, country="QF-1"), PARIS).holiday(christmas)


def test_working_days_one_after_another() -> None:
    calendar = Calendar(WEEK, PARIS)
    assert calendar.next_working(dt.date(2026, 11, 10)) == dt.date(2026, 11, 12)
    assert calendar.next_working(dt.date(2026, 11, 12), -1) == dt.date(2026, 11, 10)
    assert calendar.next_working(dt.date(2026, 11, 27)) == dt.date(2026, 11, 30)
    with pytest.raises(UserError) as error:
        Calendar(Policy("never", working_days=()), PARIS).next_working(dt.date(2026, 11, 10))
    assert str(error.value) == "policy 'never' has no working day near 2027-01-09: check its working_days and country."
    assert Calendar(Policy("p"), PARIS).holiday(dt.date(2026, 12, 25)) == ""
    assert Calendar(WEEK, PARIS).holiday(dt.date(2026, 12, 25)) == "Christmas Day"
    with pytest.raises(UserError, match=r"^policy 'p' has country = 'FRR', which has no calendar: "):
        Calendar(Policy("p", country="frr"), PARIS).holiday(dt.date(2026, 12, 25))


def test_moments_in_a_sentence_have_seconds_where_they_count() -> None:
    calendar = Calendar(WEEK, PARIS)
    assert calendar.format_instant(at("2026-11-23T19:01")) == "Mon 23 Nov 19:01"
    assert calendar.format_instant(at("2026-11-23T19:01:01")) == "Mon 23 Nov 19:01:01"


# --- moments that are typed ---


def typed(text: str, now: str = "2026-11-23T19:01:00", **more: bool) -> dt.datetime:
    return parse_instant(text, PARIS, parse_instant(now, PARIS), **more)


def test_the_next_time_of_day_and_the_present_one() -> None:
    present = parse_instant("2026-11-23T19:01", PARIS)
    for text in ("19:01", "19:01:00", " 19:01 ", "19h01", "19 H 01", "\uff11\uff19:01"):
        assert typed(text) == present
        assert typed(text, later=True) == present + dt.timedelta(days=1)
    assert typed("19:01", "2026-11-23T19:01:01") == present + dt.timedelta(days=1)
    assert typed("19:01", "2026-11-23T19:01:59", this_minute=True) == present
    assert typed("19h01", "2026-11-23T19:01:59", this_minute=True) == present
    assert typed("9h", "2026-11-23T19:01") == parse_instant("2026-11-24T09:00", PARIS)
    assert typed("19:01", "2026-11-23T19:02:00", this_minute=True) == present + dt.timedelta(days=1)
    for minute in range(60):
        word = f"19:{minute:02d}"
        begins = typed(word, f"2026-11-23T{word}:00", this_minute=True)
        assert (
            typed(word, f"2026-11-23T{word}:59", this_minute=True)
            == begins
            == parse_instant(f"2026-11-23T{word}", PARIS)
        )
    assert typed("19:01:00", "2026-11-23T19:01:01", this_minute=True) == present + dt.timedelta(days=1)
    assert typed("19:01:30", "2026-11-23T19:01:01") == present + dt.timedelta(seconds=30)
    here = typed("now", "2026-11-23T18:01:00Z")
    assert (here, here.tzinfo) == (present, PARIS)


def test_a_time_that_comes_twice_or_never() -> None:
    first = parse_instant("2027-10-31T02:30:00+02:00", PARIS)
    assert typed("02:30", "2027-10-31T01:00") == first
    assert typed("02:30", "2027-10-31T02:30:00+02:00") == first
    second = typed("02:30", "2027-10-31T02:31:00+02:00")
    assert second.timestamp() == first.timestamp() + 3600
    assert typed("02:30", "2027-10-31T02:31:00+01:00").day == 1
    with pytest.raises(UserError) as error:
        parse_instant("02:30", PARIS, parse_instant("2027-03-28T01:00", PARIS), "--from")
    assert str(error.value) == (
        "--from 02:30 does not exist on Sun 28 Mar in Europe/Paris: the clock skips it; write another time."
    )
    with pytest.raises(UserError) as error:
        parse_instant("2027-03-28T02:30", PARIS, option="--until")
    assert str(error.value) == (
        "--until '2027-03-28T02:30' does not exist in Europe/Paris: the clock skips it; add an offset such as +01:00."
    )


@pytest.mark.parametrize(
    ("text", "now", "message"),
    [
        ("tonight", False, "'tonight' is not a moment: write it as 2026-11-23T17:30."),
        ("25h", True, "--from '25h' is not a moment: write it as 2026-11-23T17:30, 19:01 or now."),
        ("tonight", True, "--from 'tonight' is not a moment: write it as 2026-11-23T17:30, 19:01 or now."),
        ("now", False, "'now' is not a moment: write it as 2026-11-23T17:30."),
        ("1999-12-31", False, "'1999-12-31' lies too far away: give a year from 2000 to 2200."),
        ("2201-01-01", False, "'2201-01-01' lies too far away: give a year from 2000 to 2200."),
    ],
)
def test_what_is_no_moment(text: str, now: bool, message: str) -> None:
    present = parse_instant("2026-11-23T17:30", PARIS)
    with pytest.raises(UserError) as error:
        parse_instant(text, PARIS, present if now else None, "--from" if now else "")
    assert str(error.value) == message


def test_the_first_and_the_last_year_are_moments() -> None:
    assert parse_instant("2000-01-01", PARIS).year == 2000
    assert parse_instant("2200-12-31", PARIS).year == 2200
    abroad = parse_instant("2026-11-23T17:30-05:00", PARIS)
    assert (abroad.isoformat(), abroad.tzinfo) == ("2026-11-23T23:30:00+01:00", PARIS)


def test_kept_holidays_ask_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)  # an import of it fails
    calendar = Calendar(load_policy("student"), PARIS)
    assert calendar.holiday(dt.date(2026, 7, 14)) and calendar.holiday(dt.date(2026, 7, 15)) == ""
    with pytest.raises(ImportError):
        calendar.holiday(dt.date(2053, 7, 14))


@pytest.mark.parametrize("zone", ["Europe/Paris", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
def test_the_edges_of_two_moments_are_those_between_them_to_the_second(zone: str) -> None:
    tz = ZoneInfo(zone)
    calendar = Calendar(dataclasses.replace(WEEK, edges=(dt.time(0), dt.time(23, 59, 59)), edge_days="every"), tz)
    first = calendar.at(dt.date(2026, 11, 24), dt.time(0))
    last = calendar.at(dt.date(2026, 11, 25), dt.time(23, 59, 59))
    every = [first, first + 86_399, first + 86_400, last]
    assert [edge.instant for edge in calendar.edges(first, last, 0)] == every
    assert [edge.instant for edge in calendar.edges(first + 1, last - 1, 0)] == every[1:3]
    assert [edge.instant for edge in calendar.edges(last, last, 0)] == [last]


def test_a_time_of_day_is_looked_for_from_the_day_of_its_own_zone_on() -> None:
    """In Pago Pago it is the evening of the 23rd where this machine may have the 24th."""
    samoa = ZoneInfo("Pacific/Pago_Pago")
    now = dt.datetime(2026, 11, 24, 5, 0, tzinfo=dt.UTC)
    assert parse_instant("19:00", samoa, now) == dt.datetime(2026, 11, 23, 19, 0, tzinfo=samoa)
    kiribati = ZoneInfo("Pacific/Kiritimati")
    now = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
    assert parse_instant("3h", kiribati, now) == dt.datetime(2026, 11, 24, 3, 0, tzinfo=kiribati)
    with pytest.raises(UserError, match="is not a moment"):
        parse_instant("\u0669h", samoa, now)  # digits of another script
