"""Sending in memory: a scheduler that answers as it is told, and the records and files that are left."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.settings import Settings, state_folder
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.schedulers.base import Job, JobState, PreparedJob, Refused
from ganhpc.launch.submission import recent_jobs
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.prepare import LEAST_WALLTIME, SLACK_SECONDS
from ganhpc.launch.submission.submit import LATE_SECONDS, SubmittedJob, send
from ganhpc.runs import submission_record
from ganhpc.runs.run_folder import Run
from tests.launch.submission.fake_scheduler import (
    HERE,
    HOUR,
    NOW,
    POLICY,
    Answer,
    Fake,
    job,
    sent_jobs,
    submission,
    wanted,
)

pytestmark = pytest.mark.usefixtures("own_state")


def clock(*seconds: float, each: int = 2) -> Callable[[], dt.datetime]:
    """The moments one after another, each `each` times: the clock is read before a job is sent and behind it."""
    moments: Iterator[float] = iter([moment for moment in seconds for _ in range(each)])
    return lambda: NOW + dt.timedelta(seconds=next(moments))


# --- what is sent, and what is written ---


def test_jobs_are_sent_in_order_and_written_down_with_ids_commands_and_place(tmp_path: Path) -> None:
    w, other = wanted(tmp_path), wanted(tmp_path, "other")
    fake = Fake("11", "12", "13")
    made = submission(fake, job(w, 0, "now", last=False), job(w, HOUR + 61), job(other, 3 * HOUR))
    before = time.time()
    assert send(made, [w, other], "student") == [SubmittedJob("11"), SubmittedJob("12"), SubmittedJob("13")]
    record = submission_record.read(w.run)
    assert (record["scheduler"], record["policy"], record["launch"]) == ("slurm", "student", "L")
    assert before <= record["submitted"] <= time.time()
    first, second = record["jobs"]
    assert first == {
        "tag": "tag-run-0", "job_id": "11", "segment": 1, "kind": "now", "reason": "It does.", "work": HOUR - 60, "seconds": HOUR,
        "start": "2026-11-23T20:00:00+00:00", "end": "2026-11-23T21:00:00+00:00", "last": False, "launch": "L",
        "command": f"sbatch {w.run.folder}/jobs/tag-run-0-now.sh", "folder": str(w.run.folder), **HERE.to_entry(),
    }  # fmt: skip
    assert (second["job_id"], second["segment"], second["last"]) == ("12", 2, True)
    assert [entry["job_id"] for entry in submission_record.read(other.run)["jobs"]] == ["13"]
    script = fake.taken[0].script_path
    assert script.read_text() == "walltime 3600\n" and script.stat().st_mode & 0o777 == 0o755
    kept = {each.id: each for each in recent_jobs._read(state_folder() / "submitted-slurm.jsonl")}
    assert kept["13"] == recent_jobs.Submitted("13", NOW.timestamp() + 3 * HOUR, HOUR, "alpha", "tag-other-10800")


def test_jobs_are_written_down_before_the_first_is_sent(tmp_path: Path) -> None:
    w = wanted(tmp_path)

    class Looks(Fake):
        def submit(self, prepared: PreparedJob) -> str:
            entries = submission_record.read(w.run)["jobs"]
            assert [entry["job_id"] for entry in entries] == [None] * 2 if not self.taken else ["1", None]
            assert prepared.script_path.exists()
            return super().submit(prepared)

    submission_record.note_cancelled(w.run)
    send(submission(Looks(), job(w, 0, "now"), job(w, 4000)), [w], "student")
    assert "cancelled" not in submission_record.read(w.run)


def test_a_plan_that_is_only_written_down_keeps_what_was_said_of_the_run(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    submission_record.note_cancelled(w.run)
    sending.note_plan(submission(Fake(), job(w, 0, "now")), [w], "student")
    record = submission_record.read(w.run)
    assert "cancelled" in record and [entry["job_id"] for entry in record["jobs"]] == [None]


# --- dependencies ---


@pytest.mark.parametrize(
    ("kind", "alone", "after", "expected"),
    [
        ("chain", True, (), ("1",)),
        ("chain", False, (), ("1",)),  # a chain is one wherever several may run
        ("chain", False, ("7",), ("7",)),
        ("chain", True, ("7",), ("7", "1")),
        ("begin", True, (), ("1",)),
        ("begin", False, (), ()),
        ("reservation", True, (), ()),  # its time is its own
        ("reservation", True, ("7",), ("7",)),
    ],
)
def test_a_job_waits_for_the_one_before_it(tmp_path: Path, kind: str, alone: bool, after: tuple[str, ...], expected: tuple[str, ...]) -> None:  # fmt: skip
    w, fake = wanted(tmp_path), Fake()
    pairs = job(w, 0, "now", alone=alone), job(w, 4000, kind, alone=alone, after=after)
    send(submission(fake, *pairs), [w], "student")
    assert fake.taken[0].request.after == ()
    assert fake.taken[1].request.after == expected


def test_the_first_job_waits_for_nothing_that_is_not_named(tmp_path: Path) -> None:
    w, fake = wanted(tmp_path), Fake()
    send(submission(fake, job(w, 0, "chain", after=("7",)), job(w, 4000), job(w, 8000)), [w], "student")
    assert [taken.request.after for taken in fake.taken] == [("7",), ("1",), ("1", "2")]


# --- plans that grow old ---


@pytest.mark.parametrize(
    ("moments", "sent"),
    [
        ((0, LATE_SECONDS, LATE_SECONDS), 3),
        ((0, LATE_SECONDS + 1, 99), 1),
        ((LATE_SECONDS, 1, 1), 3),
        ((LATE_SECONDS + 1, 1, 1), 0),  # the first of all too: a launcher may have been suspended for an hour
        ((3600, 3601, 3602), 0),
        ((0, 1, 4000), 2),
    ],
)
def test_a_plan_that_has_grown_old_is_sent_no_further(tmp_path: Path, moments: tuple[float, ...], sent: int) -> None:
    w, fake = wanted(tmp_path), Fake()
    pairs = job(w, 0, "now"), job(w, 4000), job(w, 8000)
    assert len(send(submission(fake, *pairs), [w], "student", clock(*moments))) == sent
    assert len(fake.taken) == sent


def test_a_slot_whose_moment_has_come_wants_a_new_plan(tmp_path: Path) -> None:
    for moment, sent in ((9.0, 1), (10.0, 0), (11.0, 0)):
        w = wanted(tmp_path, f"run{moment}")
        assert len(send(submission(Fake(), job(w, 10, "begin")), [w], "student", clock(moment))) == sent


@pytest.mark.parametrize(("late", "stays"), [(59.0, True), (60.0, True), (61.0, False), (3600.0, False)])
@pytest.mark.parametrize("field", ["deadline", "until"])
def test_a_job_that_is_taken_too_late_to_end_in_time_is_taken_back(tmp_path: Path, late: float, stays: bool, field: str) -> None:  # fmt: skip
    """The scheduler's command was slow, or the launcher was suspended within it; the rest wants a new plan."""
    cancelled = []

    class Slow(Fake):
        def cancel(self, job: str) -> None:
            cancelled.append(job)

    w, fake = wanted(tmp_path), Slow()
    latest = {"deadline": None, field: NOW + dt.timedelta(seconds=HOUR + 60)}
    pairs = job(w, 0, "now", **latest), job(w, 2 * HOUR, "begin")
    sent = send(submission(fake, *pairs), [w], "student", clock(0.0, late, 45.0, 45.0, each=1))
    assert (len(sent), cancelled) == ((2, []) if stays else (0, ["1"]))
    first = submission_record.read(w.run)["jobs"][0]
    assert first["job_id"] == ("1" if stays else None)


