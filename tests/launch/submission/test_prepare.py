"""Planning and preparing the jobs of runs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.planner.planner import Slot
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.base import Job, JobRequest, JobState, PreparedJob, Refused, with_expected_times
from ganhpc.launch.schedulers.local import Local
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.prepare import LEAST_WALLTIME, SLACK_SECONDS, Wanted
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import install

HOUR = 3600
STUDENT, NONE = load_policy("student"), load_policy("none")
PLAIN = Policy("plain", max_job=HOUR, max_jobs=1, gap=61)
"""One job of an hour at a time, at any time of day."""
PARIS = submit.zone(Settings(), STUDENT)
EVENING = dt.datetime(2026, 11, 23, 17, 30, tzinfo=PARIS)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return install(tmp_path, monkeypatch)


def wanted(tmp_path: Path, **values: object) -> Wanted:
    """A run of the course's network, whose folder is made."""
    experiment = Cifar.from_preset("course").replace(data="synthetic", **values)
    return Wanted(Run.open(tmp_path / "runs", experiment), experiment)


def prepared(w: Wanted, policy: Policy = STUDENT, name: str = "oar", now: dt.datetime = EVENING) -> submit.Submission:
    return submit.prepare(
        [w],
        {"oar": Oar, "slurm": Slurm, "local": Local}[name](
            Settings(python=None if name == "local" else sys.executable)
        ),
        policy,
        now,
    )


# -- how long ------------------------------------------------------------------------------------------------------------


def test_a_run_bounded_by_time_wants_what_it_has_not_used(tmp_path: Path) -> None:
    w = wanted(tmp_path, time=6.0 * HOUR)
    assert submit.seconds_to_go(w, STUDENT) == 6 * HOUR
    write_json(w.run.status_json, {"seconds": 1000.0, "state": "resumable"})
    assert submit.seconds_to_go(w, STUDENT) == 6 * HOUR - 1000


def test_fixed_epochs_want_one_longest_job_then_what_the_epochs_made_so_far_tell(tmp_path: Path) -> None:
    w = wanted(tmp_path, epochs=100, time=None)
    assert submit.seconds_to_go(w, STUDENT) == HOUR
    assert submit.seconds_to_go(w, NONE) == submit.LONGEST_SECONDS
    write_json(w.run.status_json, {"seconds": 3000.0, "epoch": 20.0, "state": "resumable"})
    assert submit.seconds_to_go(w, STUDENT) == pytest.approx(submit.RESERVE * 80 * 150)
    write_json(w.run.status_json, {"seconds": 3000.0, "epoch": 99.0, "state": "resumable"})
    assert submit.seconds_to_go(w, STUDENT) == submit.LEAST_SECONDS
    endless = wanted(tmp_path, epochs=100_000, time=None)
    write_json(endless.run.status_json, {"seconds": 3000.0, "epoch": 20.0, "state": "resumable"})
    assert submit.seconds_to_go(endless, STUDENT) == submit.MOST_GUESSED * HOUR, "no hundreds of jobs on a guess"


def test_segments_are_longest_jobs(tmp_path: Path) -> None:
    w = wanted(tmp_path, epochs=100, time=None)
    assert submit.seconds_to_go(Wanted(w.run, w.experiment, segments=4), STUDENT) == 4 * HOUR


@pytest.mark.parametrize(
    ("time_zone", "policy", "name"),
    [("Asia/Tokyo", STUDENT, "Asia/Tokyo"), (None, STUDENT, "Europe/Paris")],
)
def test_the_sites_clock_goes_before_the_policys(time_zone: str | None, policy: Policy, name: str) -> None:
    assert str(submit.zone(Settings(time_zone=time_zone), policy)) == name


# -- the jobs of a plan ----------------------------------------------------------------------------------------------------


def test_six_hours_are_a_chain_whose_last_job_ends_the_run(tmp_path: Path) -> None:
    made = prepared(wanted(tmp_path, time=6.0 * HOUR))
    asked = [job.request for job in made.jobs]
    assert sum(slot.work for slot in made.plan.slots) == 6 * HOUR
    assert [request.last for request in asked] == [False] * (len(asked) - 1) + [True]
    assert not any(request.again for request in asked), "the plan holds all of it"
    assert all(request.seconds <= HOUR for request in asked)
    assert len({request.tag for request in asked}) == len(asked)
    assert len({request.launch for request in asked}) == 1


