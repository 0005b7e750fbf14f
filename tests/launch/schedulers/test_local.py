"""The queue of this machine, with real processes."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import pytest

from ganhpc.core.files import read_json, write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import local, local_queue_jobs
from ganhpc.launch.schedulers.base import JobRequest, JobState
from ganhpc.launch.schedulers.local import Local
from ganhpc.runs import file_owner
from tests.launch.schedulers.local_jobs import ended, runner, said, send, waiting_job
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("state")


def test_a_queue_on_a_node_of_a_cluster_knows_the_end_of_the_job_that_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--on local` in an interactive job: its trainings were killed at that job's end, since the last checkpoint lost."""
    end = int(time.time()) + 600
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho {end}\n")
    (tmp_path / "squeue").chmod(0o755)
    for name, value in {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "12",
        "SLURMD_NODENAME": "n",
    }.items():
        monkeypatch.setenv(name, value)
    outer = dt.datetime.fromtimestamp(end).astimezone()
    for latest, bound in (
        (None, outer),
        (outer - dt.timedelta(60), outer - dt.timedelta(60)),
        (outer + dt.timedelta(60), outer),
    ):
        request = JobRequest("t", tmp_path, 1, 3600, "queue", until=latest)
        prepared = Local(Settings()).prepare(request)
        assert f"--until={bound.isoformat()}" in prepared.script
        assert prepared.request == request, (
            "else a launcher would take back an hour's job as one that can't end in time"
        )
    monkeypatch.delenv("SLURMD_NODENAME")
    assert "--until" not in Local(Settings()).prepare(JobRequest("t", tmp_path, 1, 3600, "queue")).script


def test_jobs_run_one_after_another_in_their_order(state: Path) -> None:
    first = send(state, "one", f"echo one begins; until [ -e {state}/go ]; do sleep 0.05; done; echo one ends")
    second = send(state, "two", "echo two; exit 3")
    waiting = {job.id: job for job in Local(Settings()).queue()}
    (state / "go").touch()
    assert waiting[second].after == (first,)
    assert waiting[second].tag == "two"
    assert (ended(first), ended(second)) == (JobState.ENDED, JobState.FAILED)
    assert (state / "out.txt").read_text().split("\n")[:3] == ["one begins", "one ends", "two"]
    assert Local(Settings()).queue() == []


@pytest.mark.slow  # 2 s in all
def test_a_job_waits_for_its_time_and_is_given_up_after_it(state: Path) -> None:
    now = dt.datetime.now().astimezone()
    late = send(state, "late", "echo late", start=now - dt.timedelta(hours=2), deadline=now - dt.timedelta(hours=1))
    assert ended(late) is JobState.TIMEOUT
    soon = send(state, "soon", "echo soon", start=now + dt.timedelta(seconds=2))
    assert ended(soon) is JobState.ENDED
    tree = read_json(local.queue_folder() / f"{soon}.json") or {}
    assert tree["started"] >= (now + dt.timedelta(seconds=2)).timestamp()
    assert not (state / "out.txt").read_text().count("late")