def test_a_job_that_can_not_be_taken_back_is_named(tmp_path: Path) -> None:
    class Deaf(Fake):
        def cancel(self, job: str) -> None:
            raise UserError(f"Slurm does not answer for {job}.")

    w = wanted(tmp_path)
    pair = job(w, 0, "now", deadline=NOW + dt.timedelta(seconds=HOUR + 60))
    with pytest.raises(
        UserError, match=r"job 1 was taken too late .* \(Slurm does not answer for 1\): cancel it by hand"
    ):
        send(submission(Deaf(), pair), [w], "student", clock(0.0, 100.0, each=1))


def test_a_slot_that_starts_at_once_is_sent_however_slowly_the_scheduler_answers(tmp_path: Path) -> None:
    """It is planned for the next whole second, which has come by then: every new plan would be of the past too."""
    w, planned = wanted(tmp_path), NOW - dt.timedelta(seconds=0.4)
    made = dataclasses.replace(submission(Fake(), job(w, 0, "now")), now=planned)
    assert len(send(made, [w], "student", clock(5.0))) == 1


# --- refusals ---


def reserved(tmp_path: Path, *answers: Answer, seconds: int = HOUR, able: Capabilities | None = None) -> tuple[list[SubmittedJob], Fake, Run]:  # fmt: skip
    w = wanted(tmp_path)
    fake = Fake(*answers, able=able or Capabilities("slurm", reservations=True, begin=True))
    made = submission(fake, job(w, 3 * HOUR, "reservation", seconds))
    return send(made, [w], "student"), fake, w.run


