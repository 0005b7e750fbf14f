"""The day quota counts jobs to the end of their day, also once they have ended."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import ModuleType

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings, state_folder
from ganhpc.core.subprocesses import Answer
from ganhpc.core.whoami import user_name
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers import oar, slurm
from ganhpc.launch.schedulers.base import Availability, Job, JobState
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.schedulers.slurm_output import SEPARATOR
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

    def find(self) -> Availability:
        return Availability(True, "here")

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
    return Cluster(Settings())


def first_minutes(cluster: Cluster, tmp_path: Path, now: str = "2026-11-23T12:00") -> float:
    """Seconds of the day (to 19:00) that a run of an hour is planned for."""
    policy = load_policy(str(tmp_path / "quota.toml"))
    tz = submit.zone(Settings(), policy)
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


def test_a_number_that_was_given_again_is_not_the_noted_job(cluster: Cluster, tmp_path: Path) -> None:
    """After the scheduler's database was made anew, or on another cluster, the same number is another job's."""
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    here = cluster.origin.cluster
    recent_jobs.add("slurm", Submitted("5", at("23T11:00"), 120.0, here, "mine"))
    other = Job("5", JobState.ENDED, "COMPLETED", tag="other", start=at("23T10:00"), end=at("23T10:01"))
    cluster.told = (other,)
    assert first_minutes(cluster, tmp_path) == 120, "both count"
    cluster.told, cluster.known = (), (other,)
    assert first_minutes(cluster, tmp_path) == 180, "the noted one as planned"
    with (state_folder() / "submitted-slurm.jsonl").open("a") as file:
        file.write(json.dumps(["6", at("23T11:00"), 60.0, f"not {here}", "mine"]) + "\n")
    cluster.__dict__["origin"] = cluster.origin._replace(cluster=here or "here")
    assert first_minutes(cluster, tmp_path) == 180, "a quota is one cluster's"
    cluster.__dict__["origin"] = cluster.origin._replace(cluster="")
    assert first_minutes(cluster, tmp_path) == 120, "where the cluster can't be told, all that is noted counts"


def test_a_cluster_of_the_same_name_with_other_servers_has_a_quota_of_its_own(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_jobs.time, "time", lambda: at("23T12:00"))  # older notes are forgotten
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    here = cluster.origin._replace(cluster="linux", servers=("ctl1:6817",))
    cluster.__dict__["origin"] = here
    for id, servers in (("5", ("ctl1:6817",)), ("6", ("ctl9:6817",))):
        noted = Submitted.at(here._replace(servers=servers), id, at("23T11:00"), 120.0, "mine")
        recent_jobs.add("slurm", noted)
        assert list(recent_jobs._read(recent_jobs._file("slurm")))[-1] == noted
    assert first_minutes(cluster, tmp_path) == 180


def test_a_job_in_the_queue_counts_once(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends between the two questions, or one in a state of a later version, was counted as waiting and as ended."""
    (tmp_path / "quota.toml").write_text(QUOTA + 'min_slot = "1m"\n')
    moment = dt.datetime.fromtimestamp(at("23T12:00"), dt.UTC)
    job = Job("5", JobState.ENDED, "COMPLETED", start=at("23T11:00"), end=at("23T11:01"))
    cluster.told = (job, Job("6", JobState.ENDED, "COMPLETED", start=at("23T11:02"), end=at("23T11:03")))
    policy = load_policy(str(tmp_path / "quota.toml"))
    found = recent_jobs.ended_today(cluster, policy, [job], moment, submit.zone(Settings(), policy))
    assert [(busy.start.timestamp(), busy.job) for busy in found] == [(at("23T11:02"), "")]
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    line = SEPARATOR.join(["12_1", "COMPLETED", "600", "660", "9:00", "(null)", "None", "a", "(null)", "x"])
    answers(
        monkeypatch,
        slurm,
        {"sacct": Answer(0, "12_1|COMPLETED|0:0|600|660\n", ""), "squeue": Answer(0, f"{line}\n", "")},
    )
    assert [job.id for job in Slurm(Settings()).ended_since(500.0)] == ["12_1"], "a task of an array, told by both"