def test_a_job_that_may_start_late_keeps_time_in_hand_before_its_deadline(tmp_path: Path) -> None:
    made = prepared(wanted(tmp_path, time=6.0 * HOUR), name="slurm")
    for slot, job in zip(made.plan.slots, made.jobs, strict=True):
        deadline = job.request.deadline
        assert deadline is not None, "an edge is near"
        assert (
            slot.start.timestamp() + job.request.seconds + SLACK_SECONDS <= deadline.timestamp()
            or job.request.seconds == 60
        )


def test_a_short_runs_job_has_time_to_start_up_where_the_rules_have_it(tmp_path: Path) -> None:
    half = prepared(wanted(tmp_path, time=HOUR / 2)).jobs[0].request
    assert half.seconds == HOUR / 2 + submit.STARTUP_SECONDS
    whole = prepared(wanted(tmp_path, time=1.0 * HOUR)).jobs[0].request
    assert whole.seconds == HOUR, "the longest job that the policy allows"


def test_without_edges_a_job_may_start_whenever(tmp_path: Path) -> None:
    assert prepared(wanted(tmp_path, time=1.0 * HOUR), NONE).jobs[0].request.deadline is None


def test_a_run_of_unknown_length_is_to_go_on_by_itself(tmp_path: Path) -> None:
    w = wanted(tmp_path, epochs=100, time=None)
    assert prepared(w, name="slurm").jobs[0].request.again
    chained = Wanted(w.run, w.experiment, segments=3)
    assert [job.request.again for job in prepared(chained, name="slurm").jobs] == [False] * 4


def test_a_request_that_the_policy_cannot_grant_is_refused_with_what_would_pass(tmp_path: Path) -> None:
    endless = Policy("endless", max_jobs=1)
    scheduler = Oar(Settings())
    busy = [Job("7", JobState.RUNNING, start=EVENING.timestamp())]
    made = submit.prepare([wanted(tmp_path, time=1.0 * HOUR)], scheduler, endless, EVENING, busy)
    with pytest.raises(UserError, match=r"'endless' has no place for 1h of .*job 7 has no known end.*try another"):
        submit.check_whole(made)


def test_alone_means_behind_every_job_that_is_there(tmp_path: Path) -> None:
    """An expected end may be late: the last job to end by the plan need not be the last in truth."""
    now = EVENING.timestamp()
    busy = [
        Job(id, JobState.RUNNING, start=now - 60, end=now + end) for id, end in (("7", 600), ("8", 1200), ("9", 300))
    ]
    made = submit.prepare([wanted(tmp_path, time=2.0 * HOUR)], Oar(Settings()), PLAIN, EVENING, busy)
    assert sorted(made.jobs[0].request.after) == ["7", "8", "9"]
    assert sorted(made.jobs[1].request.after) == ["7", "8", "9"], (
        "a first one that is taken back frees no other beside them"
    )
    busy += [Job("5", JobState.RUNNING, start=now - 60), Job("6", JobState.WAITING, start=now, end=now + 5400)]
    made = submit.prepare([wanted(tmp_path, time=1.0 * HOUR)], Oar(Settings()), PLAIN, EVENING, busy)
    assert sorted(made.jobs[0].request.after) == ["5", "6", "7", "8", "9"], "a job whose end nobody knows as well"


@pytest.mark.slow  # a second of processor time: processes of its own
def test_nothing_is_planned_into_the_gap_before_a_job_that_may_start_earlier(tmp_path: Path) -> None:
    """OAR and Slurm say when a waiting job is likely to start. Where a job before it ends early, it starts earlier than that: into what was
    planned before it."""
    now = EVENING.timestamp()
    running = Job("1", JobState.RUNNING, start=now - 60, end=now + 600)
    likely = {"start": now + 1800.0, "walltime": 600.0, "end": now + 2400.0}

    def first_slot(job: Job) -> tuple[float, tuple[str, ...]]:
        queue = with_expected_times([running, job], now)
        made = submit.prepare([wanted(tmp_path, time=0.25 * HOUR)], Oar(Settings()), PLAIN, EVENING, queue)
        return made.plan.slots[0].start.timestamp() - now, made.jobs[0].request.after

    behind = Job("2", JobState.WAITING, after=("1",), **likely)
    loose = Job("2", JobState.WAITING, **likely)
    for job in (behind, loose):
        start, after = first_slot(job)
        assert start >= 2400 and "2" in after, "behind it, whenever it really starts"
    held = Job("2", JobState.WAITING, not_before=now + 1800, **likely)
    reserved = Job("2", JobState.WAITING, reservation=True, **likely)
    for job in (held, reserved):
        assert 600 <= first_slot(job)[0] < 900, "what has a fixed start leaves the time before it free"


