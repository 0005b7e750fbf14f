"""A launcher that stands still for an hour at any look at the clock, as under SIGSTOP: no job stays that could not end in time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from ganhpc.cli.launching import scheduler_launch
from ganhpc.core.errors import UserError
from ganhpc.core.settings import state_folder
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.schedulers.slurm import Slurm
from tests.launch.submission.fake_scheduler import Fake, wanted

PARIS = ZoneInfo("Europe/Paris")
MORNING = dt.datetime(2026, 11, 24, 7, 30, tzinfo=PARIS)
"""A Tuesday, one and a half hours before the 9:00 edge."""


class Clock:
    """Goes on by a second at each look, and by an hour at one of them."""

    def __init__(self, jump: int, seconds: float) -> None:
        self.looks, self.jump, self.seconds, self.at = 0, jump, seconds, MORNING

    def __call__(self) -> dt.datetime:
        self.looks += 1
        self.at += dt.timedelta(seconds=self.seconds if self.looks == self.jump else 1)
        return self.at


class Cluster(Fake):
    """Takes every job, and notes when; a job may be taken long after it was handed over."""

    def __init__(self, clock: Clock, slow: int) -> None:
        super().__init__(able=Slurm.able)
        self.clock, self.slow = clock, slow
        self.alive: dict[str, tuple[dt.datetime, Any]] = {}

    def submit(self, prepared: Any) -> str:
        id = super().submit(prepared)
        if len(self.taken) == self.slow:
            self.clock.at += dt.timedelta(seconds=self.clock.seconds)
        self.alive[id] = self.clock.at, prepared.request
        return id

    def cancel(self, job: str) -> None:
        del self.alive[job]

    def queue(self) -> list[Job]:
        return [
            Job(id, JobState.WAITING, "PENDING", tag=request.tag, start=(request.start or at).timestamp(), walltime=request.seconds)
            for id, (at, request) in self.alive.items()
        ]  # fmt: skip


@pytest.mark.parametrize("seconds", [50.0, 3600.0, 14 * 3600.0])
@pytest.mark.parametrize(("jump", "slow"), [*((k, 0) for k in range(1, 8)), *((0, k) for k in range(1, 4))])
def test_no_job_stays_that_can_not_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int, slow: int, seconds: float
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state_folder().mkdir(parents=True)
    clock = Clock(jump, seconds)
    cluster = Cluster(clock, slow)

    class Place:
        scheduler, policy, policy_source = cluster, load_policy("student"), "student"
        now = property(lambda _: clock())

    w = wanted(tmp_path, time=2.0 * 3600)
    made = scheduler_launch._Round([])
    try:
        assert scheduler_launch._submit([w], cast(Any, Place()), made, None, part=False, shown=None) is None
    except UserError as error:
        assert "longer than the plan allows" in str(error) or "no more fits" in str(error), error
    else:
        assert made.sent and {job.id for job in made.sent} == cluster.alive.keys()
    for at, request in cluster.alive.values():
        latest = request.deadline or request.until
        begins = max(at, request.start or at)
        assert latest is None or begins + dt.timedelta(seconds=request.seconds) <= latest
        ends = begins + dt.timedelta(seconds=request.seconds)
        edges = [begins.replace(hour=hour, minute=0, second=0) for hour in (9, 19)]
        assert not [edge for edge in edges if begins < edge < ends], "none across an edge"
