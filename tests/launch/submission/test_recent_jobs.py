"""The day quota counts jobs to the end of their day, also once they have ended."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from ganhpc.core.settings import Site, state_folder
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers.base import Found, Job, JobState
from ganhpc.launch.schedulers.oar_output import ended_in_gantt
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import recent_jobs
from ganhpc.launch.submission.prepare import Wanted
from ganhpc.launch.submission.recent_jobs import Submitted
from tests.helpers import made

QUOTA = 'base = "grid5000"\ncores = 8\nday_quota = "5m"\nquota_free_job = "1s"\n'


class Cluster(Slurm):
    """A Slurm with jobs that ended, which accounting tells or not."""

    told: tuple[Job, ...] = ()
    known: tuple[Job, ...] = ()

    def find(self) -> Found:
        return Found(True, "here")

    def ended_since(self, moment: float) -> list[Job]:
        return [job for job in self.told if (job.end or 0) > moment]

    def jobs(self, ids):  # type: ignore[no-untyped-def]
        found = {job.id: job for job in self.known}
        return {id: found.get(id, Job(id, JobState.UNKNOWN)) for id in ids}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state_folder().mkdir(parents=True)
    (tmp_path / "quota.toml").write_text(QUOTA)
    return Cluster(Site())


def first_minutes(cluster: Cluster, tmp_path: Path, now: str = "2026-11-23T12:00") -> float:
    """Seconds of the day (to 19:00) that a run of an hour is planned for."""
    policy = load_policy(str(tmp_path / "quota.toml"))
    tz = submit.zone(Site(), policy)
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=tz)
    run = made(tmp_path, epochs=None, time=3600.0)
    plan = submit.prepare([Wanted(run, run.experiment())], cluster, policy, moment).plan
    evening = moment.replace(hour=19, minute=0, second=0)
    return sum(s.seconds for s in plan.slots if s.start < evening)


def at(text: str) -> float:
    return dt.datetime.fromisoformat(f"2026-11-{text}+01:00").timestamp()


def test_an_ended_job_counts_to_the_end_of_its_day(cluster: Cluster, tmp_path: Path) -> None:
    assert first_minutes(cluster, tmp_path) == 300
    cluster.told = (Job("1", JobState.ENDED, "COMPLETED", start=at("23T11:00"), end=at("23T11:03")),)
    assert first_minutes(cluster, tmp_path) == 0, "two minutes are shorter than any slot of this policy"
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    assert first_minutes(cluster, tmp_path) == 120
    assert first_minutes(cluster, tmp_path, "2026-11-24T12:00") == 300, "the next day has its own"


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        ("23T11:00", "23T11:01", 240),
        ("23T08:00", "23T09:01", 240),  # the part before 9:00 is of the night
        ("22T11:00", "22T11:03", 300),  # yesterday
        ("23T11:00", None, 0),  # its end is not known: until now
    ],
)
def test_how_much_of_it_counts(cluster: Cluster, tmp_path: Path, start: str, end: str | None, left: float) -> None:
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    cluster.told = (Job("1", JobState.FAILED, "FAILED", start=at(start), end=at(end) if end else None),)
    if end is None:
        cluster.ended_since = lambda _: list(cluster.told)  # type: ignore[method-assign]
    assert first_minutes(cluster, tmp_path) == left


def test_without_accounting_the_launchers_own_notes_count(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    recent_jobs.add("slurm", Submitted("5", at("23T11:00"), 120.0))
    assert first_minutes(cluster, tmp_path) == 180, "its whole walltime, since nobody knows when it ended"
    cluster.known = (Job("5", JobState.ENDED, "COMPLETED", start=at("23T11:00"), end=at("23T11:01")),)
    assert first_minutes(cluster, tmp_path) == 240
    cluster.known = (Job("5", JobState.CANCELLED, "CANCELLED"),)
    assert first_minutes(cluster, tmp_path) == 300, "it never ran"
    cluster.known = ()
    cluster.told = (Job("5", JobState.ENDED, "COMPLETED", start=at("23T11:00"), end=at("23T11:01")),)
    assert first_minutes(cluster, tmp_path) == 240, "counted once"


def test_damaged_notes_count_for_nothing(cluster: Cluster, tmp_path: Path) -> None:
    file = state_folder() / "submitted-slurm.jsonl"
    file.write_text('[]\nx\n["1", "a", 2]\n["1", 1e400, 60]\n[1, 2, 3]\n{"a": 1}\n["1", [], {}]\n')
    assert first_minutes(cluster, tmp_path) == 300
    recent_jobs.add("slurm", Submitted("6", at("23T11:00"), 60.0))
    assert '"6"' in file.read_text()


def test_oars_gantt_is_read_with_the_users_own_jobs_only() -> None:
    one = {"state": "Terminated", "start_time": 1000, "stop_time": 1060, "walltime": 120, "user": "me"}
    jobs = {"1": one, "2": {**one, "user": "other"}, "3": {**one, "state": "Running"}, "4": {**one, "start_time": 0}}
    text = "# a banner\n" + json.dumps({"dead_resources": {}, "jobs": jobs, "resources": []}, indent=1)
    found = ended_in_gantt(text, "me")
    assert [(job.id, job.start, job.end) for job in found] == [("1", 1000, 1060)]
    listed = json.dumps({"jobs": [{"id": 1, **one}]})
    assert [job.id for job in ended_in_gantt(listed, "me")] == ["1"]
    assert ended_in_gantt("nonsense", "me") == [] and ended_in_gantt("{", "me") == []
