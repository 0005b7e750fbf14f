"""A night's script that is run by hand looks for jobs that came since its plan, as the launcher does."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ganhpc.core.errors import UserError
from ganhpc.launch.policy.constraints import Constraints
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.submission import place_left
from ganhpc.runs.run_files import Entry
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar

PARIS = ZoneInfo("Europe/Paris")
NOW = dt.datetime(2026, 11, 23, 14, 0, tzinfo=PARIS)
STUDENT = load_policy("student")
TWO = dataclasses.replace(STUDENT, name="two", max_jobs=2)


def at(hour: int, minute: int = 0) -> float:
    return NOW.replace(hour=hour, minute=minute).timestamp()


def entry(kind: str, hour: int = 19, segment: int = 1) -> Entry:
    start = NOW.replace(hour=hour, minute=1)
    end = start + dt.timedelta(hours=1)
    tag = f"beefcafe-{segment}-00ff"
    return {"tag": tag, "kind": kind, "start": start.isoformat(), "end": end.isoformat(), "seconds": 3600}


BEGIN, CHAIN, RESERVED = entry("begin"), entry("chain", 20, 2), entry("reservation")
LATEST = int(at(23))
WAITS = Job("7", JobState.WAITING, walltime=600, start=NOW.timestamp(), end=NOW.timestamp() + 600)
OWN = Job("8", JobState.WAITING, tag="beefcafe-1-00ff", start=at(19, 1), end=at(20, 1), walltime=3600)


def running(end: float | None) -> Job:
    return Job("7", JobState.RUNNING, start=NOW.timestamp() - 60, end=end, walltime=3600)


def reserved(start: float, id: str = "7") -> Job:
    return Job(id, JobState.WAITING, start=start, end=start + 600, walltime=600, reservation=True)


CASES = [
    # What came since the plan may run beside the job.
    (BEGIN, [WAITS], [], STUDENT, "more than 1 at a time"),
    (BEGIN, [running(at(19, 30))], [], STUDENT, "more than 1 at a time"),
    (BEGIN, [running(None)], [], STUDENT, ""),  # an hour at most, from now on
    (BEGIN, [running(at(19))], [], STUDENT, "more than 1 at a time"),  # within the gap of 61 s
    (BEGIN, [running(at(18))], [], STUDENT, ""),
    (BEGIN, [reserved(at(22))], [], STUDENT, "more than 1 at a time"),
    (BEGIN, [reserved(at(15))], [], STUDENT, ""),
    (RESERVED, [reserved(at(19, 30))], [], STUDENT, "more than 1 at a time"),
    (RESERVED, [reserved(at(22))], [], STUDENT, ""),
    (RESERVED, [reserved(at(22)), reserved(at(23), "9")], [], STUDENT, "2 waiting advance reservations"),
    # It waits for those that were there, and for what they wait for; and its own launch was planned as one.
    (BEGIN, [WAITS], ["7"], STUDENT, ""),
    (BEGIN, [WAITS, dataclasses.replace(WAITS, id="9", after=("7",))], ["9"], STUDENT, ""),
    (BEGIN, [dataclasses.replace(running(at(19, 30)), id="7_3")], ["7"], STUDENT, ""),  # a task of the array
    (CHAIN, [OWN], ["8"], STUDENT, ""),
    (CHAIN, [OWN, WAITS], ["8"], STUDENT, "more than 1 at a time"),
    (CHAIN, [dataclasses.replace(OWN, after=("7",)), WAITS], ["8"], STUDENT, ""),
    (CHAIN, [OWN, running(at(18))], ["8"], STUDENT, ""),
    # Two at a time, or as many as one likes.
    (BEGIN, [WAITS], [], TWO, ""),
    (BEGIN, [WAITS, dataclasses.replace(WAITS, id="9")], [], TWO, "more than 2 at a time"),
    (BEGIN, [WAITS], [], load_policy("none"), ""),
    (BEGIN, [WAITS], [], dataclasses.replace(load_policy("none"), max_submitted=1), "1 submitted jobs at a time"),
]


@pytest.mark.parametrize(("entry", "queue", "behind", "policy", "said"), CASES)
def test_jobs_that_came_since_the_plan(
    entry: Entry, queue: Sequence[Job], behind: Sequence[str], policy: Policy, said: str
) -> None:
    latest = int(at(19, 1)) if entry["kind"] == "reservation" else LATEST
    why = list(place_left.broken(entry, latest, behind, Constraints(policy, PARIS, NOW, []), queue))
    assert bool(why) == bool(said) and all(said in each for each in why), why


def test_the_day_quota_counts_them_too() -> None:
    policy = dataclasses.replace(load_policy("grid5000"), day_quota=3600, quota_free_job=0)
    early = {**BEGIN, "start": NOW.replace(hour=16).isoformat()}
    rules = Constraints(policy, PARIS, NOW, [])
    assert not list(place_left.broken(early, int(at(17)), [], rules, []))
    (why,) = place_left.broken(early, int(at(17)), [], rules, [running(NOW.timestamp() + 1800)])
    assert "day quota" in why


def test_a_plan_that_another_launch_has_replaced_submits_nothing(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "runs", Cifar.from_preset("course").replace(data="synthetic"))
    with pytest.raises(UserError, match="since it was planned or submitted anew"):
        place_left.check(run, "beefcafe-1-00ff", LATEST, [])