@pytest.mark.parametrize(
    ("state", "now"), [("REQUEUED", "RUNNING"), ("PREEMPTED", "RUNNING"), ("NODE_FAIL", "PENDING"), ("REQUEUED", "")]
)
def test_what_a_job_did_before_it_was_sent_again_counts(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, now: str
) -> None:
    """A run of unknown length is sent again by its own job: a day's quota was its for ever."""
    (tmp_path / "quota.toml").write_text(QUOTA)
    policy = load_policy(str(tmp_path / "quota.toml"))
    first, second = (int(at(f"23T1{hour}:00")) for hour in (0, 1))
    ends = {"RUNNING": "Unknown", "": str(second + 600)}
    lines = [
        f"12|{state}|0:0|{first}|{first + 1800}",
        f"12|{now or 'COMPLETED'}|0:0|{second}|{ends.get(now, 'Unknown')}",
    ]
    squeue = (
        "12 PENDING N/A N/A"
        if now == "PENDING"
        else f"12 {now or 'COMPLETED'} {second} {second + (3600 if now else 600)}"
    )
    told = SEPARATOR.join([*squeue.split(), "1:00:00", "(null)", "None", "a", "(null)", "x"])
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    sacct = Answer(0, "\n".join(lines[: 1 if now == "PENDING" else 2]) + "\n", "")
    answers(monkeypatch, slurm, {"sacct -D": sacct, "squeue": Answer(0, f"{told}\n", "")})
    monkeypatch.setattr(slurm.time, "time", lambda: at("23T12:00"))
    real = Slurm(Settings())
    ended = real.ended_since(at("23T00:00"))
    assert [job.start for job in ended] == [first] + ([] if now else [second])
    cluster.told = tuple(ended)
    moment = dt.datetime.fromtimestamp(at("23T12:00"), dt.UTC)
    found = recent_jobs.ended_today(cluster, policy, real.queue(), moment, submit.zone(Settings(), policy))
    spans = [(busy.start.timestamp(), busy.end and busy.end.timestamp()) for busy in found]
    assert spans == [(first, first + 1800)] + ([] if now else [(second, second + 600)])


def test_damaged_notes_count_for_nothing(cluster: Cluster, tmp_path: Path) -> None:
    file = state_folder() / "submitted-slurm.jsonl"
    file.write_text('[]\nx\n["1", "a", 2]\n["1", 1e400, 60]\n[1, 2, 3]\n{"a": 1}\n["1", [], {}]\n')
    assert first_minutes(cluster, tmp_path) == 300
    recent_jobs.add("slurm", Submitted("6", at("23T11:00"), 60.0))
    assert '"6"' in file.read_text()


def answers(monkeypatch: pytest.MonkeyPatch, module: ModuleType, found: dict[str, Answer]) -> None:
    """Answer the scheduler's commands; each by the first key that is part of its words."""

    def ask(words: list[str], *_: object) -> Answer:
        return next((answer for key, answer in found.items() if key in " ".join(words)), Answer(0, "", ""))

    monkeypatch.setattr(module, "ask", ask)


def test_no_word_of_a_note_becomes_one_of_a_schedulers_command(cluster: Cluster) -> None:
    assert cluster
    words = ("--sql", "-a", "7 8", "7\n8", "", "\0", "9" * 101, 7, None, "7")
    lines = [json.dumps([id, at("23T11:00"), 60.0]) for id in words]
    file = recent_jobs._file("slurm")
    file.write_text("\n".join(lines) + "\n")
    assert [each.id for each in recent_jobs._read(file)] == ["7"]


def test_oar_is_asked_for_the_users_own_jobs_that_have_run_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"state": "Terminated", "startTime": 1000, "stopTime": 1005, "walltime": 300}
    told = {"7": one, "8": {**one, "state": "Running", "stopTime": 0}, "9": {**one, "startTime": 0}}
    asked = f"--sql job_user = '{user_name()}' AND stop_time >= 500"
    answers(monkeypatch, oar, {asked: Answer(0, json.dumps(told), "perl: warning: Setting locale failed.")})
    found = oar.Oar(Settings()).ended_since(500.0)
    assert [(job.id, job.start, job.end) for job in found] == [("7", 1000, 1005)], "what it took, not its walltime"
    answers(monkeypatch, oar, {asked: Answer(0, "", "")})
    assert oar.Oar(Settings()).ended_since(500.0) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, "", ""),
        Answer(1, "", "no database"),
        Answer(0, "", "DBD::Pg::st execute failed: x"),
        Answer(0, '{"7" : {', ""),
    ],
)
def test_oars_unsure_answer_is_not_read_as_nothing_used(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    answers(monkeypatch, oar, {"--sql": answer})
    with pytest.raises(UserError, match=r"doesn't say which of your jobs ended today .*day quota.*try again"):
        oar.Oar(Settings()).ended_since(500.0)


@pytest.mark.parametrize(
    ("sacct", "squeue", "sure"),
    [
        (Answer(1, "", "sacct: error: slurm_persist_conn_open: failed to open persistent connection: Connection refused"), Answer(0, "", ""), False),
        (Answer(None, "", ""), Answer(0, "", ""), False),
        (Answer(0, "", ""), Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller"), False),
        (Answer(1, "", "Slurm accounting storage is disabled"), Answer(0, "", ""), True),
        (Answer(0, "", ""), Answer(0, "", ""), True),
    ],
)  # fmt: skip
def test_slurms_unsure_answer_is_not_read_as_nothing_used(
    monkeypatch: pytest.MonkeyPatch, sacct: Answer, squeue: Answer, sure: bool
) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    answers(monkeypatch, slurm, {"sacct": sacct, "squeue": squeue})
    if sure:
        assert Slurm(Settings()).ended_since(500.0) == []
        return
    with pytest.raises(UserError, match=r"doesn't say which of your jobs ended today .*day quota.*try again"):
        Slurm(Settings()).ended_since(500.0)
