"""Plans are made at the moment of their submission: behind the user's yes, the data, the other launchers' lock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from ganhpc.cli.commands import night
from ganhpc.cli.launching import scheduler_launch
from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers.base import Availability, Job, JobRequest, JobState, PreparedJob
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.launch.submission.prepare import Wanted
from tests.helpers import made

STUDENT = load_policy("student")
PARIS = submit.zone(Settings(), STUDENT)


class World:
    """A clock that only moves where a test moves it, and a Slurm whose answers take their time."""

    def __init__(self, now: str, seconds_a_job: float = 0.0) -> None:
        self.now = dt.datetime.fromisoformat(now).replace(tzinfo=PARIS)
        self.sent: list[tuple[dt.datetime, JobRequest]] = []
        world = self

        class Fake(Slurm):
            def find(self) -> Availability:
                return Availability(True, "here")

            def queue(self) -> list[Job]:
                return []

            def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
                return {id: Job(id, JobState.UNKNOWN) for id in ids}

            def submit(self, prepared: PreparedJob) -> str:
                world.sent.append((world.now, prepared.request))
                world.wait(seconds_a_job)
                return str(len(world.sent))

            def granted(self, job: str, tag: str) -> list[Job]:
                asked = world.sent[-1][1]
                return [Job(job, JobState.WAITING, "PENDING", tag=tag, walltime=asked.seconds, after=asked.after)]

        self.scheduler = Fake(Settings())

    def wait(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    def place(self) -> LaunchContext:
        return LaunchContext(self.scheduler, STUDENT, "student", PARIS)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    found = World("2026-11-24T07:50")
    monkeypatch.setattr(LaunchContext, "now", property(lambda _: found.now))
    return found


def wanted(tmp_path: Path, seconds: float = 1800.0) -> list[Wanted]:
    run = made(tmp_path, epochs=None, time=seconds)
    return [Wanted(run, run.experiment())]


def test_the_clock_is_read_behind_data_and_lock(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_launch, "fetch_data", lambda *_: world.wait(20 * 60))
    lock = sending.one_launcher

    def slow(name: str):  # type: ignore[no-untyped-def]
        world.wait(15 * 60)
        return lock(name)

    monkeypatch.setattr(sending, "one_launcher", slow)
    scheduler_launch.send(wanted(tmp_path), world.place(), Console(quiet=True))
    (at, request), *_ = world.sent
    assert at == world.now and request.start in (None, world.now)
    assert request.deadline and request.deadline.hour == 8 and request.deadline.minute == 59
    assert at.timestamp() + request.seconds <= request.deadline.timestamp() - 90


def agreed(world: World, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`night`, whose question is answered with yes after each of `waits`; returns what was asked and shown."""
    said: list[str] = []

    def answer(submission: submit.Submission, _: bool) -> bool:
        slot = submission.plan.slots[0]
        said.append(f"{slot.start:%H:%M} - {slot.end:%H:%M}")
        world.wait(waits.pop(0))
        return True

    monkeypatch.setattr(night, "_confirmed", answer)
    values = {"runs": str(tmp_path / "runs"), "new": False, "yes": False, "json": False, "now": None}
    place = world.place()
    night._agree(wanted(tmp_path), [], place, night.window_of(place, None, None), Console(quiet=True), values)
    return said


def test_a_plan_agreed_to_late_is_shown_and_asked_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = agreed(world, tmp_path, [35 * 60, 10], monkeypatch)
    assert said == ["07:50 - 08:20", "08:25 - 08:55"]
    at, request = world.sent[0]
    assert at.timestamp() + request.seconds <= parse_instant("2026-11-24T08:59", PARIS).timestamp() - 90


