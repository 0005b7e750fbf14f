"""request.json: whose jobs a record names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ganhpc.runs import submission_record as record
from ganhpc.runs.job_claim import Claim, Job
from ganhpc.runs.run_folder import Run
from tests.helpers import made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a job that lives, and one that has ended."""
    run = made(tmp_path / "runs")
    entries: list[record.Entry] = [{"tag": "a-1-0", "segment": 1}, {"tag": "a-2-0", "segment": 2}]
    record.note_intent(run, entries, {"scheduler": "slurm"}, about_to=True)
    record.note_id(run, "a-1-0", "7")
    record.note_id(run, "a-2-0", "8")
    record.note_ended(run, {"a-1-0": "ended"})
    return run


def tags(run: Run) -> list[str]:
    return [job["tag"] for job in record.open_jobs(record.read(run))]


def test_a_copy_of_a_run_has_no_part_in_the_jobs_of_the_original(run: Run, tmp_path: Path) -> None:
    copy = Run.at(Path(shutil.copytree(run.folder, tmp_path / "copy" / run.name)))
    assert (tags(run), tags(copy)) == (["a-2-0"], [])
    assert [job["tag"] for job in record.read(copy)["jobs"]] == ["a-1-0"], "ended jobs have trained what was copied"
    record.note_intent(copy, [{"tag": "b-2-0", "segment": 2}], {"scheduler": "slurm"}, about_to=True)
    record.note_id(copy, "b-2-0", "9")
    assert (tags(run), tags(copy)) == (["a-2-0"], ["b-2-0"])


def test_a_run_that_was_moved_or_is_reached_by_a_link_keeps_its_jobs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run.folder.parent)
    assert tags(Run.at(tmp_path / "link" / run.name)) == ["a-2-0"]
    assert tags(Run.at(run.folder.rename(tmp_path / "moved"))) == ["a-2-0"]


def lives(job: str) -> bool:
    return bool(job)


def test_a_claim_that_was_copied_with_a_run_keeps_no_job_from_the_copy(run: Run, tmp_path: Path) -> None:
    alive = Job("slurm job 7 of c, restart 0", "slurm", "c", "7", "node1")
    other = Job("slurm job 9 of c, restart 0", "slurm", "c", "9", "node1")
    assert Claim(run, alive, lives).take() == ""
    copy = Run.at(Path(shutil.copytree(run.folder, tmp_path / "copy" / run.name)))
    assert Claim(copy, other, lives).take() == ""
    assert "trains this run already" in Claim(run, other, lives).take()
