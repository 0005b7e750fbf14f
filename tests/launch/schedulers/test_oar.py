"""OAR as we talk to it, against the strict fake (which the tests marked `cluster` compare with the real one)."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers import oar
from ganhpc.launch.schedulers.base import Job, JobRequest, JobState, Refused, system_zone
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.oar_output import REFUSALS, STATES, job_of, number, refusal, trees
from ganhpc.launch.submission import granted
from ganhpc.launch.submission.granted import Asked
from ganhpc.launch.submission.submit import write_script
from ganhpc.runs import job_claim as claim
from tests.clusters.fake_oar import FakeOar
from tests.clusters.fake_oar.state import opened

NOW = dt.datetime(2037, 11, 23, 17, 30).astimezone()
"""A Monday evening that lies ahead of the machine's clock, by which jobs that the fake runs judge their deadlines."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    """The fake OAR, first on the path; its clock stands at NOW."""
    return install(tmp_path, monkeypatch)


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> FakeOar:
    made = FakeOar(tmp_path / "oar", now=NOW.replace(tzinfo=None), **settings)
    for key, value in made.env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "student")
    return made


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


def test_the_cluster_is_the_same_whatever_oarconffile_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OAR's own commands, which are set-user-ID, overwrite the variable. A fifo or a device in it is never waited for."""
    own, other = tmp_path / "oar.conf", tmp_path / "other.conf"
    own.write_text('# x\nSERVER_HOSTNAME="frontend-7"\n')
    other.write_text("SERVER_HOSTNAME=elsewhere\n")
    os.mkfifo(tmp_path / "fifo")
    command = tmp_path / "bin" / "oarsub"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o4755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(oar, "_SETTINGS", own)
    monkeypatch.setattr("socket.getfqdn", lambda: "localhost")
    names = []
    for value in (other, tmp_path / "fifo", "/dev/zero", tmp_path / "none", ""):
        monkeypatch.setenv("OARCONFFILE", str(value))
        names.append(Oar(Settings()).cluster())
    assert names == ["frontend-7"] * 5
    command.chmod(0o755)  # run as the user, it reads what the user's environment says
    for value, name in (
        (other, "elsewhere"),
        (tmp_path / "fifo", os.uname().nodename),
        ("/dev/zero", os.uname().nodename),
    ):
        monkeypatch.setenv("OARCONFFILE", str(value))
        assert Oar(Settings()).cluster() == name


def request(tmp_path: Path, kind: str = "now", **values: object) -> JobRequest:
    run = tmp_path / "runs" / "cifar" / "a run"
    base = {"tag": "cafe-1-00", "run": run, "segment": 1, "seconds": 600, "kind": kind, "start": NOW, "launch": "cafe"}
    return JobRequest(**{**base, **values})  # type: ignore[arg-type]


def send(scheduler: Oar, asked: JobRequest) -> str:
    prepared = scheduler.prepare(asked)
    write_script(prepared)
    return scheduler.submit(prepared)


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


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("There are not enough resources for your request", "There are not enough resources for your request"),
        (
            "Bad resource request (ERROR:  operator does not exist: character varying = integer",
            "operator does not exist",
        ),
        ("", "Oarsub failed, please verify your request syntax"),
    ],
)
def test_of_all_that_oarsub_says_the_telling_line_is_taken(said: str, sentence: str) -> None:
    words = f"[ADMISSION RULE] Set default walltime to 7200.\nOAR_JOB_ID=-5\n{said}\n[ERROR] Oarsub failed, please verify your request syntax.\n"
    assert sentence in str(refusal(Refused(words, 8)))


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


def program(path: Path, lines: str) -> None:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{\n "1" : {\n  "state" : "Run', "JSON is not whole"),
        ("Job id    Name     User    Submission Date     S Queue\n--------- \n12        ganhpc   me      2026-11-30 08:00:00 W default\n", "answer is no JSON"),
    ],
)  # fmt: skip
def test_json_that_breaks_off_or_is_none_is_no_empty_queue(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, text, ""))
    with pytest.raises(UserError, match=why):
        Oar(Settings()).queue()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("{}", []),
        ('[maintenance]\n{"7" : {"state" : "Running"}}\n', ["7"]),
        ('[{"id": 8, "state": "Waiting"}]', ["8"]),
        ('{"items": [{"id": 9, "state": "Waiting"}], "total": 1}', ["9"]),
        ('{"Job_Id": 5, "state": "Hold", "types": []}', ["5"]),
    ],
)
def test_every_shape_of_oarstats_json(text: str, ids: list[str]) -> None:
    assert [job_of(tree).id for tree in trees(text)] == ids


