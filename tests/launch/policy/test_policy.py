"""Policies as files, in words, and as answers to one request."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ganhpc.core.errors import UserError
from ganhpc.launch.policy.calendar import Calendar, parse_instant
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.constraints import ExistingJob
from ganhpc.launch.policy.policy import Policy, explain, load_policy, packaged_policies

PARIS = ZoneInfo("Europe/Paris")
STUDENT, GRID = load_policy("student"), load_policy("grid5000")
HOUR = 3600


def paris(text: str) -> dt.datetime:
    return parse_instant(text, PARIS)


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


# --- files ---


def test_packaged_policies_hold_the_rules_of_the_course_and_of_the_charter() -> None:
    assert packaged_policies() == ["grid5000", "none", "student"]
    assert (STUDENT.max_job, STUDENT.max_jobs, STUDENT.gap, STUDENT.max_reservations) == (HOUR, 1, 61, 2)
    assert STUDENT.edges == GRID.edges == (dt.time(9), dt.time(19))
    assert (GRID.night_limit, GRID.weekend_limit, GRID.day_quota, GRID.lax) == (14 * HOUR, 62 * HOUR, 2 * HOUR, False)
    free = load_policy("none")
    assert (free.max_job, free.max_jobs, free.edges, free.gap) == (None, None, (), 0)


def test_a_file_beside_comes_before_a_packaged_policy_and_may_build_on_it(tmp_path: Path) -> None:
    write(tmp_path, 'base = "student"\nedges = ["09:00"]\nmax_job = "no limit"\ngap = 0', "student")
    mine = load_policy("student", [tmp_path])
    assert (mine.edges, mine.max_job, mine.gap, mine.max_jobs) == ((dt.time(9),), None, 0, 1)
    assert load_policy(str(tmp_path / "student.toml")) == mine
    assert load_policy("student") == STUDENT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('max_jbo = "1h"', "did you mean 'max_job'"),
        ("max_job = 3600", "a time with its unit"),
        ('max_job = "an hour"', "not a time"),
        ("max_job = 0", "no limit"),
        ('gap = "0.5s"', "whole number of seconds"),
        ("max_jobs = true", "a whole number"),
        ("max_jobs = -1", "a whole number"),
        ('max_jobs = "-1"', "a whole number"),
        ('cores = "1.024"', "a whole number, 0 or more .*may be 1024 or 1"),
        ('cores = "many"', "a whole number, 0 or more .*'many' is not a whole number"),
        ('edges = ["25:00"]', "a time of day"),
        ('edges = "09:00"', "a list"),
        ('edge_days = "workign"', "working or every"),
        ("working_days = []", "one or more of mon"),
        ('lax = "yes"', "true or false"),
        ("title = 3", "a text in quotes"),
        ('base = "studnet"', "did you mean 'student'"),
        ("max_job =", "not valid TOML"),
        ('day_start = "20:00"', "must come before day_end"),
    ],
)
def test_mistakes_in_a_file_get_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_policy(str(write(tmp_path, text)))


def test_unknown_names_and_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'student'"):
        load_policy("studnt", [tmp_path])
    with pytest.raises(UserError, match=r"can't be read \(No such file"):
        load_policy(str(tmp_path / "none-here.toml"))
    with pytest.raises(UserError, match="country = 'XX'"):
        Calendar(Policy("p", country="XX"), PARIS).working(dt.date(2026, 11, 23))
    with pytest.raises(UserError, match="no working day"):
        Calendar(Policy("p", country="FR", working_days=()), PARIS).next_working(dt.date(2026, 11, 23))


def test_explain_says_every_rule() -> None:
    student, grid = "\n".join(explain(STUDENT)), "\n".join(explain(GRID))
    for rule in (
        "at most 1h",
        "At most 1 job runs",
        "1m1s",
        "2 advance reservations",
        "09:00 or 19:00 of a working day",
        "FR",
    ):
        assert rule in student
    for rule in ("14h of a night", "62h of a weekend", "2h x all cores", "less than 10m"):
        assert rule in grid
    assert "quota" not in student
    assert "Laxer" in "\n".join(explain(Policy("p", edges=(dt.time(9),), lax=True)))
    assert "no job crosses" not in "\n".join(explain(load_policy("none"))).lower()


# --- one request ---


def refused(
    start: str, seconds: int, policy: Policy = STUDENT, now: str | None = None, busy: tuple[ExistingJob, ...] = ()
) -> tuple:
    """Rules broken, and the nearest request that passes as (start, seconds)."""
    request = Request(paris(start), seconds)
    broken = check(request, policy, PARIS, paris(now or start), busy)
    near = broken[0].nearest if broken else None
    if near is not None:
        assert check(near, policy, PARIS, paris(now or start), busy) == []
        assert "nearest request that passes" in str(broken[0])
    return [item.rule for item in broken], near and (near.start, near.seconds)


@pytest.mark.parametrize(
    ("start", "seconds", "rules", "near"),
    [
        ("2026-11-23T10:00", HOUR, [], None),
        ("2026-11-23T10:00", 6 * HOUR, ["max_job"], ("2026-11-23T10:00", HOUR)),
        ("2026-11-23T18:30", HOUR, ["edge"], ("2026-11-23T17:59", HOUR)),
        ("2026-11-24T08:00", 59 * 60, [], None),  # ends at 8:59
        ("2026-11-24T08:00", 59 * 60 + 1, ["edge"], ("2026-11-24T07:59:59", 59 * 60 + 1)),
        ("2026-11-24T09:01", HOUR, [], None),
        ("2026-11-24T09:00", HOUR, ["edge"], ("2026-11-24T09:01", HOUR)),
        ("2026-11-28T08:30", HOUR, [], None),  # a Saturday
        ("2026-12-25T08:30", HOUR, [], None),  # Christmas, a Friday
        ("2027-03-29T18:30", HOUR, [], None),  # Easter Monday
        ("2026-11-24T05:00", 5 * HOUR, ["max_job", "edge"], ("2026-11-24T05:00", HOUR)),
    ],
)
def test_student_requests(start: str, seconds: int, rules: list[str], near: tuple[str, int] | None) -> None:
    now = "2026-11-23T00:00"
    expected = near and (paris(near[0]), near[1])
    assert refused(start, seconds, now=now) == (rules, expected)


def test_the_nearest_request_is_never_in_the_past() -> None:
    assert refused("2026-11-23T18:20", HOUR) == (["edge"], (paris("2026-11-23T18:20"), 39 * 60))
    assert refused("2026-11-23T18:30", HOUR) == (["edge"], (paris("2026-11-23T19:01"), HOUR))
    assert refused("2026-11-23T10:00", HOUR, now="2026-11-23T10:10") == (["past"], (paris("2026-11-23T10:10"), HOUR))


def test_one_job_at_a_time_and_the_gap() -> None:
    job = ExistingJob(paris("2026-11-23T10:00"), paris("2026-11-23T11:00"), "42")
    now = "2026-11-23T10:30"
    assert refused("2026-11-23T11:01:01", HOUR, now=now, busy=(job,)) == ([], None)
    near = (paris("2026-11-23T11:01:01"), HOUR)
    assert refused("2026-11-23T11:01:00", HOUR, now=now, busy=(job,)) == (["max_jobs"], near)
    assert refused(now, 1800, now=now, busy=(job,))[0] == ["max_jobs"]
    unknown = ExistingJob(paris("2026-11-23T10:00"), None, "43")  # at most one longest job from now: until 11:30
    assert refused("2026-11-23T11:20", 1800, now=now, busy=(unknown,))[1] == (paris("2026-11-23T11:31:01"), 1800)
    assert refused("2026-11-23T11:00", HOUR, load_policy("none"), now=now, busy=(job, unknown)) == ([], None)


def test_a_third_reservation_is_refused_and_a_plain_job_offered() -> None:
    now, waiting = (
        paris("2026-11-23T10:00"),
        [ExistingJob(paris(f"2026-11-24T0{h}:00"), paris(f"2026-11-24T0{h}:30"), reservation=True) for h in (1, 2)],
    )
    request = Request(paris("2026-11-24T04:00"), HOUR, reservation=True)
    (broken,) = check(request, STUDENT, PARIS, now, waiting)
    assert broken.rule == "max_reservations"
    assert broken.nearest == Request(request.start, HOUR)
    assert check(request, STUDENT, PARIS, now, waiting[:1]) == []


@pytest.mark.parametrize(
    ("start", "seconds", "rules", "length"),
    [
        ("2026-11-23T19:01", 13 * HOUR + 58 * 60, [], None),  # Monday night, to 8:59
        ("2026-11-23T19:01", 14 * HOUR, ["edge"], 13 * HOUR + 58 * 60),
        ("2026-11-27T19:01", 61 * HOUR + 58 * 60, [], None),  # Friday evening to Monday 8:59
        ("2027-10-29T19:01", 62 * HOUR + 58 * 60, ["weekend_limit"], 62 * HOUR),  # the clock goes back: 63 h
        ("2027-03-26T19:01", 84 * HOUR + 58 * 60, ["weekend_limit"], 62 * HOUR),  # Easter: 85 real hours
        ("2026-11-23T09:01", 2 * HOUR, [], None),
        ("2026-11-23T09:01", 3 * HOUR, ["day_quota"], 2 * HOUR),
    ],
)
def test_grid5000_limits(start: str, seconds: int, rules: list[str], length: int | None) -> None:
    near = length and (paris(start), length)
    assert refused(start, seconds, GRID, now="2026-11-20T12:00") == (rules, near)


def test_the_quota_counts_cores_and_spares_short_jobs_at_short_notice() -> None:
    sized = load_policy("grid5000")
    sized = Policy(**{**sized.__dict__, "cores": 256})
    now = paris("2026-11-23T10:00")
    spent = [ExistingJob(paris("2026-11-23T09:01"), paris("2026-11-23T09:59"), cores=256)]

    def broken(seconds: int, cores: int | None, start: str = "2026-11-23T11:00") -> list[str]:
        return [item.rule for item in check(Request(paris(start), seconds, cores), sized, PARIS, now, spent)]

    left = 2 * HOUR - 59 * 60
    spent.append(ExistingJob(paris("2026-11-23T06:00"), paris("2026-11-23T09:01"), cores=256))  # one minute of the day
    assert broken(left, 256) == [] == broken(left, None)
    assert broken(left + 1, 256) == ["day_quota"]
    assert broken(left * 2, 128) == []
    assert broken(7 * HOUR, 8) == []
    assert broken(HOUR, 256, "2026-11-23T10:09:59") == []
    spent.append(ExistingJob(paris("2026-11-23T10:00"), paris("2026-11-23T11:02"), cores=256))
    assert broken(HOUR, 256, "2026-11-23T10:09:59") == []
    assert broken(HOUR + 1, 256, "2026-11-23T10:09:59") == ["day_quota"]
    assert broken(HOUR, 256, "2026-11-23T10:10") == ["day_quota"]


def test_the_laxer_reading_is_a_setting() -> None:
    lax = Policy(**{**GRID.__dict__, "lax": True})
    evening = Request(paris("2026-11-23T18:30"), 6 * HOUR)
    assert [item.rule for item in check(evening, GRID, PARIS, paris("2026-11-23T17:30"))] == ["edge"]
    assert check(evening, lax, PARIS, paris("2026-11-23T17:30")) == []
    assert [item.rule for item in check(evening, lax, PARIS, paris("2026-11-23T16:59"))] == ["edge"]
    morning = Request(paris("2026-11-24T06:00"), 4 * HOUR)
    assert check(morning, lax, PARIS, paris("2026-11-24T05:00")) == []
    assert [item.rule for item in check(morning, lax, PARIS, paris("2026-11-23T23:00"))] == ["edge"]
    longer = Request(paris("2026-11-24T06:00"), 6 * HOUR)  # three hours of the day, with two allowed
    assert [item.rule for item in check(longer, lax, PARIS, paris("2026-11-24T05:00"))] == ["day_quota"]


# --- moments as people type them ---


def test_moments() -> None:
    assert paris("2026-11-23T17:30:00").isoformat() == "2026-11-23T17:30:00+01:00"
    assert paris("2026-11-23T17:30:00Z").isoformat() == "2026-11-23T18:30:00+01:00"
    assert paris("2026-12-24").isoformat() == "2026-12-24T00:00:00+01:00"
    assert paris("2027-10-31T02:30").isoformat() == "2027-10-31T02:30:00+02:00"  # the first of two
    now = paris("2026-11-23T17:30")
    assert parse_instant("19:01", PARIS, now) == paris("2026-11-23T19:01")
    assert parse_instant("8:59", PARIS, now) == paris("2026-11-24T08:59")
    assert parse_instant("now", PARIS, now) == now
    assert parse_instant("02:30", PARIS, paris("2027-03-28T01:00")) == paris("2027-03-29T02:30")  # skipped on the 28th


@pytest.mark.parametrize(
    ("text", "told"),
    [("2027-03-28T02:30", "skips"), ("tonight", "write it as"), ("0001-01-01", "2000"), ("19:01", "write it")],
)
def test_moments_that_are_none(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        paris(text)


@pytest.mark.parametrize("text", ["1024", '"1024"', '"1 024"', '"1,024"', "1_024"])
def test_numbers_of_a_file_are_read_as_those_of_the_command_line(tmp_path: Path, text: str) -> None:
    assert load_policy(str(write(tmp_path, f"cores = {text}"))).cores == 1024
