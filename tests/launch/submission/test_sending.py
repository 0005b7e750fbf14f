"""Jobs sent to a fake OAR: once and once only, whoever is killed, refused or at it at the same instant."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.prepare import Wanted
from ganhpc.runs import submission_record
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run, State
from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import NOW, install
from tests.launch.submission.test_prepare import HOUR, PLAIN, wanted


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return install(tmp_path, monkeypatch)


def send(w: Wanted, scheduler: Scheduler, policy: Policy = PLAIN) -> list[str]:
    """Submit `w` as the launcher does; returns the ids."""
    with sending.one_launcher(scheduler.name):
        queue = scheduler.queue()
        todo, _ = sending.survey([w], queue)
        if not todo:
            return []
        made = submit.prepare(todo, scheduler, policy, NOW, queue)
        return [job.id for job in sending.send(made, todo, policy.name)]


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_sending_twice_submits_once(fake: FakeOar, tmp_path: Path) -> None:
    w, scheduler = wanted(tmp_path, time=3.0 * HOUR), Oar(Settings())
    first = send(w, scheduler)
    assert send(w, scheduler) == []
    assert [job.id for job in scheduler.queue()] == first
    entries = submission_record.read(w.run)["jobs"]
    assert [entry["job_id"] for entry in entries] == first
    assert [entry["segment"] for entry in entries] == list(range(1, len(first) + 1))
    assert w.run.run_status().state is State.WAITING
    assert fake.job(1)["name"] == f"ganhpc:{entries[0]['tag']}"


@pytest.mark.slow  # 2 s of processor time: processes of its own
@pytest.mark.usefixtures("fake")
def test_jobs_of_one_launch_and_of_the_next_wait_for_one_another(tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    first = send(wanted(tmp_path, time=2.0 * HOUR), scheduler)
    second = send(wanted(tmp_path, time=1.0 * HOUR, seed=1), scheduler)
    jobs = {job.id: job for job in scheduler.queue()}
    free = [job for job in jobs.values() if not job.after and not job.reservation]
    assert len(free) == 1, "one job may start, the others wait for it or have their fixed times"
    assert {*first, *second} == set(jobs)
    spans = sorted((job.start or 0, job.end or 0) for job in jobs.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_job_started_by_hand_is_respected(fake: FakeOar, tmp_path: Path) -> None:
    fake.run(["oarsub", "-l", "/nodes=1,walltime=0:30:00", "sleep 1000"])
    fake.advance(5)
    scheduler = Oar(Settings())
    (id,) = send(wanted(tmp_path, time=HOUR / 2), scheduler)
    assert next(job for job in scheduler.queue() if job.id == id).after == ("1",)


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_job_of_a_chain_that_is_taken_back_frees_no_other_beside_one_that_runs(fake: FakeOar, tmp_path: Path) -> None:
    """OAR has no singleton: a job that waits only for the one before it starts once that is deleted, whatever else runs."""
    fake.run(["oarsub", "-l", "/nodes=1,walltime=0:30:00", "sleep 1800"])
    fake.advance(5)
    first, second, third, *_ = send(wanted(tmp_path, time=3.0 * HOUR), Oar(Settings()))

    def running() -> list[str]:
        fake.advance(120)
        return [job.id for job in Oar(Settings()).queue() if job.native == "Running"]

    fake.run(["oardel", first])
    assert running() == ["1"], "the job that was there before the chain"
    fake.advance(1800)
    assert running() == [second]
    waits = {job.id: job.after for job in Oar(Settings()).queue()}
    assert {first, second} <= set(waits[third])


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_reservation_whose_slot_is_taken_becomes_a_job_that_ends_by_the_slots_end(
    fake: FakeOar, tmp_path: Path
) -> None:
    taken = dt.datetime(2037, 11, 23, 19, 0)
    assert (
        fake.run(["oarsub", "-l", "/nodes=2,walltime=0:10:00", "-r", f"{taken:%Y-%m-%d %H:%M:%S}", "date"]).returncode
        == 0
    )
    policy = Policy("edge", max_job=HOUR, edges=(dt.time(19, 0),), edge_days="every", start_after_edge=60, gap=61)
    scheduler, w = Oar(Settings(time_zone=None)), wanted(tmp_path, time=3.0 * HOUR)
    made = submit.prepare([w], scheduler, policy, NOW)
    assert "reservation" in [slot.kind for slot in made.plan.slots]
    sent = sending.send(made, [w], "edge")
    note, *_ = [job.note for job in sent if job.note]
    assert "no reservation (the slot is taken" in note
    assert "OAR offers Mon 23 Nov 19:11:01" in note
    assert [job["kind"] for job in submission_record.read(w.run)["jobs"]] == [slot.kind for slot in made.plan.slots]


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_refusal_keeps_what_was_sent_and_the_same_command_goes_on(fake: FakeOar, tmp_path: Path) -> None:
    scheduler, w = Oar(Settings()), wanted(tmp_path, time=3.0 * HOUR)
    made = submit.prepare([w], scheduler, PLAIN, NOW)
    fail_after(scheduler, 1, fake)
    with pytest.raises(UserError, match=r"refused job 2 of .*job 1 before it stays submitted. Type the command again"):
        sending.send(made, [w], "student")
    assert w.run.run_status().state is State.WAITING
    fake.trouble("oarsub", "")
    later = send(w, Oar(Settings()))
    entries = submission_record.read(w.run)["jobs"]
    assert [entry["job_id"] for entry in entries] == ["1", *later]
    assert sum(entry["work"] for entry in entries) == 3 * HOUR


def fail_after(scheduler: Oar, good: int, fake: FakeOar) -> None:
    """From the submission after `good` ones on, oarsub fails."""
    submit_job, count = scheduler.submit, iter(range(100))

    def failing(ready: object) -> str:
        if next(count) == good:
            fake.trouble("oarsub", "maintenance")
        return submit_job(ready)  # type: ignore[arg-type]

    scheduler.submit = failing  # type: ignore[method-assign]


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_refused_first_job_leaves_a_run_that_says_so(fake: FakeOar, tmp_path: Path) -> None:
    w = wanted(tmp_path, time=1.0 * HOUR)
    fake.trouble("oarsub", "maintenance")
    with pytest.raises(
        UserError, match=r"OAR refused job 1 of 1: oarsub says no \(DBI .*maintenance\); nothing is submitted"
    ):
        send(w, Oar(Settings()))
    assert w.run.run_status().state is State.REFUSED
    fake.trouble("oarsub", "")
    assert send(w, Oar(Settings())) == ["1"]
    assert w.run.run_status().state is State.WAITING


KILLED = """
import os, sys
from pathlib import Path
from tests.launch.submission import test_sending as t
from ganhpc.launch.submission import submit as sending; from ganhpc.runs import submission_record as record
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.core.settings import Settings
where, folder = sys.argv[1], Path(sys.argv[2])
w, scheduler = t.wanted(folder, time=2.0 * t.HOUR), Oar(Settings())
def die(*_, **__):
    os.kill(os.getpid(), 9)