@pytest.mark.slow  # a second of processor time: it computes
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_of_any_kind_raises_nothing_but_a_value_error(tree: object) -> None:
    try:
        for found in trees(json.dumps(tree)):
            assert isinstance(job_of(found), Job)
    except ValueError:
        pass


@pytest.mark.parametrize("state", ["Waiting", "Staging", ""])
def test_a_job_that_oar_lists_is_there_whatever_its_state_is_called(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A word of another version hid it: its run was submitted again."""
    said = json.dumps({"7": {"state": state, "name": "ganhpc:cafe-1-00", "walltime": 600}})
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, said, ""))
    assert [(job.id, job.tag, job.state) for job in Oar(Settings()).queue()] == [("7", "cafe-1-00", JobState.WAITING)]


@pytest.mark.parametrize(("raw", "code"), [(768, 3), ("256", 1), (9, -9), (127, None), (-1, None), ("N/A", None)])
def test_an_exit_code_that_is_no_status_is_not_known(raw: object, code: int | None) -> None:
    """127 and -1 are none of wait(2): the whole queue could not be read for them."""
    assert job_of({"Job_Id": 7, "state": "Terminated", "exit_code": raw}).exit_code == code


@pytest.mark.parametrize("text", ["inf", "nan", 10**400, [], {}, "1e999"])
def test_a_number_that_is_none_is_not_known(text: object) -> None:
    """Of one job, it made the whole queue unreadable."""
    tree = {
        "Job_Id": 7,
        "state": "Terminated",
        "exit_code": text,
        "walltime": text,
        "startTime": text,
        "stopTime": text,
    }
    job = job_of(tree)
    assert (job.exit_code, job.walltime, job.start, job.end) == (None, None, None, None)


@pytest.mark.parametrize(
    ("said", "after"), [([3, "4"], ("3", "4")), ("3", ("3",)), ("3, 4", ("3", "4")), (3, ("3",)), ([], ()), (None, ())]
)
def test_jobs_that_another_one_waits_for_as_other_versions_write_them(said: object, after: tuple[str, ...]) -> None:
    tree = {"Job_Id": 7, "state": "Waiting", "dependencies": said, "types": "postpone=2037-11-23 19:01:00"}
    job = job_of(tree)
    assert job.after == after and job.not_before is not None


def test_a_job_that_leaves_oar_a_choice_may_take_the_longest_walltime() -> None:
    asked = '-l "/host=1,walltime=0:10:0" -l "/host=2,walltime=2:0:0" -l "/host=4,walltime=0:5:0"'
    assert job_of({"Job_Id": 7, "state": "Waiting", "wanted_resources": asked}).walltime == 7200


@pytest.mark.parametrize(
    ("said", "id"),
    [
        ("# Your last job was OAR_JOB_ID=3\n[ADMISSION RULE] Set default walltime to 3600.\nOAR_JOB_ID=12", "12"),
        ("Generate a job key...\nOAR_JOB_ID=12\nOAR_JOB_ID=13\nOAR_ARRAY_ID=12\n", "12"),
        ("OAR_JOB_ID=12", "12"),
        ("bonjour \xe9t\xe9\nOAR_JOB_ID=12", "12"),
    ],
)
def test_the_number_of_a_job_is_the_one_of_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, id: str) -> None:  # fmt: skip
    program(tmp_path / "oarsub", f"printf %b {shlex.quote(said)}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert send(Oar(Settings()), request(tmp_path)) == id


def test_each_native_state_has_ours_and_each_refusal_a_sentence() -> None:
    known = (
        "Waiting Hold toLaunch toError toAckReservation Launching Running Suspended Resuming Finishing Terminated Error"
    )
    assert set(STATES.table) == set(known.split())
    assert STATES.read("Nonsense") is JobState.UNKNOWN
    assert set(REFUSALS) == {7, 8, 9, 10, 12, 254}


def test_a_job_that_oarsub_calls_killed_and_leaves_in_the_database_is_no_refusal() -> None:
    """Where the server is away: a reservation was followed by a second job for the same slot, and both ran once the server was back."""
    words = "OAR_JOB_ID=5\n[ERROR] Cannot connect to executor oar-server:6666. Job is killed.\n"
    found = refusal(Refused(words, 9))
    assert found.unsure and "killed" not in str(found) and "waits until the server is back" in str(found)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1:0:0", 3600), ("0:01:00", 60), ("90", 90), (60, 60), (None, None), ("x", None)]
)
def test_times_of_oarstat(text: object, seconds: float | None) -> None:
    assert number(text) == seconds


# -- on the node ---------------------------------------------------------------------------------------------------------


def test_a_late_reservation_ends_when_it_was_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(tmp_path, monkeypatch, late=90)
    start = NOW + dt.timedelta(minutes=10)
    id = send(Oar(Settings()), request(tmp_path, "reservation", start=start))
    monkeypatch.setenv("OAR_JOB_ID", id)
    assert oar.job_end() == start.timestamp() + 600
    fake.advance(600 + 91)
    assert fake.job(int(id))["walltime"] == 600 - 90
    assert oar.job_end() == start.timestamp() + 600


@pytest.mark.usefixtures("fake")
def test_the_end_of_a_job_is_not_known_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAR_JOB_ID", "77")
    assert oar.job_end() is None


@pytest.mark.parametrize(
    ("host", "site"),
    [("chifflot-1.lille.grid5000.fr", "lille.grid5000.fr"), ("node7", ""), ("localhost.localdomain", "")],
)
def test_a_job_of_another_site_with_the_same_number_is_another_job(
    monkeypatch: pytest.MonkeyPatch, host: str, site: str
) -> None:
    """In a folder that two sites see, job 7 of one was taken for job 7 of the other, which had claimed the run."""
    monkeypatch.setattr("socket.getfqdn", lambda: host)
    assert oar.cluster_name() == site
    claims = [
        claim.Job(f"oar job 7 ganhpc:{k}", "oar", name, "7", "n")
        for k, name in enumerate((oar.cluster_name(), "nancy.x"))
    ]
    assert not claims[0].is_same(claims[1])


def test_servers_of_one_domain_are_told_apart_where_their_settings_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda host="f1": f"{host}.lab.fr")
    origins = []
    for name, text in (
        ("a", 'SERVER_HOSTNAME="oar1"\nSERVER_PORT="6667"\n'),
        ("b", "SERVER_HOSTNAME = 'oar2'\n"),
        ("c", ""),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(oar, "_settings", lambda name=name: tmp_path / name)
        origins.append(Oar(Settings()).origin)
    first, second, silent = origins
    assert (first.cluster, first.servers, second.servers) == ("lab.fr", ("oar1:6667",), ("oar2:6666",))
    assert not first.may_ask(second.to_entry()) and first.is_of(first.to_entry())
    assert silent.servers == () and first.may_ask(silent.to_entry()), "it can't be told"
    monkeypatch.setattr(oar, "_settings", lambda: tmp_path / "a")
    for answer in ("oar1", "localhost", "ctl.lab.fr"):
        monkeypatch.setattr(
            "socket.getfqdn", lambda host="f1", answer=answer: answer if host == "oar1" else f"{host}.lab.fr"
        )
        there = Oar(Settings()).origin
        assert first.may_ask(there.to_entry()) and there.may_ask(first.to_entry()), f"the name server says {answer}"
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, "{}", ""))
    assert oar.lives("7") is None, "a server that does not know the number says nothing of its job"


@pytest.mark.parametrize(
    ("name", "command", "lives"),
    [("ganhpc:cafe-1-00", "/r/jobs/cafe-1-00.sh", True), ("ganhpc:beef-1-00", "/r/jobs/beef-1-00.sh", False), ("", "sleep 9", None)],
)  # fmt: skip
def test_a_number_that_another_job_has_by_now_is_no_living_job_of_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str, lives: bool | None
) -> None:
    """A database that was made anew counts from 1 again, and a job that was killed has left its claim on the run."""
    tree = {"7": {"Job_Id": 7, "state": "Running", "name": name, "command": command, "startTime": 1795259382}}
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, json.dumps(tree), ""))
    assert oar.lives("7", "cafe-1-00") is lives and oar.lives("7") is True


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


def test_hosts_come_from_the_node_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nodes").write_text("oar1\noar1\noar2\noar2\n")
    monkeypatch.setenv("OAR_NODEFILE", str(tmp_path / "nodes"))
    assert oar.hosts() == ["oar1", "oar2"]
    monkeypatch.delenv("OAR_NODEFILE")
    assert oar.hosts() == []


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