def test_a_quick_yes_is_asked_once(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreed(world, tmp_path, [20], monkeypatch) == ["07:50 - 08:20"]
    assert len(world.sent) == 1


def test_a_no_to_the_second_question_submits_nothing(world: World, tmp_path: Path) -> None:
    shown = submit.prepare(wanted(tmp_path), world.scheduler, STUDENT, world.now)
    world.wait(61)
    scheduler_launch.send(wanted(tmp_path), world.place(), Console(quiet=True), shown=shown, agree=lambda _: False)
    assert not world.sent
    scheduler_launch.send(wanted(tmp_path), world.place(), Console(quiet=True), shown=shown, agree=lambda _: True)
    assert len(world.sent) == 1


def test_what_is_left_of_a_plan_when_submitting_is_slow_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    slow = World("2026-11-23T18:58", seconds_a_job=30.0)
    monkeypatch.setattr(LaunchContext, "now", property(lambda _: slow.now))
    alive: list[Job] = []
    monkeypatch.setattr(type(slow.scheduler), "queue", lambda _: list(alive))
    submit_one = type(slow.scheduler).submit

    def submitted(self: Slurm, prepared: PreparedJob) -> str:
        id = submit_one(self, prepared)
        end = (alive[-1].end if alive else slow.now.timestamp()) or 0.0
        alive.append(Job(id, JobState.WAITING, tag=prepared.request.tag, start=end + 61, end=end + 61 + prepared.request.seconds, walltime=prepared.request.seconds))  # fmt: skip
        return id

    monkeypatch.setattr(type(slow.scheduler), "submit", submitted)
    scheduler_launch.send(wanted(tmp_path, 5 * 3600.0), slow.place(), Console(quiet=True))
    assert len(slow.sent) >= 5
    for at, request in slow.sent:
        if request.start and request.kind in ("begin", "reservation"):
            assert request.start > at, "no job is to begin in the past"


# -- moments that people type -------------------------------------------------------------------------------------------


def paris(text: str) -> dt.datetime:
    return parse_instant(text, PARIS)


@pytest.mark.parametrize(
    ("now", "begin", "until", "start", "end"),
    [
        ("2026-11-23T19:01:25", "19:01", None, "2026-11-23T19:01", None),
        ("2026-11-23T19:02:00", "19:01", None, "2026-11-24T19:01", None),
        ("2026-11-23T19:01:00", "19:01", "19:01", "2026-11-23T19:01", "2026-11-24T19:01"),
        ("2026-11-23T19:01:25", None, "19:01", None, "2026-11-24T19:01"),
        ("2026-11-23T17:00:00", "22:00", "07:00", "2026-11-23T22:00", "2026-11-24T07:00"),
        ("2026-10-24T23:00:00", None, "02:30", None, "2026-10-25T02:30+02:00"),
        ("2026-10-25T02:40:00+02:00", None, "02:30", None, "2026-10-25T02:30+01:00"),
        ("2027-03-27T22:00:00", None, "03:00", None, "2027-03-28T03:00"),
    ],
)
def test_from_and_until(
    world: World, now: str, begin: str | None, until: str | None, start: str | None, end: str | None
) -> None:
    world.now = paris(now)
    found = night.window_of(world.place(), begin, until)([], world.now)
    assert start is None or found.start == paris(start)
    assert end is None or found.end == paris(end)


def test_a_time_that_the_clock_skips_this_night_is_refused(world: World) -> None:
    world.now = paris("2027-03-27T22:00")
    with pytest.raises(UserError, match=r"--until 02:30 does not exist on Sun 28 Mar .* skips it"):
        night.window_of(world.place(), None, "02:30")
    with pytest.raises(UserError, match="--from '2027-03-28T02:30' does not exist"):
        night.window_of(world.place(), "2027-03-28T02:30", None)
    with pytest.raises(UserError, match="--until 'soon' is not a moment"):
        night.window_of(world.place(), None, "soon")


def test_the_next_time_of_day_may_be_the_present_second() -> None:
    now = paris("2026-11-23T19:01:00")
    assert parse_instant("19:01", PARIS, now) == now
    assert parse_instant("19:01", PARIS, now + dt.timedelta(seconds=1)) == paris("2026-11-24T19:01")
    assert parse_instant("19:01", PARIS, now, later=True) == paris("2026-11-24T19:01")
