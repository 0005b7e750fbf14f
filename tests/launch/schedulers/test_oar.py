"""OAR as we talk to it, against the strict fake (which the tests marked `cluster` compare with the real one)."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers import oar
from ganhpc.launch.schedulers.base import JobState, Refused, system_zone
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission import granted
from ganhpc.launch.submission.granted import Asked
from tests.clusters.fake_oar import FakeOar
from tests.clusters.fake_oar.state import opened
from tests.launch.schedulers.oar_requests import NOW, install, request, send
from tests.launch.schedulers.shell_commands import program


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("place", [os.mkfifo, Path.mkdir])
def test_no_job_is_submitted_that_would_wait_for_its_log(tmp_path: Path, place: Callable[[Path], object]) -> None:
    asked = request(tmp_path)
    asked.run.mkdir(parents=True)
    place(asked.log)
    with pytest.raises(UserError, match=r"log\.txt is a f"):
        send(Oar(Settings()), asked)
    assert Oar(Settings()).queue() == []


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("there", [True, False])
def test_no_job_is_submitted_whose_log_is_a_link(tmp_path: Path, there: bool) -> None:
    """In somebody's folder, to a start-up file of one's own: every line of the job's output would be added to it."""
    asked, own = request(tmp_path), tmp_path / ".bashrc"
    asked.run.mkdir(parents=True)
    asked.log.symlink_to(own)
    if there:
        own.write_text("alias ll='ls -l'\n")
    with pytest.raises(UserError, match=r"log\.txt is a link, .* move the link away"):
        send(Oar(Settings()), asked)
    assert Oar(Settings()).queue() == [] and own.exists() == there


