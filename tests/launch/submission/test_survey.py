"""Runs that are submitted already, told from those that lack a job."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.submission.submit import survey
from ganhpc.runs import submission_record
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_folder import Run
from tests.launch.submission.fake_scheduler import HOUR, queued, sent_jobs, wanted

pytestmark = pytest.mark.usefixtures("own_state")


def test_a_run_whose_last_job_lives_is_submitted_already(tmp_path: Path) -> None:
    w = sent_jobs(tmp_path, False, True)
    todo, said = survey([w], [queued(w, 0, state=JobState.RUNNING), queued(w, 1)])
    assert todo == []
    assert said == [
        f"{w.run} is submitted already, as job 1 (running), 2 (waiting): `python launch.py cancel {w.run.name} --runs {tmp_path}/runs` takes it back."
    ]


def test_a_chain_without_its_last_job_lacks_what_no_living_job_does(tmp_path: Path) -> None:
    w = sent_jobs(tmp_path, False, True)
    late, early = queued(w, 1, end=9e9), queued(w, 0, end=8e9)
    for entry_last, queue in ((False, [early]),):
        ((found,), said) = survey([w], queue)
        assert said == [] and found.submitted == HOUR - 60 and found.behind == (early,) and not entry_last
    with submission_record.updated(w.run) as record:
        for entry in record["jobs"]:
            entry["last"] = False
    (found,), _ = survey([w], [late, early])
    assert found.behind == (early, late) and found.submitted == 2 * (HOUR - 60)
    (found,), _ = survey([w, dataclasses.replace(w)], [])
    assert (found.submitted, found.behind) == (0, ()), "named twice, it is one run"


def test_a_running_job_has_done_a_part_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = sent_jobs(tmp_path, False)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    for job_, left in (
        (queued(w, 0, state=JobState.RUNNING, start=1e9 - 40), HOUR - 100),
        (queued(w, 0, state=JobState.RUNNING, start=1e9 + 40), HOUR - 60),
        (queued(w, 0, state=JobState.RUNNING, start=1e9 - 9000), 0),
        (queued(w, 0, state=JobState.WAITING, start=1e9 - 40), HOUR - 60),
        (queued(w, 0, state=JobState.RUNNING), HOUR - 60),
    ):
        (found,), _ = survey([w], [job_])
        assert found.submitted == left


def test_a_run_of_unknown_length_is_submitted_by_any_living_job_unless_segments_are_asked_for(tmp_path: Path) -> None:
    w = sent_jobs(tmp_path, False, epochs=3, time=None)
    todo, said = survey([w], [queued(w, 0)])
    assert todo == [] and len(said) == 1
    todo, said = survey([dataclasses.replace(w, segments=2)], [queued(w, 0)])
    assert len(todo) == 1 and said == []


def test_a_job_is_found_by_its_tag_and_its_number_is_written_down(tmp_path: Path) -> None:
    w = sent_jobs(tmp_path, True)
    here = Origin("slurm", "alpha", os.getuid(), "me")
    with submission_record.updated(w.run) as record:
        del record["jobs"][0]["cluster"]  # an older version knew no place
    survey([w], [queued(w, 0, "77")], here)
    (entry,) = submission_record.read(w.run)["jobs"]
    assert (entry["job_id"], entry["cluster"]) == ("77", "alpha")
    todo, said = survey([w], [Job("77", JobState.WAITING, tag="another")], here)
    assert (len(todo), said) == (1, []), "a number alone means nothing"


def test_a_run_submitted_elsewhere_is_left_alone(tmp_path: Path) -> None:
    w, mine = sent_jobs(tmp_path, True), sent_jobs(tmp_path, True, name="mine")
    there = Origin("slurm", "beta", os.getuid(), "me")
    todo, (sentence,) = survey([w], [], there)
    assert todo == []
    assert sentence.startswith(f"{w.run} is submitted elsewhere, as job 1 on the Slurm cluster 'alpha'")
    assert (
        "nothing is submitted" in sentence
        and f"`python launch.py cancel {w.run.name} --elsewhere --runs {tmp_path}/runs`" in sentence
    )
    assert survey([w], [])[1] == [], "where the place is not known, its queue decides"
    _, said = survey([w, mine], [queued(mine, 0)], there)
    assert "elsewhere" in said[0] and "submitted already" in said[1], (
        "one run after another; a tag in the queue is ours"
    )


def test_a_run_whose_trainer_lives_outside_of_any_job_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = wanted(tmp_path)
    monkeypatch.setattr(Run, "is_held", lambda _: True)
    todo, said = survey([w], [])
    assert (todo, said) == ([], [f"{w.run} is running already, outside of any known job: wait for it, or stop it where it runs."])  # fmt: skip
    living = sent_jobs(tmp_path, False, name="living")
    todo, said = survey([living], [queued(living, 0)])
    assert len(todo) == 1 and said == [], "held by its own job"


def test_what_is_submitted_elsewhere_names_the_command_that_is_typed_there(tmp_path: Path) -> None:
    w = sent_jobs(tmp_path, True)
    _, (sentence,) = survey([w], [], Origin("slurm", "beta", os.getuid(), "me"))
    assert f"Type `python launch.py status {w.run.name} --runs {tmp_path}/runs` there" in sentence
