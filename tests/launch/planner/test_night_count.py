"""How many nights runs take: a night's hours under each policy, nothing lost, nothing that fits nowhere."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.settings import Settings
from ganhpc.launch.planner.night_count import MOST, nights
from ganhpc.launch.planner.planner import Work
from ganhpc.launch.planner.planning_window import tonight
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import prepare
from ganhpc.launch.submission.prepare import Wanted
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar

PARIS = ZoneInfo("Europe/Paris")
THURSDAY = dt.datetime(2026, 11, 26, 17, 0, tzinfo=PARIS)
STUDENT, NONE = load_policy("student"), load_policy("none")


def hours(*lengths: float) -> list[Work]:
    return [Work(f"run{k}", 3600 * length) for k, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("lengths", "count", "end"),
    [
        ([1], 1, "2026-11-26T20:01:00+01:00"),
        ([1] * 13, 1, "2026-11-27T08:13:12+01:00"),  # twelve gaps of 61 s
        ([14], 2, "2026-11-27T19:16:13+01:00"),
        ([1] * 27, 2, "2026-11-28T08:29:26+01:00"),
    ],
)
def test_a_night_of_the_student_policy_holds_thirteen_hours_of_jobs(lengths: list[float], count: int, end: str) -> None:
    found = nights(hours(*lengths), STUDENT, THURSDAY, PARIS, Slurm.able)
    assert found and (found.count, found.left) == (count, 0)
    assert found.start.isoformat() == "2026-11-26T19:01:00+01:00"
    assert found.end.isoformat() == end


def test_without_rules_a_night_is_from_evening_to_morning() -> None:
    found = nights(hours(10, 10, 10), NONE, THURSDAY, PARIS)
    assert found and found.count == 3
    assert found.end.isoformat() == "2026-11-28T21:00:00+01:00"


@pytest.mark.parametrize("policy", [STUDENT, NONE])
def test_a_policy_without_a_shortest_slot_has_no_empty_night(policy: Policy) -> None:
    """The night that ends at this very moment is over, where no second before the morning is kept free either."""
    policy = dataclasses.replace(policy, min_slot=0, end_before_edge=0)
    found = nights(hours(30), policy, THURSDAY, PARIS, Slurm.able)
    assert found and found.left == 0 and found.count == 3
    morning = THURSDAY.replace(hour=9)
    window = tonight(policy, PARIS, morning)
    assert window.start.date() == morning.date() and window.start.hour == 19 and window.end.day == 27
    assert tonight(policy, PARIS, morning - dt.timedelta(seconds=1)).end == morning


def test_in_the_middle_of_a_night_its_rest_counts() -> None:
    found = nights(hours(3, 3), NONE, THURSDAY.replace(hour=4), PARIS)
    assert found and (found.count, found.start.hour, found.end.hour) == (2, 4, 20)


def test_more_nights_than_are_planned_are_told_by_what_is_left() -> None:
    found = nights(hours(14 * (MOST + 2)), NONE, THURSDAY, PARIS)
    assert found and found.count == MOST and found.left == 2 * 14 * 3600


def test_what_fits_into_no_night_has_none() -> None:
    policy = dataclasses.replace(STUDENT, night_limit=1)
    weekend = nights(hours(1), policy, THURSDAY, PARIS, Slurm.able)
    assert weekend and (weekend.count, f"{weekend.start:%A}") == (1, "Friday"), "there is a place at the weekend"
    policy = dataclasses.replace(policy, weekend_limit=1)
    assert nights(hours(1), policy, THURSDAY, PARIS, Slurm.able) is None


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 8), min_size=1, max_size=12), st.integers(0, 7 * 24))
def test_a_run_more_never_takes_fewer_nights(lengths: list[float], later: int) -> None:
    now = THURSDAY + dt.timedelta(hours=later)
    fewer, all_of_them = (nights(hours(*some), STUDENT, now, PARIS, Slurm.able) for some in (lengths[:-1], lengths))
    assert all_of_them and (not fewer or fewer.count <= all_of_them.count)
    most = sum(lengths) / 12.5 + 2  # a whole night has more than 12.5 hours for jobs
    assert all_of_them.count <= most


def test_nights_are_counted_with_the_margins_that_a_submission_has(tmp_path: Path) -> None:
    """A policy whose evening leaves a slot that a late job would not fit into: the plan passes it over, and so does the count."""
    tight = dataclasses.replace(STUDENT, min_slot=60, night_limit=None, edges=(dt.time(19, 4), dt.time(9)))
    experiment = Cifar.from_preset("course").replace(data="synthetic", time=600.0)
    wanted = [Wanted(Run(tmp_path / "run"), experiment)]
    works = [Work("run", 600.0)]
    now = dt.datetime(2026, 11, 26, 17, 0, tzinfo=PARIS)
    scheduler = Slurm(Settings(python=sys.executable))
    real = prepare.prepare(wanted, scheduler, tight, now, window=tonight(tight, PARIS, now)).plan
    counted = nights(works, tight, now, PARIS, scheduler.capabilities(), prepare.MARGINS)
    assert counted and (counted.start, counted.end) == (real.slots[0].start, real.slots[-1].end)
    bare = nights(works, tight, now, PARIS, scheduler.capabilities())
    assert bare and bare.start < counted.start, "the margins make the difference"