@pytest.mark.slow  # 7 s in all
@pytest.mark.parametrize("folder", ["a run", "a+b's"])
@pytest.mark.parametrize("name", ["site-417", "", "N/A"])
def test_a_job_that_the_site_renames_is_known_by_its_script(
    fake: FakeOar, tmp_path: Path, name: str, folder: str
) -> None:
    asked = request(tmp_path, run=tmp_path / "runs" / "cifar" / folder)
    scheduler = Oar(Settings())
    id = send(scheduler, asked)
    with opened(fake.folder) as state:
        state.jobs[id]["name"] = name
    (job,) = scheduler.queue()
    assert (job.id, job.tag) == (id, asked.tag)
    with opened(fake.folder) as state:
        state.jobs[id]["command"] = "/site/wrapped.sh"
    assert [job.tag for job in scheduler.queue()] == [""]
    with pytest.raises(Refused, match=f"took the tag {asked.tag} out of the job.*job {id} is taken back"):
        granted.check(scheduler, id, Asked(asked.tag, 600), load_policy("none"))
    fake.advance(60)
    assert scheduler.queue() == []


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_job_is_submitted_seen_and_cancelled(fake: FakeOar, tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    assert scheduler.find().here
    assert scheduler.queue() == []
    id = send(scheduler, request(tmp_path))
    (job,) = scheduler.queue()
    assert (job.id, job.tag, job.state) == (id, "cafe-1-00", JobState.WAITING)
    assert job.walltime == 600, "of a job that waits, only the words of its request tell it"
    fake.advance(5)
    (job,) = scheduler.queue()
    assert (job.state, job.end) == (JobState.RUNNING, (job.start or 0) + 600)
    scheduler.cancel(id)
    fake.advance(60)
    assert scheduler.queue() == []
    assert scheduler.jobs([id])[id].state is JobState.CANCELLED


def test_the_script_is_run_from_a_folder_with_blanks(fake: FakeOar, tmp_path: Path) -> None:
    scheduler = Oar(Settings(python="/bin/echo"))
    id = send(scheduler, request(tmp_path))
    fake.advance(5)
    assert fake.run_job(int(id)) == 0
    said = request(tmp_path).log.read_text()
    assert "-m ganhpc.node" in said
    assert "a run --walltime=600" in said


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize(("code", "state"), [(0, JobState.ENDED), (3, JobState.FAILED), (99, JobState.ENDED)])
def test_terminated_only_means_over(fake: FakeOar, tmp_path: Path, code: int, state: JobState) -> None:
    scheduler = Oar(Settings())
    id = send(scheduler, request(tmp_path))
    fake.advance(5)
    fake.finish(int(id), exit_code=code)
    job = scheduler.jobs([id])[id]
    assert (job.native, job.state, job.exit_code) == ("Terminated", state, code)


@pytest.mark.slow  # a second of processor time: processes of its own
def test_the_end_of_the_walltime_and_a_missed_deadline_are_out_of_time(fake: FakeOar, tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    killed = send(scheduler, request(tmp_path))
    late = send(scheduler, request(tmp_path, tag="cafe-2-00", deadline=NOW + dt.timedelta(minutes=11), after=(killed,)))
    fake.advance(900)
    states = scheduler.jobs([killed, late, "99999"])
    assert {id: job.state for id, job in states.items()} == {
        killed: JobState.TIMEOUT,
        late: JobState.TIMEOUT,
        "99999": JobState.UNKNOWN,
    }


@pytest.mark.usefixtures("fake")
def test_a_taken_slot_is_refused_with_the_moment_that_is_offered(tmp_path: Path) -> None:
    scheduler = Oar(Settings(resources="/nodes=2"))
    later = NOW + dt.timedelta(hours=2)
    send(scheduler, request(tmp_path, "reservation", start=later))
    with pytest.raises(Refused) as refused:
        send(scheduler, request(tmp_path, "reservation", start=later, tag="cafe-2-00"))
    assert refused.value.code == 10
    assert refused.value.earliest is not None
    assert refused.value.earliest.timestamp() == later.timestamp() + 600 + 61
    assert "the slot is taken" in str(refused.value)
    assert not refused.value.unsure


@pytest.mark.usefixtures("fake")
def test_a_third_reservation_is_refused_by_the_admission_rule(tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    for k in (1, 2):
        send(scheduler, request(tmp_path, "reservation", start=NOW + dt.timedelta(hours=k), tag=f"cafe-{k}-00"))
    with pytest.raises(Refused, match=r"admission rule.*more than 2 waiting advance reservations") as refused:
        send(scheduler, request(tmp_path, "reservation", start=NOW + dt.timedelta(hours=3)))
    assert refused.value.code == 254


@pytest.mark.usefixtures("fake")
def test_a_malformed_request_has_a_job_number_and_is_refused_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not understand the request") as refused:
        send(Oar(Settings(properties="nosuch = 1")), request(tmp_path))
    assert refused.value.code == 8


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_chain_waits_and_has_expected_times(fake: FakeOar, tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    first = send(scheduler, request(tmp_path))
    second = send(scheduler, request(tmp_path, "chain", tag="cafe-2-00", after=(first,)))
    third = send(scheduler, request(tmp_path, "chain", tag="cafe-3-00", after=(second,)))
    fake.advance(5)
    jobs = {job.id: job for job in scheduler.queue()}
    assert jobs[second].after == (first,)
    assert jobs[second].start == jobs[first].end
    assert jobs[third].end == (jobs[first].end or 0) + 1200


def test_held_back_until_the_evening(fake: FakeOar, tmp_path: Path) -> None:
    start = dt.datetime(2037, 11, 23, 19, 1).astimezone()
    scheduler = Oar(Settings())
    send(scheduler, request(tmp_path, "begin", start=start, deadline=start + dt.timedelta(hours=10)))
    fake.advance(600)
    (job,) = scheduler.queue()
    assert (job.state, job.start) == (JobState.WAITING, start.timestamp())
    fake.set_clock(start.replace(tzinfo=None) + dt.timedelta(seconds=5))
    assert scheduler.queue()[0].state is JobState.RUNNING


def test_a_job_of_an_unknown_length_is_sent_again_only_where_it_need_not_be_alone(tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    free = scheduler.prepare(request(tmp_path, again=True, alone=False))
    assert "idempotent" in free.argv
    assert "--again" in free.script
    alone = scheduler.prepare(request(tmp_path, again=True, alone=True))
    assert "idempotent" not in alone.argv
    assert "--again" not in alone.script


def test_a_database_that_fails_is_no_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """oarstat says so and ends with 0."""
    said = Answer(0, "", "DBI connect('database=oar') failed: could not connect to server")
    monkeypatch.setattr("ganhpc.launch.schedulers.oar.ask", lambda *_: said)
    with pytest.raises(UserError, match=r"OAR's queue can't be read .*could not connect to server"):
        Oar(Settings()).queue()


# -- versions, noise, trouble -------------------------------------------------------------------------------------------


def test_oar_3_has_other_keys_and_no_postpone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(tmp_path, monkeypatch, dialect=3)
    fake_version(tmp_path, monkeypatch, "OAR version : 3.0.1")
    scheduler = Oar(Settings())
    assert not scheduler.capabilities().begin
    asked = request(tmp_path, "begin", deadline=NOW + dt.timedelta(hours=1))
    assert not [word for word in scheduler.prepare(asked).argv if "postpone" in word or "deadline" in word]
    assert "--until=" in scheduler.prepare(asked).script, "the job itself then minds the deadline"
    id = send(scheduler, asked)
    fake.advance(5)
    (job,) = scheduler.queue()
    assert (job.id, job.state, job.walltime) == (id, JobState.RUNNING, 600)


def fake_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """An oarsub that says another version, and else is the fake one."""
    folder = tmp_path / "version"
    folder.mkdir()
    real = Path(__file__).parents[2] / "clusters" / "fake_oar" / "bin" / "oarsub"
    program(
        folder / "oarsub",
        f'[ "$1" = --version ] && echo {shlex.quote(said)} && exit 0\nexec {shlex.quote(str(real))} "$@"',
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_noise_around_the_json_is_passed_over(fake: FakeOar, tmp_path: Path) -> None:
    scheduler = Oar(Settings())
    fake.trouble("oarsub", "noise")
    fake.trouble("oarstat", "noise")
    id = send(scheduler, request(tmp_path))
    assert [job.id for job in scheduler.queue()] == [id]


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_server_that_is_down_is_a_sentence(fake: FakeOar, tmp_path: Path) -> None:
    fake.trouble("oarstat", "could not connect")
    fake.trouble("oarsub", "could not connect")
    scheduler = Oar(Settings())
    assert not scheduler.find().here
    assert "could not connect" in scheduler.find().why
    with pytest.raises(UserError, match=r"OAR's queue can't be read .*could not connect"):
        scheduler.queue()
    with pytest.raises(Refused, match="could not connect"):
        send(scheduler, request(tmp_path))
    assert scheduler.jobs(["1"])["1"].state is JobState.UNKNOWN


@pytest.mark.slow  # 12 s in all
def test_a_server_that_hangs_is_a_sentence_and_leaves_it_open_whether_there_is_a_job(
    fake: FakeOar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oar, "SECONDS", 1.0)
    fake.trouble("oarstat", "hang")
    fake.trouble("oarsub", "hang")
    scheduler = Oar(Settings())
    with pytest.raises(UserError, match="no answer in 1 s"):
        scheduler.queue()
    with pytest.raises(Refused, match="no answer in 1 s") as refused:
        send(scheduler, request(tmp_path))
    assert refused.value.unsure


def test_without_oar_the_commands_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Oar(Settings()).find().why == "oarsub is not on the PATH"
    assert Oar(Settings()).capabilities().begin, "a dry run elsewhere is for OAR 2.5"


@pytest.mark.parametrize(("types", "kept"), [(["postpone=2027-01-01 20:00:00"], True), ([], False)])
def test_a_rule_that_takes_the_begin_time_out_of_a_job_behind_others_gets_it_back(
    monkeypatch: pytest.MonkeyPatch, types: list[str], kept: bool
) -> None:
    evening = dt.datetime(2027, 1, 1, 20, tzinfo=system_zone())
    running = {"state": "Running", "startTime": evening.timestamp() - 7200, "walltime": 14400, "name": "mine"}
    waits = {"state": "Waiting", "walltime": 3600, "dependencies": ["7"], "types": types, "name": "ganhpc:cafe-1-00"}
    told = Answer(0, json.dumps({"7": running, "8": waits}), "")
    monkeypatch.setattr(oar, "ask", lambda *_: told)
    (found,) = Oar(Settings()).granted("8", "cafe-1-00")
    asked, policy = Asked("cafe-1-00", 3600, evening, ("7",)), Policy("one", max_job=3600, max_jobs=1)
    assert bool(granted.broken([found], asked, policy)) != kept


@pytest.mark.parametrize(
    "site", [Settings(queue="besteffort"), Settings(options=("-q besteffort",)), Settings(options=("-t besteffort",))]
)
def test_best_effort_takes_no_reservations_however_it_is_asked_for(site: Settings) -> None:
    assert not Oar(site).capabilities().reservations and Oar(Settings(queue="default")).capabilities().reservations


def test_a_job_inside_of_another_does_not_wait_for_its_end(tmp_path: Path) -> None:
    """In a container of the user's own it waited for ever; in one of a teacher's, it runs."""
    scheduler = Oar(Settings(by_type=("-t 'inner=12'",)))
    with pytest.raises(UserError, match="-t inner=12 runs inside job 12, which is yours"):
        scheduler.prepare(request(tmp_path, "chain", after=("11", "12")))
    argv = scheduler.prepare(request(tmp_path, "chain", after=("11",))).argv
    assert argv[argv.index("-t") + 1] == "inner=12" and argv[argv.index("-a") + 1] == "11"
