"""OAR's answers as we read them: JSON of every version, states, times, exit codes and refusals."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer
from ganhpc.launch.schedulers import oar
from ganhpc.launch.schedulers.base import Job, JobState, Refused
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.oar_output import REFUSALS, STATES, job_of, number, refusal, trees
from tests.launch.schedulers.oar_requests import request, send
from tests.launch.schedulers.shell_commands import program


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
