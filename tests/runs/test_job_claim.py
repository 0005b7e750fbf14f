"""One job at a time trains a run, whatever the tags and the machines are."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ganhpc.core.files import read_json, write_json
from ganhpc.runs import file_owner, job_claim
from ganhpc.runs.job_claim import Claim, Job
from ganhpc.runs.run_folder import Run
from tests.helpers import made
from tests.launch.test_node_agent import segment


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("GANHPC_SCHEDULER", raising=False)
    return made(tmp_path)


def job(id: str, cluster: str = "", host: str = "node1", restart: int = 0) -> Job:
    return Job(f"oar job {id} of {cluster}, restart {restart}", "oar", cluster, id, host)


def never(what: object, tag: str = "") -> bool | None:
    raise AssertionError(f"asked for {what} {tag}")


def test_the_second_job_ends_at_once_and_the_first_gives_the_run_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Claim(run, job("1"), never), Claim(run, job("2"), lambda id, _: id == "1")
    assert first.take() == ""
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", never)
        assert second.take() == "job 1 (node1) trains this run already: this one, job 2 (node1), ends at once"
    second.drop()
    assert first.holder() == first.job, "nobody drops another's claim"
    first.drop()
    assert second.take() == ""


def test_a_killed_job_is_followed_at_once_and_a_requeued_one_goes_on(run: Run) -> None:
    assert Claim(run, job("1"), never).take() == ""
    assert Claim(run, job("1", restart=1), never).take() == "", "it is the same job"
    assert Claim(run, job("2"), {"1": False}.get).take() == ""
    assert (read_json(run.folder / "claim.json") or {})["id"] == "2"


@pytest.mark.slow  # 2 s in all
def test_a_job_of_another_cluster_with_the_same_number_is_watched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = Claim(run, job("1", "alpha"), never), Claim(run, job("1", "beta"), never)
    assert there.take() == ""
    monkeypatch.setattr(job_claim, "BEAT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: there.beat())  # it lives: it touches its claim while this one waits
        assert "job 1 (node1) trains this run already" in here.take()
    monkeypatch.setattr(job_claim, "STALE_SECONDS", -9.0)
    assert here.take() == "", "nobody touches it: its job is gone"


def test_a_job_of_another_cluster_with_the_same_name_and_number_is_another_job(run: Run) -> None:
    """Both are called "linux": job 7 of one went on with the run that job 7 of the other trained."""
    there = Job("slurm job 7 of linux, restart 0, aa-1", "slurm", "linux ctl1:6817", "7", "n1", "aa-1")
    here = Job("slurm job 7 of linux, restart 0, bb-1", "slurm", "linux ctl2:6817", "7", "n1", "bb-1")
    again = Job("slurm job 7 of linux, restart 1, aa-1", "slurm", "linux ctl1:6817", "7", "n2", "aa-1")
    assert not here.is_same(there) and again.is_same(there)
    assert Claim(run, there, never).take() == ""
    assert Claim(run, here, never)._alive(there) is None, "nobody asks the other cluster"
    assert Claim(run, again, never).take() == ""
    older = {key: value for key, value in there.__dict__.items() if key != "tag"}
    write_json(run.folder / "claim.json", older)
    assert Claim(run, again, never).holder() == Job(**older)


def test_a_process_that_is_gone_has_no_claim(run: Run) -> None:
    child = subprocess.Popen(["true"])
    name = file_owner.process(child.pid)
    child.wait()
    gone = Job(name, "", "", "", os.uname().nodename)
    write_json(run.folder / "claim.json", {**gone.__dict__})
    assert Claim(run, Job(file_owner.process(os.getpid()), "", "", "", os.uname().nodename), never).take() == ""
    other = Job("process 1 born 1 in boot x on y", "", "", "", os.uname().nodename)
    assert not other.is_same(gone)


@pytest.mark.slow  # 2 s in all
def test_a_claim_of_another_container_is_watched_since_its_number_means_nothing_here(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, host = file_owner.process(os.getpid()), os.uname().nodename
    container = Claim(run, Job(here.replace(" on ", "1 on "), "", "", "", host), never)
    mine = Claim(run, Job(here, "", "", "", host), never)
    assert container.take() == ""
    monkeypatch.setattr(job_claim, "BEAT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: container.beat())
        assert "trains this run already" in mine.take()
    monkeypatch.setattr(job_claim, "STALE_SECONDS", -9.0)
    assert mine.take() == "", "nobody touches it: its process is gone"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"owner": 7}', '{"id": "1"}'])
def test_a_damaged_claim_is_none(run: Run, text: str) -> None:
    (run.folder / "claim.json").write_text(text)
    assert Claim(run, job("1"), never).take() == ""


@pytest.mark.parametrize("id", ["--help", "-a", "1 2", "1\n2", "", "9" * 101, "\ud800", "1\0"])
def test_no_word_of_a_claim_becomes_one_of_a_schedulers_command(run: Run, id: str) -> None:
    """An empty one asks nobody: the claim is watched, as the owner tells nothing of itself."""
    write_json(run.folder / "claim.json", {**job("7").__dict__, "id": id})
    claim = Claim(run, job("1"), never)
    if id:
        assert claim.holder() is None and claim.take() == ""
    else:
        assert claim.holder() is not None


def test_a_killed_jobs_number_that_another_job_has_by_now_keeps_nobody_from_training(run: Run) -> None:
    """The scheduler is asked for the job of that number and tag: a number alone comes again where a cluster is installed anew."""
    dead = Job("slurm job 7 of linux, restart 0, aa-1", "slurm", "linux ctl1:6817", "7", "n1", "aa-1")
    next_one = Job("slurm job 9 of linux, restart 0, bb-1", "slurm", "linux ctl1:6817", "9", "n1", "bb-1")
    assert Claim(run, dead, never).take() == ""
    assert Claim(run, next_one, lambda id, tag: (id, tag) == ("7", "cc-1")).take() == ""


def test_a_claim_with_terminal_codes_is_said_without_them(run: Run) -> None:
    write_json(run.folder / "claim.json", {**job("7", host="n1\x1b[2J\u202e\nx").__dict__})
    said = Claim(run, job("1"), lambda id, _: id == "7").take()
    assert said.startswith("job 7 (n1\\e[2J\\u202e\\nx) trains this run already") and said.isprintable()


def test_of_jobs_that_start_at_one_instant_one_trains(run: Run) -> None:
    said: list[str] = []
    claims = [Claim(run, job(str(k)), dict.fromkeys("01234567", True).get) for k in range(8)]
    threads = [threading.Thread(target=lambda c=c: said.append(c.take())) for c in claims]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("") == 1


def test_the_other_nodes_of_a_job_go_with_the_first(run: Run) -> None:
    mine = Claim(run, job("2"), lambda id, _: id == "1")
    Claim(run, job("1"), never).take()
    assert "trains this run already" in mine.follow()
    write_json(run.folder / "claim.json", {**job("2").__dict__})
    assert mine.follow() == ""


def test_a_segment_whose_run_is_claimed_starts_no_trainer(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "Popen", never)
    part = segment(run)
    holder = Job(file_owner.process(os.getppid()), "", "", "", part.claim.job.host)
    write_json(run.folder / "claim.json", {**holder.__dict__})
    assert part.train() == 0
    assert "trains this run already" in capsys.readouterr().out
