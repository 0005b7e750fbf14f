"""request.json: each note changes what it says and nothing else, one process at a time."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.files import read_json, write_json
from ganhpc.runs import submission_record as record
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_files import Entry, RefusalSource
from ganhpc.runs.run_folder import Run, State

HERE = Origin("slurm", "alpha", os.getuid(), "me")
THERE = Origin("slurm", "beta", os.getuid(), "me")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "cifar" / "a run"
    folder.mkdir(parents=True)
    return Run(folder)


def entry(tag: str, **more: object) -> Entry:
    return {"tag": tag, "segment": 1, "work": 600, "seconds": 660, "last": True, **more}  # type: ignore[typeddict-item]


def jobs(run: Run) -> list[Entry]:
    return record.read(run)["jobs"]


def test_a_run_without_a_record_has_no_jobs_and_none_is_made_by_a_look(run: Run) -> None:
    assert record.read(run) == {"jobs": []}
    with record.updated(run):
        pass
    assert not run.request_json.exists()


def test_jobs_are_noted_with_their_place_and_folder_and_get_their_ids(run: Run) -> None:
    before = time.time()
    record.note_intent(run, [entry("a"), entry("b")], {"scheduler": "slurm", "launch": "L"}, about_to=True, here=HERE)
    tree = record.read(run)
    assert (tree["scheduler"], tree["launch"]) == ("slurm", "L") and before <= tree["submitted"] <= time.time()
    where = {**HERE.to_entry(), "folder": str(run.folder)}
    for job, tag in zip(tree["jobs"], "ab", strict=True):
        assert {**entry(tag), **where}.items() <= job.items() and job["job_id"] is None
    written = read_json(run.request_json)
    assert written and [set(job) for job in written["jobs"]] == [{*entry("a"), *where, "job_id"}] * 2
    record.note_id(run, "b", "12", "sbatch b")
    first, second = jobs(run)
    assert (first["job_id"], second["job_id"], second["command"]) == (None, "12", "sbatch b") and "command" not in first
    record.note_id(run, "b", "13")
    assert (jobs(run)[1]["job_id"], jobs(run)[1]["command"]) == ("13", "sbatch b"), "no command: the old one stays"
    record.note_id(run, "c", "14")
    assert [job["job_id"] for job in jobs(run)] == [None, "13"]


def test_an_id_names_the_place_that_knows_it_and_ends_being_forgotten(run: Run) -> None:
    record.note_intent(run, [entry("a")], {}, about_to=True)
    assert not {"cluster", "uid", "user", "scheduler"} & set(jobs(run)[0])
    record.note_ended(run, {}, ["a"])
    assert "forgotten" in jobs(run)[0]
    record.note_id(run, "a", "1", here=HERE)
    (job,) = jobs(run)
    assert HERE.to_entry().items() <= job.items() and "forgotten" not in job


def test_jobs_without_an_id_make_way_for_the_next_launch_and_the_others_stay(run: Run) -> None:
    record.note_intent(run, [entry("a"), entry("b")], {"launch": "1"}, about_to=True)
    record.note_id(run, "a", "1")
    record.note_intent(run, [entry("c")], {"launch": "2"}, about_to=True)
    assert [(job["tag"], job["job_id"]) for job in jobs(run)] == [("a", "1"), ("c", None)]
    assert record.read(run)["launch"] == "2"


@pytest.mark.parametrize("about_to", [True, False])
def test_only_a_launch_forgives_a_cancel_and_a_refusal(run: Run, about_to: bool) -> None:
    record.note_cancelled(run)
    record.note_refused(run, "no", RefusalSource.SCHEDULER)
    record.note_intent(run, [entry("a")], {}, about_to=about_to)
    left = {"cancelled", "refused", "refused_by"} & set(record.read(run))
    assert left == (set() if about_to else {"cancelled", "refused", "refused_by"})
    record.note_intent(run, [entry("b")], {}, about_to=True)
    record.note_intent(run, [entry("c")], {}, about_to=True)  # nothing is left to forgive


def test_a_run_with_a_job_elsewhere_is_not_noted_here(run: Run) -> None:
    record.note_intent(run, [entry("a")], {}, about_to=True, here=HERE)
    record.note_id(run, "a", "1", here=HERE)
    record.note_cancelled(run)
    before = run.request_json.read_bytes()
    wanted = rf"has just been submitted elsewhere: type `python launch\.py status 'a run' --runs {re.escape(str(run.runs))}`\.$"
    with pytest.raises(BusyError, match=wanted):
        record.note_intent(run, [entry("b")], {}, about_to=True, here=THERE)
    assert run.request_json.read_bytes() == before
    record.note_intent(run, [entry("b")], {}, about_to=True, here=HERE)
    record.note_intent(run, [entry("c")], {}, about_to=True)  # a place that is not known asks nobody
    assert [job["tag"] for job in jobs(run)] == ["a", "c"]


def test_ends_are_noted_and_what_is_forgotten_stays_open(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    record.note_intent(run, [entry(tag) for tag in "abcd"], {}, about_to=True)
    for tag in "abcd":
        record.note_id(run, tag, tag)
    monkeypatch.setattr(time, "time", lambda: 5.0)
    record.note_ended(run, {"a": "done", "b": "failed"}, ["b", "c"])
    a, b, c, d = jobs(run)
    assert (a["ended"], b["ended"], c["forgotten"]) == ("done", "failed", 5.0)
    assert "forgotten" not in b and "ended" not in c and not {"ended", "forgotten"} & set(d)
    monkeypatch.setattr(time, "time", lambda: 6.0)
    record.note_ended(run, {}, ["c"])
    assert jobs(run)[2]["forgotten"] == 5.0, "since when it is forgotten"
    assert [job["tag"] for job in record.open_jobs(record.read(run))] == ["c", "d"]
    record.note_ended(run, {"c": "done"})
    assert [job["tag"] for job in record.open_jobs(record.read(run))] == ["d"]
    with pytest.raises(AssertionError, match=r"^nobody has said that the job has ended$"):
        record.note_ended(run, {"d": "unknown"})


def test_jobs_that_an_older_version_called_unknown_are_open(run: Run) -> None:
    write_json(run.request_json, {"jobs": [{**entry("a"), "job_id": "1", "ended": "unknown"}, {**entry("b"), "job_id": "2", "ended": "done"}]})  # fmt: skip
    assert [job["tag"] for job in record.open_jobs(record.read(run))] == ["a"]


def test_a_cancel_and_a_refusal_are_noted_with_their_time_and_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 7.0)
    record.note_cancelled(run)
    record.note_refused(run, "no slot", RefusalSource.POLICY)
    assert read_json(run.request_json) == {"jobs": [], "cancelled": 7.0, "refused": "no slot", "refused_by": "policy"}
    record.note_refused(run, "who knows")
    assert read_json(run.request_json) == {"jobs": [], "cancelled": 7.0, "refused": "who knows"}
    record.note_refused(run, "again")


def test_in_a_copy_of_the_folder_living_jobs_are_the_originals(tmp_path: Path, run: Run) -> None:
    record.note_intent(run, [entry("a"), entry("b")], {}, about_to=True)
    for tag in "ab":
        record.note_id(run, tag, tag)
    record.note_ended(run, {"b": "done"})
    copy = Run(tmp_path / "copy")
    copy.folder.mkdir()
    copy.request_json.write_bytes(run.request_json.read_bytes())
    assert [job["tag"] for job in jobs(copy)] == ["b"], "what has ended is history"
    assert [job["tag"] for job in jobs(run)] == ["a", "b"]


def test_the_copy_of_a_run_that_waits_has_not_been_started(tmp_path: Path, run: Run) -> None:
    record.note_intent(run, [entry("a")], {"scheduler": "slurm"}, about_to=True)
    record.note_id(run, "a", "7")
    copy = Run(tmp_path / "copy")
    shutil.copytree(run.folder, copy.folder)
    assert (run.run_status().state, copy.run_status().state) == (State.WAITING, State.NEW)
    shutil.rmtree(run.folder)
    assert copy.run_status().state is State.WAITING, "without the original, it is the run itself, moved"


def test_a_block_that_fails_writes_nothing_and_gives_the_lock_back(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), record.updated(run) as tree:
        tree["cancelled"] = 1.0
        raise ZeroDivisionError
    assert not run.request_json.exists()
    handle = os.open(run.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_two_at_once_lose_no_note(run: Run) -> None:
    record.note_intent(run, [entry(str(k)) for k in range(8)], {}, about_to=True)
    noting = [threading.Thread(target=record.note_id, args=(run, str(k), f"id{k}")) for k in range(8)]
    with record.updated(run):  # all of them come while this one is at it
        for thread in noting:
            thread.start()
        time.sleep(0.1)
        assert all(job["job_id"] is None for job in jobs(run)), "they wait"
    for thread in noting:
        thread.join(20)
    assert [job["job_id"] for job in jobs(run)] == [f"id{k}" for k in range(8)]


def test_nothing_is_written_where_nothing_has_changed(run: Run) -> None:
    record.note_refused(run, "no")
    stamp = run.request_json.stat().st_mtime_ns, run.request_json.stat().st_ino
    record.note_refused(run, "no")
    assert (run.request_json.stat().st_mtime_ns, run.request_json.stat().st_ino) == stamp


def test_a_folder_that_is_gone_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone"):
        record.note_cancelled(Run(tmp_path / "gone"))
