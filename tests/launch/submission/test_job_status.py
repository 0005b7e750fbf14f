"""Runs and jobs together."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.base import JobState, Scheduler
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission import job_status
from ganhpc.launch.submission.job_status import RunView
from ganhpc.runs import submission_record
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from jobs.dcgan import Dcgan
from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import install, request, send
from tests.launch.submission.test_prepare import wanted


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    return install(tmp_path, monkeypatch)


def oar(name: str) -> Scheduler:
    assert name == "oar"
    return Oar(Settings())


def submitted(tmp_path: Path) -> Run:
    """A run with one job of the fake OAR."""
    run = wanted(tmp_path, time=600.0).run
    asked = request(tmp_path, run=run.folder)
    entry = {"tag": asked.tag, "segment": 1, "work": 600, "seconds": 600, "last": True, "start": None, "end": None}
    submission_record.note_intent(run, [entry], {"scheduler": "oar"}, about_to=True)
    submission_record.note_id(run, asked.tag, send(Oar(Settings()), asked))
    return run


def look(run: Run) -> RunView:
    (view,), trouble = job_status.look([run], oar)
    assert not trouble
    return view


@pytest.mark.slow  # a second of processor time: processes of its own
def test_waiting_running_and_the_walltimes_end(fake: FakeOar, tmp_path: Path) -> None:
    run = submitted(tmp_path)
    view = look(run)
    assert (view.run_status.state, view.run_status.reason) == (State.WAITING, "for job 1")
    assert view.next_slot is not None
    fake.advance(5)
    assert (look(run).run_status.state, look(run).run_status.reason) == (
        State.RUNNING, "job 1 has started, its training not yet"
    )  # fmt: skip
    write_json(
        run.status_json,
        {"state": "running", "host": "gone", "time": time.time() - 1000, "seconds": 300.0, "budget_seconds": 600.0},
    )
    fake.advance(700)
    view = look(run)
    assert (view.run_status.state, view.run_status.reason) == (State.LOST, "out of time before its first checkpoint")
    assert view.time_left == 300
    assert view.next_command == f"python launch.py resume {run}"
    assert submission_record.read(run)["jobs"][0]["ended"] == "timeout"
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000001.json", {})
    assert look(run).run_status.reason == "out of time; the last checkpoint is whole"
    json.dumps(view.to_json())


def test_what_was_said_of_an_ended_job_is_kept_when_the_scheduler_forgets(fake: FakeOar, tmp_path: Path) -> None:
    run = submitted(tmp_path)
    fake.advance(5)
    fake.finish(1, exit_code=3)
    assert look(run).run_status.reason == "its job ended (its job failed) before the training began"
    fake.trouble("oarstat", "down")
    assert look(run).run_status.state is State.LOST, "nobody is asked again"


def test_a_job_that_ends_by_itself_before_it_trains_has_its_log_read(fake: FakeOar, tmp_path: Path) -> None:
    """A setup line with an `exit 0`, for instance: the same again would end alike."""
    run = submitted(tmp_path)
    fake.advance(5)
    fake.finish(1, exit_code=0)
    view = look(run)
    assert view.run_status.reason == "its job ended (by itself) before the training began"
    assert view.next_command == f"python launch.py logs {run}"


def test_a_scheduler_that_does_not_answer_is_a_sentence_and_nothing_is_forgotten(fake: FakeOar, tmp_path: Path) -> None:
    run = submitted(tmp_path)
    fake.trouble("oarstat", "down")
    (view,), trouble = job_status.look([run], oar)
    assert "OAR's queue can't be read" in trouble[0]
    assert view.jobs[0].job.message == "its scheduler does not answer"
    assert view.run_status.state is State.WAITING
    fake.trouble("oarstat", "")
    assert look(run).jobs[0].job.id == "1"


@pytest.mark.usefixtures("fake")
def test_a_job_whose_id_was_never_written_down_is_found_by_its_tag(tmp_path: Path) -> None:
    run = submitted(tmp_path)
    with submission_record.updated(run) as tree:
        tree["jobs"][0]["job_id"] = None
    assert run.run_status().state is State.NEW, "for the files alone there is no job"
    assert look(run).jobs[0].job.id == "1"
    assert submission_record.read(run)["jobs"][0]["job_id"] == "1"


@pytest.mark.usefixtures("fake")
def test_a_cancelled_run_stays_cancelled_until_it_is_launched_again(tmp_path: Path) -> None:
    run = submitted(tmp_path)
    submission_record.note_cancelled(run)
    assert look(run).run_status.state is State.CANCELLED
    submission_record.note_intent(run, [], {}, about_to=True)
    assert look(run).run_status.state is State.WAITING


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("said", [State.RUNNING, State.RESUMABLE])
@pytest.mark.parametrize("of", ["the job that failed", "a job before it"])
def test_a_trainer_that_was_killed_is_gone_on_with_and_a_job_that_never_began_one_is_looked_into(
    tmp_path: Path, said: State, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node agent killed by kill -9, or one of several trainers: the job failed, its log tells nothing, and the run can be resumed."""
    run = submitted(tmp_path)
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "step-0000000005.json").write_text("{}")
    (entry,) = submission_record.read(run)["jobs"]
    submission_record.note_ended(run, {entry["tag"]: JobState.FAILED.value})
    monkeypatch.setenv("GANHPC_TAG", entry["tag"] if of == "the job that failed" else "another")
    write_status(run, said, reason="rank 1 was killed by SIGKILL")
    view = look(run)
    assert view.run_status.state is State.RESUMABLE
    assert view.next_command.split()[2] == ("resume" if of == "the job that failed" else "logs")
    if said is State.RESUMABLE:
        assert ("then its job failed" in view.run_status.reason) == (of == "a job before it")