# -- short walltimes ----------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 3 s of processor time: processes of its own
@pytest.mark.parametrize("least", [1, 60, 120, 149, 150, 300])
@pytest.mark.parametrize("name", ["oar", "slurm", "local"])
def test_no_walltime_passes_its_deadline_even_where_the_scheduler_is_late(
    tmp_path: Path, name: str, least: int
) -> None:
    policy = dataclasses.replace(STUDENT, min_slot=least)
    for seconds_before in range(30, 400, 30):
        now = dt.datetime(2026, 11, 24, 8, 59, tzinfo=PARIS) - dt.timedelta(seconds=seconds_before)
        w = wanted(tmp_path / f"{seconds_before}", time=3600.0)
        for slot, job in zip((made := prepared(w, policy, name, now)).plan.slots, made.jobs, strict=True):
            asked = job.request.seconds
            assert asked >= LEAST_WALLTIME
            if slot.kind != "reservation":
                assert slot.start.timestamp() + asked + SLACK_SECONDS <= slot.deadline.timestamp()


@pytest.mark.parametrize("name", ["oar", "slurm"])
def test_a_policy_whose_longest_job_is_shorter_than_any_walltime_is_kept(tmp_path: Path, name: str) -> None:
    short = dataclasses.replace(PLAIN, max_job=59, min_slot=1)
    made = prepared(wanted(tmp_path, time=600.0), short, name)
    assert not made.plan.slots and "shorter than the 1m that every job is given" in made.plan.remaining[0].reason
    minute = prepared(wanted(tmp_path, time=600.0), dataclasses.replace(short, max_job=60), name)
    assert {job.request.seconds for job in minute.jobs} == {60}


def reservation(tmp_path: Path, seconds: int) -> tuple[JobRequest, Slot]:
    """A reservation that is about to be submitted."""
    start = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    end = start + dt.timedelta(seconds=seconds)
    request = JobRequest("t", tmp_path, 1, seconds, "reservation", start=start)
    return request, Slot("r", 1, start, end, "reservation", "", end)


@pytest.mark.slow  # 4 s of processor time for its 4 cases
@pytest.mark.parametrize(
    ("seconds", "unsure", "kinds"),
    [
        (149, False, ["reservation"]),  # what is left of it would be too short, or pass its end
        (150, False, ["reservation", "begin"]),
        (3600, False, ["reservation", "begin"]),
        (3600, True, ["reservation"]),  # it may have been taken: nothing is submitted a second time
    ],
)
def test_a_refused_reservation_becomes_a_job_that_ends_in_time_or_none(
    fake: FakeOar, tmp_path: Path, seconds: int, unsure: bool, kinds: list[str]
) -> None:
    assert fake
    scheduler, asked = Oar(Settings()), []

    def refuse(prepared: PreparedJob) -> str:
        asked.append(prepared.request)
        if prepared.request.kind == "reservation":
            raise Refused("taken", unsure=unsure)
        return "7"

    def granted(job: str, tag: str) -> list[Job]:
        return [Job(job, JobState.WAITING, "Waiting", tag=tag, walltime=asked[-1].seconds)]

    scheduler.submit, scheduler.granted = refuse, granted  # type: ignore[method-assign]
    request, slot = reservation(tmp_path, seconds)
    if kinds[-1] == "reservation":
        with pytest.raises(Refused, match="taken"):
            sending._hand_over(scheduler, request, slot, STUDENT)
    else:
        sending._hand_over(scheduler, request, slot, STUDENT)
        loose = asked[-1]
        assert loose.deadline == slot.end and loose.seconds == seconds - SLACK_SECONDS
    assert [each.kind for each in asked] == kinds


@pytest.mark.parametrize(
    ("kind", "alone", "behind", "after"),
    [
        ("chain", False, (), ("1",)),  # of several at a time, a chain all the same waits for the one before it
        ("chain", False, ("9",), ("9",)),  # or for the job that it was planned behind
        ("chain", True, ("9",), ("9", "0", "1")),
        ("begin", False, (), ()),
        ("now", False, (), ()),
        ("begin", True, (), ("0", "1")),
        ("reservation", True, (), ()),
    ],
)
def test_what_a_job_waits_for(
    tmp_path: Path, kind: str, alone: bool, behind: tuple[str, ...], after: tuple[str, ...]
) -> None:
    request = JobRequest("t", tmp_path, 2, 600, kind, after=behind, alone=alone)
    assert sending._after(request, [sending.SubmittedJob("0"), sending.SubmittedJob("1")]) == after
    assert sending._after(request, []) == behind
