"""Whose job it is: jobs of another cluster or another person are neither asked for nor touched, whatever their numbers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ganhpc.cli.commands import cancel
from ganhpc.core.errors import BusyError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission import job_status, submit
from ganhpc.runs import job_origin, submission_record
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_files import Entry
from ganhpc.runs.run_folder import State
from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import install
from tests.launch.submission.test_job_status import look, oar, submitted
from tests.launch.submission.test_prepare import wanted
from tests.launch.submission.test_sending import send


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return install(tmp_path, monkeypatch)


def change(w: submit.Wanted, **values: object) -> None:
    """Make every job of the record one of another place or person."""
    with submission_record.updated(w.run) as tree:
        for entry in tree["jobs"]:
            entry.update(values)  # type: ignore[typeddict-item]


def at(cluster: str) -> Scheduler:
    scheduler = Oar(Settings())
    scheduler.origin = Origin.here("oar", cluster)  # type: ignore[misc]
    return scheduler


@pytest.mark.slow  # a second of processor time: processes of its own
@pytest.mark.usefixtures("fake")
def test_a_job_is_recorded_with_its_place_and_person(tmp_path: Path) -> None:
    w = wanted(tmp_path, time=600.0)
    send(w, at("lille.example"))
    (entry,) = submission_record.read(w.run)["jobs"]
    assert (entry["scheduler"], entry["cluster"], entry["uid"]) == ("oar", "lille.example", os.getuid())
    assert entry["user"] == job_origin.user_of(os.getuid())


@pytest.mark.slow  # 2 s of processor time: processes of its own
@pytest.mark.parametrize(
    "values",
    [{"cluster": "lyon.example"}, {"uid": os.getuid() + 1, "user": "alice"}, {"tag": "beef-1-00", "cluster": "x"}],
)
def test_jobs_of_another_place_or_person_are_left_alone_by_all(
    fake: FakeOar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object]
) -> None:
    """The queue here has a job with the very number, which is another one."""
    w = wanted(tmp_path, time=600.0)
    send(w, at("lille.example"))
    fake.run(["oardel", "1"])
    fake.run(["oarsub", "-l", "/nodes=1,walltime=0:30:00", "sleep 1000"])
    change(w, job_id="2", **{"tag": "beef-1-00", **values})
    (view,), trouble = job_status.look([w.run], lambda _: at("lille.example"))
    (known,) = view.jobs
    assert trouble == [] and not known.asked and view.run_status.state is State.WAITING
    assert "not asked here" in known.job.message
    assert str(values.get("user", values.get("cluster"))) in known.job.message
    assert "ended" not in submission_record.read(w.run)["jobs"][0]
    scheduler = at("lille.example")
    todo, said = submit.survey([w], scheduler.queue(), scheduler.origin)
    assert todo == [] and "submitted elsewhere" in said[0] and "--elsewhere" in said[0]
    monkeypatch.setattr(cancel, "answering", lambda _: at("lille.example"))
    assert "is not cancelled: job 2 is on" in cancel._cancel(view, False)
    assert fake.job(2)["state"] in ("Waiting", "Running", "toLaunch", "Launching")
    assert "cancelled" not in submission_record.read(w.run)
    assert "is cancelled" in cancel._cancel(view, True)
    assert submission_record.read(w.run)["jobs"][0]["ended"] == "cancelled"
    assert fake.job(2)["state"] in ("Waiting", "Running", "toLaunch", "Launching")
    assert submit.survey([w], scheduler.queue(), scheduler.origin)[0], "written off: it may be submitted here"


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_an_old_record_is_of_this_place_where_the_tag_matches(fake: FakeOar, tmp_path: Path) -> None:
    run = submitted(tmp_path)
    assert look(run).jobs[0].asked
    assert submission_record.read(run)["jobs"][0]["uid"] == os.getuid(), "the place is known now"
    other = submitted(tmp_path)
    with submission_record.updated(other) as tree:
        tree["jobs"] = [{**tree["jobs"][-1], "tag": "beef-1-00"}]
        for key in ("cluster", "uid", "user", "scheduler"):
            tree["jobs"][0].pop(key, None)  # type: ignore[misc]
    fake.advance(5)
    fake.run(["oardel", "2"])
    view = look(other)
    assert not view.jobs[0].asked and submission_record.read(other)["jobs"][0].get("ended") is None
    assert "forgotten" not in submission_record.read(other)["jobs"][0]


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_job_that_its_place_has_forgotten_is_not_ended(tmp_path: Path, fake: FakeOar) -> None:
    run = submitted(tmp_path)
    look(run)
    with submission_record.updated(run) as tree:
        tree["jobs"][0]["job_id"], tree["jobs"][0]["tag"] = "77", "beef-1-00"
    view = look(run)
    entry = submission_record.read(run)["jobs"][0]
    assert view.run_status.state is State.LOST and "ended" not in entry and entry["forgotten"] > 0
    assert submission_record.open_jobs(submission_record.read(run)), "it is asked for again"
    assert fake.job(1)["state"] == "Waiting"


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_job_once_written_off_as_unknown_is_asked_for_again(tmp_path: Path, fake: FakeOar) -> None:
    run = submitted(tmp_path)
    with submission_record.updated(run) as tree:
        tree["jobs"][0]["ended"] = "unknown"
    assert look(run).jobs[0].job.id == "1"
    fake.advance(5)
    fake.finish(1, exit_code=3)
    look(run)
    assert submission_record.read(run)["jobs"][0]["ended"] == "failed"


@pytest.mark.usefixtures("fake")
def test_two_people_at_one_instant_submit_a_run_once(tmp_path: Path) -> None:
    w = wanted(tmp_path, time=600.0)
    entry: Entry = {"tag": "cafe-1-00", "segment": 1}
    submission_record.note_intent(
        w.run, [entry], {"scheduler": "oar"}, about_to=True, here=Origin("oar", "x", os.getuid() + 1, "bob")
    )
    with pytest.raises(BusyError, match="has just been submitted elsewhere"):
        submission_record.note_intent(w.run, [entry], {}, about_to=True, here=Origin.here("oar", "x"))
    assert len(submission_record.read(w.run)["jobs"]) == 1


def test_a_run_that_another_person_trains_looks_so_without_the_right_to_write(tmp_path: Path) -> None:
    run = wanted(tmp_path, time=600.0).run
    with run.hold():
        run.lock.chmod(0o444)
        assert run.is_held()


def test_oar_is_asked_of_by_name(fake: FakeOar) -> None:
    del fake
    assert oar("oar").cluster()


def test_clusters_of_one_name_are_told_apart_by_their_servers() -> None:
    here = Origin.here("slurm", "linux", ("ctl1:6817", "ctl2:6817"))
    assert here.is_of(here.to_entry()) and not here.is_of(Origin.here("slurm", "linux", ("ctl1:7000",)).to_entry())
    other = Origin.here("slurm", "linux", ("host9:6817",)).to_entry()
    assert not here.may_ask(other) and not here.is_of(other)
    assert here.is_of(Origin.here("slurm", "linux", ("ctl2:6817", "ctl3:6817")).to_entry()), "a stand-in"
    assert here.is_of(Origin.here("slurm", "linux").to_entry()), "of a version that did not note servers"
    assert Origin.here("slurm", "linux").may_ask(other), "servers that can't be told here"


@pytest.mark.parametrize(
    ("age", "lives"), [(0, True), (599, True), (601, False), (-599, True), (-601, False), (-1e9, False), (1e9, False)]
)
def test_a_submission_that_another_clock_noted_is_open_for_ten_minutes_in_both_directions(age: float, lives: bool) -> None:  # fmt: skip
    entry = {"tag": "t", "job_id": None, "scheduler": "slurm", "cluster": "beta", "uid": os.getuid()}
    record = {"jobs": [entry], "submitted": time.time() - age}
    here = Origin("slurm", "alpha", os.getuid(), "me")
    assert bool(job_origin.elsewhere(record, here)) == lives  # type: ignore[arg-type]
