"""Files that the file system does not give for a moment are not taken for missing: no rule is broken by it, nothing is done twice and nothing is lost."""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers import local_queue_jobs
from ganhpc.launch.schedulers.base import Availability, JobState
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission import recent_jobs
from ganhpc.runs import file_owner, stop_requests, submission_record
from ganhpc.runs.job_claim import Claim, Job
from ganhpc.train.runtime import checkpoint
from tests.helpers import made
from tests.launch.test_node_agent import segment

Away = Callable[..., None]
ERRNOS = (errno.EIO, errno.ESTALE, errno.EMFILE)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    """Have every look at a path, or at those whose names end so, fail with an errno; none: all are there again."""
    real_stat = os.stat
    gone: list[tuple[str, int]] = []

    def stat(path: Any, *words: Any, **more: Any) -> os.stat_result:
        for end, number in gone:
            if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).endswith(end):
                raise OSError(number, os.strerror(number), os.fsdecode(path))
        return real_stat(path, *words, **more)

    monkeypatch.setattr(os, "stat", stat)

    def set_away(*ends: str, number: int = errno.EIO) -> None:
        gone[:] = [(end, number) for end in ends]

    return set_away


@pytest.mark.parametrize("number", ERRNOS)
def test_a_queue_that_cannot_be_listed_loses_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The next job was number 1 again, and took the place of the first."""
    folder, job = tmp_path / "queue", {"script": "/x.sh", "tag": "a", "seconds": 60}
    assert local_queue_jobs.add(folder, job) == 1

    def refuse(path: Any) -> list[str]:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(StorageFault):
            local_queue_jobs.add(folder, {**job, "tag": "b"})
    assert [each.tag for each in local_queue_jobs.jobs(folder).values()] == ["a"]
    assert local_queue_jobs.add(folder, {**job, "tag": "b"}) == 2


@pytest.mark.parametrize("number", ERRNOS)
def test_a_job_that_cannot_be_read_is_not_left_out_of_its_queue(tmp_path: Path, away: Away, number: int) -> None:
    """Its launcher would have submitted it a second time."""
    folder, job = tmp_path / "queue", {"script": "/x.sh", "tag": "a", "seconds": 60}
    local_queue_jobs.add(folder, job)
    away("/1.json", number=number)
    with pytest.raises(StorageFault):
        local_queue_jobs.jobs(folder)
    away("/1.json", number=errno.EACCES)
    assert local_queue_jobs.jobs(folder) == {}, "somebody else's file, for good: it stops no other job"


def test_a_note_that_cannot_be_read_begins_no_job_a_second_time(tmp_path: Path, away: Away) -> None:
    folder = tmp_path / "queue"
    local_queue_jobs.add(folder, {"script": "/x.sh", "tag": "a", "seconds": 60})
    job = local_queue_jobs.begin(local_queue_jobs.jobs(folder)[1])
    assert job
    job.claim.write_text(f"{os.getpid()} 7")
    away(".started")
    with pytest.raises(StorageFault):
        local_queue_jobs.began(job)
    away()
    found = local_queue_jobs.began(job)
    assert found and found.pid == os.getpid() and found.state is JobState.RUNNING


def test_a_claim_that_cannot_be_read_is_not_taken_over(tmp_path: Path, away: Away) -> None:
    run = made(tmp_path)
    first, second = (Job(f"oar job {k}", "oar", "c", str(k), f"n{k}", f"t-{k}") for k in (1, 2))
    assert Claim(run, first, lambda *_: True).take() == ""
    claim = Claim(run, second, lambda *_: True)
    away("/claim.json")
    with pytest.raises(StorageFault):
        claim.take()
    away()
    assert "trains this run already" in claim.take()


def test_a_status_that_cannot_be_read_starts_no_second_trainer(tmp_path: Path, away: Away) -> None:
    run = made(tmp_path)
    away("/status.json")
    with pytest.raises(StorageFault), run.hold():
        pass
    away()
    with run.hold():
        pass


@pytest.mark.parametrize("owner", ["", "job 7"])
def test_a_file_server_that_is_away_is_no_stop_request(tmp_path: Path, away: Away, owner: str) -> None:
    run = made(tmp_path)
    name = stop_requests.path_of(run.folder, owner).name
    away(f"/{name}")
    assert run.stop_reason(owner) is None
    run.ask_to_stop("asked", owner)
    assert run.stop_reason(owner) is None, "it is asked again at the next step"
    away()
    assert run.stop_reason(owner) == "asked"


def test_a_record_that_cannot_be_read_does_not_have_a_cancelled_run_trained(
    tmp_path: Path, away: Away, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GANHPC_SCHEDULER", raising=False)
    run = made(tmp_path)
    submission_record.note_cancelled(run)
    part = segment(run)
    part.patience = 60.0
    away("/request.json")
    monkeypatch.setattr("time.sleep", lambda _: away())  # it is back behind the first pause
    assert part.train() == 0
    assert "the run was cancelled" in capsys.readouterr().out


@pytest.mark.parametrize("number", ERRNOS)
def test_notes_that_cannot_be_read_free_no_day_quota_and_are_kept(
    tmp_path: Path, away: Away, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "ganhpc").mkdir()
    oar, now = Oar(Settings()), dt.datetime.now(dt.UTC)
    monkeypatch.setattr(type(oar), "found", Availability(True, ""))
    monkeypatch.setattr(oar, "ended_since", lambda _: [])
    noted = recent_jobs.Submitted("7", now.timestamp() - 60, 60.0)
    recent_jobs.add("oar", noted)
    away("/submitted-oar.jsonl", number=number)
    with pytest.raises(StorageFault):
        recent_jobs.ended_today(oar, Policy("quota", day_quota=3600), [], now, dt.UTC)
    recent_jobs.add("oar", recent_jobs.Submitted("8", now.timestamp(), 60.0))
    away()
    assert noted in list(recent_jobs._read(tmp_path / "ganhpc" / "submitted-oar.jsonl"))


@pytest.mark.parametrize("number", ERRNOS)
def test_checkpoints_that_cannot_be_read_do_not_start_a_training_over(tmp_path: Path, away: Away, number: int) -> None:
    cpu = torch.device("cpu")
    for step in (10, 20):
        checkpoint.save(tmp_path, step, {"x": torch.zeros(2)})
    away("step-0000000020.pt", number=number)
    assert checkpoint.newest(tmp_path, cpu).step == 10, "the one before it is whole"
    away(".pt", number=number)
    with pytest.raises(StorageFault) as said:
        checkpoint.newest(tmp_path, cpu)
    assert said.value.passing
    away()
    assert checkpoint.newest(tmp_path, cpu).step == 20


def test_an_owner_whose_boot_cannot_be_told_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc can't be read while a process has too many files open."""
    name = file_owner.process(os.getpid())
    monkeypatch.setattr(file_owner, "_boot", lambda: "unknown")
    assert not file_owner.is_over(name)


def test_a_job_of_the_queue_lives_whose_machines_start_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"script": "/x.sh", "tag": "a", "seconds": 60, "state": "running", "started": 1.0, "pid": os.getpid()}
    write_json(
        tmp_path / "1.json", {**tree, "born": local_queue_jobs.born(os.getpid()), "boot": local_queue_jobs.boot()}
    )
    job = local_queue_jobs.jobs(tmp_path)[1]
    assert job.alive
    monkeypatch.setattr(local_queue_jobs, "boot", lambda: "unknown")
    assert job.alive
    monkeypatch.setattr(local_queue_jobs, "boot", lambda: "another")
    assert not job.alive