def test_every_state_has_a_next_command() -> None:
    assert set(job_status.NEXT) == set(State)


def test_a_refused_run_says_why(tmp_path: Path) -> None:
    run = wanted(tmp_path).run
    submission_record.note_refused(run, "the policy 'student' has no place for it")
    (view,), _ = job_status.look([run], oar)
    assert (view.run_status.state, view.run_status.reason) == (
        State.REFUSED,
        "the policy 'student' has no place for it",
    )
    assert "policy --check" in view.next_command
    submission_record.note_refused(run, "Slurm refused job 1 of 1: Invalid partition name specified")
    (view,), _ = job_status.look([run], oar)
    assert "launch.py resume" in view.next_command, "the rules of the policy have nothing to do with it"


def test_nobody_is_asked_where_nothing_is_open(tmp_path: Path) -> None:
    def never(name: str) -> Scheduler:
        raise UserError(name)

    (_,), trouble = job_status.look([wanted(tmp_path).run], never)
    assert trouble == []


def test_nothing_is_next_that_must_be_refused(tmp_path: Path) -> None:
    """`resume` of a run whose pictures are gone, or whose definition this version can't read."""
    pictures = tmp_path / "few"
    pictures.mkdir()
    run = Run.open(tmp_path / "runs", Dcgan(data=str(pictures)))
    (view,), _ = job_status.look([run], oar)
    assert view.hindrance == "" and view.way_on() == f"next: python launch.py resume {run}"
    pictures.rmdir()
    (view,), _ = job_status.look([run], oar)
    assert view.way_on().startswith(
        f"to go on: --data {pictures}: there is no such folder or zip any more, and the run {run.name}"
    )
    assert view.next_command == f"python launch.py logs {run}" and view.to_json()["hindrance"] == view.hindrance
    pictures.mkdir()
    write_json(run.experiment_json, {**json.loads(run.experiment_json.read_text()), "from_tomorrow": 1})
    (view,), _ = job_status.look([run], oar)
    assert "from_tomorrow" in view.way_on() and "resume" not in view.next_command


def test_a_verb_does_not_send_to_itself(tmp_path: Path) -> None:
    run = wanted(tmp_path).run
    write_json(run.status_json, {"state": "crashed", "reason": "a loss that is not finite"})
    (view,), _ = job_status.look([run], oar)
    assert view.way_on("logs") == "" and view.way_on("status") == f"next: python launch.py logs {run}"