if where == "before":
    scheduler.submit = die
else:
    sending.submission_record.note_id = die
t.send(w, scheduler)
"""


@pytest.mark.slow  # 2 s of processor time: processes of its own
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_launcher_that_is_killed_never_submits_twice(fake: FakeOar, tmp_path: Path, where: str) -> None:
    """Killed between the written intent and the submission, or between the submission and the note of its id."""
    root = str(Path(__file__).parents[3])
    env = {**os.environ, **fake.env, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, where, str(tmp_path)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    w, scheduler = wanted(tmp_path, time=2.0 * HOUR), Oar(Settings())
    there = [job.id for job in scheduler.queue()]
    assert there == ([] if where == "before" else ["1"])
    assert all(entry["job_id"] is None for entry in submission_record.read(w.run)["jobs"])
    send(w, scheduler)
    entries = submission_record.read(w.run)["jobs"]
    assert sorted(entry["job_id"] for entry in entries) == sorted(job.id for job in scheduler.queue())
    assert sum(entry["work"] for entry in entries) == 2 * HOUR
    assert sorted(entry["segment"] for entry in entries) == list(range(1, len(entries) + 1))


@pytest.mark.slow  # 3 s of processor time: processes of its own
@pytest.mark.parametrize("seeds", [(1, 2), (1, 1, 1)])
def test_launchers_at_the_same_instant_submit_one_after_the_other(
    fake: FakeOar, tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.launch.submission import test_sending as t; from ganhpc.launch.schedulers.oar import Oar; "
        "from ganhpc.core.settings import Settings; print(t.send(t.wanted(Path(sys.argv[1]), time=1800.0, seed=int(sys.argv[2])), Oar(Settings())))"
    )
    env = {**os.environ, **fake.env, "PYTHONPATH": str(Path(__file__).parents[3])}
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(seed)], env=env) for seed in seeds]
    assert {child.wait(120) for child in children} == {0}
    first, *others = sorted(Oar(Settings()).queue(), key=lambda job: int(job.id))
    assert not first.after
    assert [job.after for job in others] == [(first.id,)] * (len(set(seeds)) - 1), "one job a run, behind one another"


def test_a_second_launcher_waits_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert sending.PATIENCE_SECONDS == 60, "as the sentence says"
    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0.2)
    begun = time.monotonic()
    with (
        sending.one_launcher("oar"),
        pytest.raises(UserError, match="another launcher of yours"),
        sending.one_launcher("oar"),
    ):
        pass
    assert time.monotonic() - begun >= 0.2


@pytest.mark.slow  # a second of processor time: processes of its own
@pytest.mark.usefixtures("fake")
def test_a_full_home_is_a_sentence_and_nothing_is_submitted(tmp_path: Path) -> None:
    w, scheduler = wanted(tmp_path, time=2.0 * HOUR), Oar(Settings())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = submit.prepare([w], scheduler, PLAIN, NOW)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(UserError, match=r"can't write .*request\.json: .*then type the same command again"):
            sending.send(made, [w], "plain")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert scheduler.queue() == []
    assert send(w, scheduler) == ["1", "2"]


def test_a_folder_of_launchers_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(UserError, match="the disk is full: free some space"), sending.one_launcher("oar"):
        pass


def test_a_run_that_another_trainer_holds_is_not_submitted(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    with w.run.hold():
        todo, said = sending.survey([w], [])
    assert todo == []
    assert "running already" in said[0]


def test_the_record_survives_many_writers(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    entries = [{"tag": f"t{k}", "segment": k, "work": 1, "seconds": 1, "last": False} for k in range(20)]
    submission_record.note_intent(w.run, entries, {"scheduler": "oar"}, about_to=True)
    code = "import sys; from pathlib import Path; from ganhpc.runs import submission_record as record; from ganhpc.runs.run_folder import Run\nfor k in range(int(sys.argv[2]), 20, 4): record.note_id(Run(Path(sys.argv[1])), f't{k}', str(k))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    children = [subprocess.Popen([sys.executable, "-c", code, str(w.run.folder), str(k)], env=env) for k in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert [job["job_id"] for job in json.loads(w.run.request_json.read_text())["jobs"]] == [str(k) for k in range(20)]


def test_experiments_are_only_definitions_here(tmp_path: Path) -> None:
    assert isinstance(wanted(tmp_path).experiment, Experiment)


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_chain_of_several_jobs_at_a_time_is_sent_one_behind_the_other(fake: FakeOar, tmp_path: Path) -> None:
    assert fake
    two = dataclasses.replace(PLAIN, max_jobs=2)
    scheduler, w = Oar(Settings()), wanted(tmp_path, time=3.0 * HOUR)
    ids = send(w, scheduler, two)
    jobs = {job.id: job for job in scheduler.queue()}
    chained = [jobs[id].after for id in ids]
    assert len(ids) >= 3 and chained == [(), *((id,) for id in ids[:-1])]


@pytest.mark.usefixtures("fake")
def test_runs_whose_folders_have_one_name_are_each_submitted(tmp_path: Path) -> None:
    """Names that people give: in folders of experiments, and in copies of them."""
    several = [wanted(tmp_path, time=HOUR / 4, seed=seed) for seed in range(3)]
    places = [tmp_path / name / "best" for name in ("runs/mine", "runs/older", "elsewhere/older")]
    for w, place in zip(several, places, strict=True):
        place.parent.mkdir(parents=True)
        w.run.folder.rename(place)
    renamed = [dataclasses.replace(w, run=Run(place)) for w, place in zip(several, places, strict=True)]
    made = submit.prepare(renamed, Oar(Settings()), PLAIN, NOW)
    sent = [job.id for job in sending.send(made, renamed, "plain")]
    noted = [[job["job_id"] for job in submission_record.read(w.run)["jobs"]] for w in renamed]
    assert len(sent) == 3 and [[id] for id in sent] == noted
