"""Honest waiting: starts that the scheduler names, its reasons in words, causes that are no sentences, chains that are completed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
import time
from pathlib import Path

import pytest

from ganhpc.cli.commands import status as status_view
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.policy import Policy, explain
from ganhpc.launch.schedulers import slurm_output, slurm_reasons
from ganhpc.launch.schedulers.base import Job, JobState, with_expected_times
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.oar_output import job_of
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.schedulers.slurm_output import SEPARATOR, STATES
from ganhpc.launch.submission import job_status
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.policy_choice import laxer
from ganhpc.runs import submission_record
from ganhpc.runs.run_files import RefusalSource, refusal_source
from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import install
from tests.launch.submission.test_job_status import look, submitted
from tests.launch.submission.test_prepare import EVENING, HOUR, PLAIN, wanted
from tests.launch.submission.test_sending import send as submit_twice
from tests.launch.test_node_agent import run, segment

__all__ = ["run"]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return install(tmp_path, monkeypatch)


def line(state: str, start: str, reason: str) -> Job:
    """A line of squeue, as a job with its expected times."""
    found = slurm_output.job_of(
        SEPARATOR.join(("7", state, start, "N/A", "10:00", "(null)", reason, "ganhpc", "ganhpc:cafe-1-00"))
    )
    assert found
    return with_expected_times([found], time.time())[0]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("JobHeldUser", "held by its user"),
        ("JobHeldAdmin", "held by an administrator"),
        ("PartitionTimeLimit", "more time than its partition allows"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "drained, down or reserved"),
        ("Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved", "drained, down or reserved"),
        ("QOSMaxJobsPerUserLimit", "quality of service (QOS)"),
        ("AssocGrpCPUMinutesLimit", "limit of the user's account"),
        ("PartitionDown", "its partition is down"),
    ],
)
def test_a_held_or_limited_job_of_slurm_has_no_start_but_a_reason(reason: str, words: str) -> None:
    for start in ("N/A", str(int(time.time() + 600))):
        job = line("PENDING", start, reason)
        assert job_status.KnownJob({"segment": 1}, job).start is None
        assert words in job.why and reason in job.why
        assert job.start, "the planner still has one"


def test_a_start_that_slurm_names_is_said_and_one_that_is_past_is_not() -> None:
    soon = int(time.time() + 600)
    assert job_status.KnownJob({}, line("PENDING", str(soon), "Resources")).start == soon
    assert job_status.KnownJob({}, line("PENDING", str(soon - 4000), "Priority")).start is None
    assert job_status.KnownJob({}, line("PENDING", "N/A", "Dependency")).start is None
    stands = line("SUSPENDED", str(soon - 900), "None")
    assert "suspended" in stands.why and stands.end is None, "its end moves with the clock"
    assert slurm_reasons.in_words("None") == "" and "NewWord" in slurm_reasons.in_words("NewWord")


@pytest.mark.parametrize(
    ("tree", "start", "words"),
    [
        ({"state": "Hold", "startTime": 0}, False, "held: `oarresume`"),
        ({"state": "Waiting", "message": "R=1,W=0:1:0,J=B"}, False, "OAR names no start"),
        ({"state": "Waiting", "scheduledStart": 9e9 // 3}, True, ""),
        ({"state": "Waiting", "dependencies": [3]}, False, "waits for the job before it"),
        ({"state": "Waiting", "reservation": "Scheduled", "startTime": 1000}, False, "should have begun"),
        ({"state": "Suspended", "startTime": 1000}, True, "suspended"),
        ({"state": "toAckReservation", "reservation": "toSchedule"}, False, "has yet to confirm"),
    ],
)
def test_oars_states_in_words(tree: dict[str, object], start: bool, words: str) -> None:
    job = with_expected_times([job_of({"id": 7, "walltime": 600, **tree})], time.time())[0]
    assert (job_status.KnownJob({}, job).start is not None) == start
    assert words in job.why
    assert (job.end is None) == (tree["state"] == "Suspended"), "the end of one that stands still moves with the clock"


@pytest.mark.usefixtures("fake")
def test_the_table_says_why(tmp_path: Path) -> None:
    waits = submitted(tmp_path)
    view = look(waits)
    held = dataclasses.replace(
        view.jobs[0], job=dataclasses.replace(view.jobs[0].job, why="it is held", named_start=None)
    )
    (said,) = [text for text in status_view.lines(dataclasses.replace(view, jobs=(held,))) if text.startswith("job 1")]
    assert said == "job 1, segment 1: waits: it is held"
    assert held.to_json()["start"] is None and held.to_json()["why"] == "it is held"


def test_preempted_is_its_own_end(tmp_path: Path, fake: FakeOar, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STATES.read("PREEMPTED") is JobState.PREEMPTED and not JobState.PREEMPTED.alive
    events = "EVENTS: BESTEFFORT_KILL kill the besteffort job\nFRAG_JOB_REQUEST"
    ended = submitted(tmp_path)
    monkeypatch.setattr("ganhpc.launch.schedulers.oar.ask", lambda *_: type("A", (), {"out": events, "code": 0})())
    for state, code in ((JobState.FAILED, None), (JobState.ENDED, 0), (JobState.ENDED, 1)):
        assert Oar(Settings())._judged(Job("1", state, exit_code=code)).state is JobState.PREEMPTED
    del fake
    submission_record.note_ended(ended, {submission_record.read(ended)["jobs"][0]["tag"]: "preempted"})
    assert ended.run_status().reason == "its job ended (its job was preempted for another) before the training began"


ASKED = """\
2026-11-28 22:29:02> [3] CHECKPOINT: User {} requested a checkpoint on the job 3 on oar1
2026-11-28 22:29:02> [3] CHECKPOINT_SUCCESSFULL: [MetaSched] The job 3 was notified to checkpoint itself on the node oar1
2026-11-28 22:29:08> [3] SWITCH_INTO_TERMINATE_STATE: [bipbip 3] Ask to change the job state
"""
"""What `oarstat -e` prints of a job that was asked to save, by `{}`."""


@pytest.mark.parametrize(
    ("who", "code", "end"),
    [
        ("oar (metasched)", 0, JobState.PREEMPTED),  # for another job
        ("oar (metasched)", 3, JobState.FAILED),  # it failed while it was to save
        ("oar (sarko)", 0, JobState.ENDED),  # its walltime comes
        ("ada", 0, JobState.ENDED),  # oarcheckpoint
    ],
)
def test_a_job_that_saved_when_oar_asked_was_preempted_where_it_was_for_another(
    monkeypatch: pytest.MonkeyPatch, who: str, code: int, end: JobState
) -> None:
    said = type("A", (), {"out": ASKED.format(who), "code": 0})()
    monkeypatch.setattr("ganhpc.launch.schedulers.oar.ask", lambda *_: said)
    assert Oar(Settings())._judged(Job("3", JobState.ENDED, exit_code=code)).state is end


@pytest.mark.slow  # a second of processor time: processes of its own
def test_after_a_job_that_failed_its_log_is_next(fake: FakeOar, tmp_path: Path) -> None:
    failed = submitted(tmp_path)
    fake.advance(5)
    fake.finish(1, exit_code=3)
    assert look(failed).next_command.startswith("python launch.py logs ")


# -- causes ---------------------------------------------------------------------------------------------------------------


def test_the_next_command_hangs_on_who_refused_not_on_the_sentence(tmp_path: Path) -> None:
    refused = wanted(tmp_path).run
    for source, verb in ((RefusalSource.POLICY, "policy --check"), (RefusalSource.SCHEDULER, "resume")):
        submission_record.note_refused(refused, "any words at all", source)
        (view,), _ = job_status.look([refused], lambda _: Oar(Settings()))
        assert f"launch.py {verb} " in view.next_command
    assert refusal_source({"refused": "Slurm refused job 1"}) is RefusalSource.SCHEDULER, "of an older version"
    assert refusal_source({"refused": "the policy x"}) is RefusalSource.POLICY
    assert refusal_source({"refused": "x", "refused_by": "new"}) is None


@pytest.mark.parametrize(
    ("cause", "passed_on", "told", "again"),
    [
        ("out of time", False, False, True), ("asked", True, False, True), ("asked", False, False, False),
        ("asked", True, True, False),
    ],
)  # fmt: skip
def test_a_job_is_sent_again_by_the_cause(run: object, cause: str, passed_on: bool, told: bool, again: bool) -> None:
    part = segment(run)  # type: ignore[arg-type]
    part.passed_on, part.told_to_end = passed_on, told
    write_json(part.run.status_json, {"state": "resumable", "reason": "reworded", "cause": cause, "step": 5})
    assert part._ran_out(part.run.run_status()) is again


# -- partial chains -------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 3 s of processor time: processes of its own
def test_the_missing_job_of_a_chain_that_trains_is_submitted_behind_it(fake: FakeOar, tmp_path: Path) -> None:
    scheduler, w = Oar(Settings()), wanted(tmp_path, time=3.0 * HOUR)
    free = Policy("free", max_job=HOUR, gap=61)
    made = submit.prepare([w], scheduler, free, EVENING)
    tried = iter(range(100))
    taken = scheduler.submit

    def limited(ready: object) -> str:
        if next(tried) == 2:
            fake.trouble("oarsub", "limit")
        return taken(ready)  # type: ignore[arg-type]

    scheduler.submit = limited  # type: ignore[method-assign]
    with pytest.raises(UserError, match="refused job 3 of 3"):
        sending.send(made, [w], "free")
    fake.trouble("oarsub", "")
    fake.advance(5)
    with w.run.hold():
        (id,) = submit_twice(w, Oar(Settings()), free)
    job = next(job for job in Oar(Settings()).queue() if job.id == id)
    assert {"1", "2"} <= set(job.after), "never beside them"
    entries = [entry for entry in submission_record.read(w.run)["jobs"] if entry["job_id"]]
    assert [(e["job_id"], e["segment"], e["last"]) for e in entries] == [
        ("1", 1, False),
        ("2", 2, False),
        (id, 3, True),
    ]
    assert submit_twice(w, Oar(Settings()), free) == [], "it is whole now"


def test_a_run_that_trains_outside_of_any_job_is_told_from_it(tmp_path: Path) -> None:
    w = wanted(tmp_path, time=3.0 * HOUR)
    with w.run.hold():
        todo, said = sending.survey([w], [])
    assert todo == [] and "outside of any known job" in said[0]


@pytest.mark.parametrize("there", [0, 1, 2, 3])
def test_no_more_is_submitted_than_the_site_allows(tmp_path: Path, there: int) -> None:
    policy = dataclasses.replace(PLAIN, max_submitted=3)
    now = EVENING.timestamp()
    busy = [Job(str(k), JobState.WAITING, start=now, end=now + 60) for k in range(there)]
    w = wanted(tmp_path, time=5.0 * HOUR)
    made = submit.prepare([w], Slurm(Settings(python=sys.executable)), policy, EVENING, busy)
    assert len(made.jobs) == 3 - there
    (left,) = made.plan.remaining
    assert "allows 3 submitted jobs at a time (max_submitted)" in left.reason and left.later
    assert not any(job.request.last for job in made.jobs)
    json.dumps(made.plan.to_json())
    if there < 3:
        submit.check_whole(made)
    else:
        with pytest.raises(UserError, match="wait for one of them to end"):
            submit.check_whole(made)


def test_an_array_of_the_users_own_counts_as_its_tasks(tmp_path: Path) -> None:
    policy = dataclasses.replace(PLAIN, max_submitted=5)
    now = EVENING.timestamp()
    array = Job("7", JobState.WAITING, start=now, end=now + 60, count=4)
    made = submit.prepare(
        [wanted(tmp_path, time=5.0 * HOUR)], Slurm(Settings(python=sys.executable)), policy, EVENING, [array]
    )
    assert len(made.jobs) == 1
    busy = [submit.busy_of(array, EVENING)]
    asked, policy = Request(EVENING, 600), dataclasses.replace(policy, max_jobs=None)
    assert check(asked, policy, EVENING.tzinfo or dt.UTC, EVENING, busy) == []
    (full,) = check(asked, dataclasses.replace(policy, max_submitted=4), EVENING.tzinfo or dt.UTC, EVENING, busy)
    assert full.rule == "max_submitted" and "allows 4 submitted jobs at a time, and there are 4" in full.sentence
    assert full.nearest == asked, "the number of jobs does not hang on the request"


def test_a_larger_limit_on_submitted_jobs_is_laxer_and_is_said() -> None:
    few, many = (dataclasses.replace(PLAIN, max_submitted=n) for n in (2, 9))
    assert laxer(many, few) == ["max_submitted"] == laxer(PLAIN, few)
    assert laxer(few, many) == []
    assert any("At most 2 jobs may wait or run" in sentence for sentence in explain(few))


@pytest.mark.parametrize(
    ("end", "cause", "words", "verb"),
    [
        ("preempted", "asked", "its job was preempted for another; the last checkpoint is whole", "resume"),
        ("preempted", "out of time", "stopped; then its job was preempted", "resume"),
        ("failed", "out of time", "stopped; then its job failed", "logs"),
        ("timeout", "out of time", "stopped", "resume"),
    ],
)
def test_the_end_of_the_last_job_is_said_beside_the_trainers_own_word(
    tmp_path: Path, fake: FakeOar, end: str, cause: str, words: str, verb: str
) -> None:
    del fake
    ended = submitted(tmp_path)
    ended.checkpoints.mkdir()
    write_json(ended.checkpoints / "step-5.json", {})
    write_json(ended.status_json, {"state": "resumable", "reason": "stopped", "cause": cause, "step": 5})
    submission_record.note_ended(ended, {submission_record.read(ended)["jobs"][0]["tag"]: end})
    view = look(ended)
    assert view.run_status.state.value == "resumable" and words in view.run_status.reason
    assert view.next_command.startswith(f"python launch.py {verb} ")


def test_a_deadline_of_the_plan_bounds_a_job_whose_time_was_changed(run: object) -> None:
    until = dt.datetime.now().timestamp() + 100
    assert segment(run, until=until).until == until  # type: ignore[arg-type]