def test_a_reservation_whose_slot_is_taken_begins_later_and_ends_by_the_same_end(tmp_path: Path) -> None:
    (sent,), fake, run = reserved(tmp_path, Refused("no", earliest=NOW), "5")
    asked = fake.taken[1].request
    end = NOW + dt.timedelta(hours=4)
    assert (asked.kind, asked.seconds, asked.deadline) == ("begin", HOUR - SLACK_SECONDS, end)
    assert sent == SubmittedJob(
        "5", "no reservation (no; Slurm offers Mon 23 Nov 20:00:00): it starts once it can, and ends by 00:00:00"
    )
    assert fake.taken[1].script_path.read_text() == f"walltime {HOUR - SLACK_SECONDS}\n"
    assert submission_record.read(run)["jobs"][0]["command"].endswith("-begin.sh")


def test_a_reservation_is_not_tried_again_where_it_may_be_taken_or_has_no_time_or_no_way(tmp_path: Path) -> None:
    shortest = LEAST_WALLTIME + SLACK_SECONDS
    (sent,), _, _ = reserved(tmp_path, Refused("no"), "5", seconds=shortest)
    assert sent.id == "5"
    for answer, more in (
        (Refused("silence", unsure=True), {}),
        (Refused("no"), {"seconds": shortest - 1}),
        (Refused("no"), {"able": Capabilities("slurm", reservations=True)}),
    ):
        with pytest.raises(UserError) as error:
            reserved(tmp_path, answer, "5", **more)  # type: ignore[arg-type]
        unsure = "gave no clear answer to job 1 of 1: silence; whether it took the job is not known" in str(error.value)
        assert unsure == answer.unsure


def test_a_job_of_another_kind_is_never_loosened(tmp_path: Path) -> None:
    w, fake = wanted(tmp_path), Fake("1", Refused("full"))
    with pytest.raises(UserError) as error:
        send(submission(fake, job(w, 0, "now"), job(w, 4000, "begin")), [w], "student")
    assert str(error.value) == (
        "Slurm refused job 2 of 2: full; job 1 before it stays submitted. Type the command again to go on: it looks at the queue first."
    )
    assert len(fake.taken) == 2


def test_a_refusal_is_written_to_runs_without_a_job_and_to_no_others(tmp_path: Path) -> None:
    runs = [wanted(tmp_path, name) for name in ("a", "b", "c")]
    fake = Fake("1", "2", Refused("full", earliest=NOW))
    pairs = [job(runs[0], 0, "now"), job(runs[1], 4000), job(runs[1], 8000), job(runs[2], 12000)]
    with pytest.raises(UserError, match="refused job 3 of 4: full; Slurm offers Mon 23 Nov 20:00:00; jobs 1, 2 before it stay submitted"):  # fmt: skip
        send(submission(fake, *pairs), runs, "student")
    refused = [submission_record.read(w.run).get("refused") for w in runs]
    assert refused == [None, None, "Slurm refused job 3 of 4: full; Slurm offers Mon 23 Nov 20:00:00"]
    assert submission_record.read(runs[2].run)["refused_by"] == "scheduler"