@pytest.mark.usefixtures("state")
def test_machines_of_one_name_that_share_a_home_have_queues_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of the other one, whose processes nobody sees here, were said to have failed."""
    monkeypatch.setattr(file_owner, "machine", lambda: "")
    shared, plain = local.queue_folder(), Local(Settings()).origin
    for machine in ("aaaa", "bbbb"):
        monkeypatch.setattr(file_owner, "machine", lambda machine=machine: machine)
        assert local.queue_folder() == shared.with_name(f"{shared.name}-{machine}")
    there = plain._replace(servers=(f"{os.uname().nodename}/aaaa",))
    assert Local(Settings()).origin.may_ask(plain.to_entry()) and not Local(Settings()).origin.may_ask(there.to_entry())
    number = local_queue_jobs.add(shared, {"script": "/x", "tag": "t", "seconds": 60})
    assert local.queue_folder() == shared, "of an older version, until it is empty"
    local_queue_jobs.change(local_queue_jobs.jobs(shared)[number], JobState.WAITING, state=JobState.CANCELLED.value)
    assert local.queue_folder() != shared
    assert Local(Settings()).jobs([str(number)])[str(number)].state is JobState.CANCELLED, "what became of it is told"


@pytest.mark.usefixtures("state")
def test_a_job_in_the_queue_of_an_older_version_is_ended_by_a_runner_of_that_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is noted as cancelled, that queue is empty: the runner was started in the new one, and the job ran on."""
    monkeypatch.setattr(file_owner, "machine", lambda: "")
    shared = local.queue_folder()
    monkeypatch.setattr(file_owner, "machine", lambda: "aaaa")
    number = local_queue_jobs.add(shared, {"script": "/x", "tag": "t", "seconds": 60})
    local_queue_jobs.begin(local_queue_jobs.jobs(shared)[number])
    started: list[Path] = []
    monkeypatch.setattr(local, "_start_runner", started.append)
    Local(Settings()).cancel(str(number))
    assert local_queue_jobs.jobs(shared)[number].state is JobState.CANCELLED
    assert started == [shared]


def test_the_end_of_its_time_is_a_polite_signal_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is over once the job hears the signal, however long it took to begin."""
    job = waiting_job(state, "trap 'echo asked; exit 0' TERM; echo hears; while true; do sleep 0.05; done")
    real = local_queue_jobs.clock
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: real() + (3600 if said(state) else 0))
    runner()
    assert local_queue_jobs.jobs(local.queue_folder())[job.number].state is JobState.TIMEOUT
    assert said(state) == "hears\nasked\n"


def test_cancelled_while_it_waits_and_while_it_runs(state: Path) -> None:
    running = send(state, "running", "echo runs; sleep 60")
    waiting = send(state, "waiting", "echo never")
    wait_for(lambda: said(state))
    scheduler = Local(Settings())
    scheduler.cancel(waiting)
    scheduler.cancel(running)
    assert (ended(running), ended(waiting)) == (JobState.CANCELLED, JobState.CANCELLED)
    assert (state / "out.txt").read_text() == "runs\n"


def test_a_machine_that_went_down_leaves_a_failed_job_and_the_next_submission_goes_on(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    lost = {
        "script": "x",
        "tag": "lost",
        "seconds": 60,
        "state": "running",
        "started": time.time(),
        "pid": 1,
        "born": "0",
    }
    write_json(folder / "1.json", lost)
    assert Local(Settings()).jobs(["1"])["1"].state is JobState.FAILED
    assert ended(send(state, "next", "echo next")) is JobState.ENDED


def test_a_job_that_ends_while_it_is_read_has_not_failed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file was read while it ran; then its runner notes its end, and ends as well."""
    noted = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert noted is not None

    def ends(folder: Path) -> bool:
        assert folder == local.queue_folder()
        local_queue_jobs.change(noted, JobState.RUNNING, state=JobState.ENDED.value, ended=time.time(), exit_code=0)
        return False

    monkeypatch.setattr(local, "_runner_lives", ends)
    job = Local(Settings()).jobs([str(noted.number)])[str(noted.number)]
    assert (job.state, job.exit_code) == (JobState.ENDED, 0)


def test_no_cancel_is_lost(state: Path) -> None:
    job = waiting_job(state, "echo never")
    Local(Settings()).cancel(str(job.number))
    assert local_queue_jobs.begin(job) is None, "the runner read the job before it was cancelled"
    noted = local_queue_jobs.begin(other := waiting_job(state, "echo runs"))
    assert noted is not None
    Local(Settings()).cancel(str(other.number))
    assert local_queue_jobs.change(noted, JobState.RUNNING, pid=123) is None
    assert local_queue_jobs.jobs(local.queue_folder())[other.number].state is JobState.CANCELLED


def test_an_unknown_job() -> None:
    assert Local(Settings()).jobs(["99"])["99"].state is JobState.UNKNOWN