def test_an_answer_that_is_not_clear_marks_no_run_as_refused(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    with pytest.raises(UserError, match="Slurm gave no clear answer to job 1 of 1: gone; whether it took the job is not known"):  # fmt: skip
        send(submission(Fake(Refused("gone", unsure=True)), job(w, 0, "now")), [w], "student")
    record = submission_record.read(w.run)
    assert "refused" not in record and record["jobs"][0]["job_id"] is None


def test_a_first_refusal_submits_nothing(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    with pytest.raises(UserError, match="Slurm refused job 1 of 1: full; nothing is submitted"):
        send(submission(Fake(Refused("full")), job(w, 0, "now")), [w], "student")


def test_a_refusal_of_a_missing_segment_names_the_jobs_that_stay(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    behind = (Job("3", JobState.RUNNING, "RUNNING"), Job("4", JobState.WAITING, "PENDING"))
    with pytest.raises(UserError, match="refused job 1 of 1: full; jobs 3, 4 before it stay submitted"):
        send(submission(Fake(Refused("full")), job(w, 0, "now")), [dataclasses.replace(w, behind=behind)], "student")


@pytest.mark.parametrize(
    ("gpus", "typed", "site", "code", "told"),
    [
        (1, None, None, 9, True),
        (0, None, None, 9, False),
        (1, 1, None, 9, False),
        (1, None, 1, 9, False),
        (1, None, None, 8, False),
        (1, None, None, None, False),
    ],
)
def test_a_gpu_that_nobody_named_is_named_as_the_likely_reason(tmp_path: Path, gpus: int, typed: int | None, site: int | None, code: int | None, told: bool) -> None:  # fmt: skip
    w, fake = wanted(tmp_path), Fake(Refused("no such thing", code), site=Settings(gpus_per_node=site))
    fake.codes_of_resources = frozenset({9})
    with pytest.raises(UserError) as error:
        send(submission(fake, job(w, 0, "now", gpus_per_node=gpus, typed_gpus=typed)), [w], "student")
    assert str(error.value).startswith("Slurm refused job 1 of 1: no such thing; ")
    assert ("type --device cpu, or write gpus_per_node = 0 in the settings" in str(error.value)) == told


def test_what_the_site_made_of_a_job_is_said(tmp_path: Path) -> None:
    w = wanted(tmp_path)

    class Shortens(Fake):
        def granted(self, job: str, tag: str) -> list[Job]:
            assert job == "1" and tag
            return [Job(job, JobState.WAITING, tag=tag, walltime=1800)]

    (sent,) = send(submission(Shortens(), job(w, 0, "now")), [w], "student")
    assert sent == SubmittedJob("1", "the site shortened it from 1h to 30m")


# --- one launcher ---


def test_another_launcher_waits_and_gives_up_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sending.PATIENCE_SECONDS == 60
    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0.2)
    with sending.one_launcher("slurm"):
        lock = state_folder() / "submit-slurm.lock"
        assert lock.stat().st_mode & 0o777 == 0o600
        with sending.one_launcher("oar"):
            pass
        with pytest.raises(BusyError, match=r"^another launcher of yours is submitting for over a minute: wait for it"), sending.one_launcher("slurm"):  # fmt: skip
            raise AssertionError("two at once")
    with sending.one_launcher("slurm"):
        pass


def test_the_lock_is_given_back_where_the_launcher_fails() -> None:
    with pytest.raises(ZeroDivisionError), sending.one_launcher("slurm"):
        raise ZeroDivisionError
    with sending.one_launcher("slurm"):
        pass


def test_a_rule_is_noted_on_new_runs_only(tmp_path: Path) -> None:
    new, sent = wanted(tmp_path, "new"), sent_jobs(tmp_path, True, name="sent")
    sending.note_refused([new, sent], UserError("no slot"))
    record = submission_record.read(new.run)
    assert (record["refused"], record["refused_by"]) == ("no slot", "policy")
    assert "refused" not in submission_record.read(sent.run)
    sending.note_refused([new], UserError("still none"))
    assert submission_record.read(new.run)["refused"] == "still none"


def test_a_home_that_cannot_be_written_is_told_with_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")  # root may write into any folder, but into no file as one
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(UserError, match="move it away or `export XDG_STATE_HOME=/a/folder/of/yours`"),
        sending.one_launcher("x"),
    ):
        pass


@pytest.mark.parametrize(
    ("kind", "held_to"), [("now", False), ("queue", False), ("chain", False), ("begin", True), ("reservation", True)]
)
def test_a_job_is_read_back_and_held_against_all_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, held_to: bool
) -> None:
    """Its tag, its length, the moment before which it may not start where it has one, and the jobs before it."""
    seen = []
    monkeypatch.setattr(sending.granted, "check", lambda _, *read_back: seen.append(read_back))
    w = wanted(tmp_path)
    slot, request = job(w, 7200, kind, after=("17",), alone=False)
    send(submission(Fake(), (slot, request)), [w], "student")
    assert seen == [("1", sending.Asked(request.tag, HOUR, request.start if held_to else None, ("17",)), POLICY)]
    assert request.start is not None


def test_the_gpu_of_the_refused_job_counts_and_no_other(tmp_path: Path) -> None:
    w = wanted(tmp_path)
    for gpus in ((1, 0), (0, 1)):
        fake = Fake(Refused("no such thing", 9))
        fake.codes_of_resources = frozenset({9})
        jobs = [job(w, k * HOUR, "now", gpus_per_node=gpus[k]) for k in range(2)]
        with pytest.raises(UserError) as error:
            send(submission(fake, *jobs), [w], "student")
        assert ("--device cpu" in str(error.value)) == bool(gpus[0])


def test_what_was_typed_for_the_cluster_is_in_the_record(tmp_path: Path) -> None:
    """`resume` asks for the same."""
    w, fake = wanted(tmp_path), Fake()
    fake.typed = {"queue": "gpu"}  # type: ignore[misc]
    send(submission(fake, job(w, 0, "now")), [w], "student")
    assert submission_record.read(w.run)["asked"] == {"queue": "gpu"}
