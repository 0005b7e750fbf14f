"""What ganhpc relies on of Slurm, seen on a real one (22.05): states, exit codes, signals, singleton, requeue."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine
from tests.clusters.machine import wait_until
from tests.clusters.slow import SlowSlurm
from tests.clusters.slurm import Slurm
from tests.clusters.slurm_jobs import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slow_slurm")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = machine.home() / "slurm facts"
    folder.mkdir(exist_ok=True)
    yield machine.give(folder)
    machine.remove(folder)


@pytest.fixture(scope="module")
def jobs(slurm_cluster: Slurm, folder: Path) -> Jobs:
    return Jobs(slurm_cluster, folder)


@pytest.fixture(scope="module")
def bare(slurm_bare: Slurm, folder: Path) -> Jobs:
    (folder / "bare").mkdir(exist_ok=True)
    return Jobs(slurm_bare, machine.give(folder / "bare"))


def test_sacct_tells_state_and_exit_code(jobs: Jobs) -> None:
    good, bad = jobs.submit("echo hello"), jobs.submit("exit 3")
    for job in (good, bad):
        jobs.wait(job)
    wait_until(lambda: jobs.sacct(good, "State") == ["COMPLETED"], 120, "sacct's answer")
    assert jobs.sacct(good, "ExitCode") == ["0:0"]
    assert wait_until(lambda: jobs.sacct(bad, "State") == ["FAILED"], 120, "sacct's answer")
    assert jobs.sacct(bad, "ExitCode") == ["3:0"]
    assert jobs.output(good) == "hello\n"


def test_without_accounting_sacct_fails_and_scontrol_still_knows(bare: Jobs) -> None:
    job = bare.submit("exit 3")
    assert bare.wait(job)["JobState"] == "FAILED"
    assert bare.show(job)["ExitCode"] == "3:0"
    done = bare.slurm.as_user(["sacct", "-j", job])
    assert (done.returncode, done.stderr.strip()) == (1, "Slurm accounting storage is disabled")


def test_an_unknown_job_is_no_error_everywhere(jobs: Jobs, bare: Jobs) -> None:
    for each in (jobs, bare):
        done = each.slurm.as_user(["squeue", "-h", "-j", "99999"])
        assert (done.returncode, "Invalid job id" in done.stderr) == (1, True)
        assert each.slurm.as_user(["scontrol", "show", "job", "99999"]).returncode == 1
        assert each.slurm.as_user(["scancel", "99999"]).returncode == 0
    assert jobs.sacct("99999", "State") == []


def test_a_cancelled_job_says_by_whom(jobs: Jobs) -> None:
    job = jobs.submit("sleep 1000")
    jobs.wait(job, "RUNNING")
    jobs.slurm.as_user(["scancel", job], check=True)
    assert jobs.wait(job)["JobState"] == "CANCELLED"
    wait_until(lambda: jobs.sacct(job, "State") == [f"CANCELLED by {machine.account().pw_uid}"], 120, "sacct's answer")


def test_singleton_holds_the_second_job_of_a_name_until_the_first_has_ended(jobs: Jobs) -> None:
    runs = "until [ -e singleton ]; do sleep 0.2; done"  # until it has been looked at
    first, second = (jobs.submit(runs, "--job-name=one", "--dependency=singleton") for _ in range(2))
    other = jobs.submit(runs, "--job-name=two", "--dependency=singleton")
    jobs.wait(first, "RUNNING")
    jobs.wait(other, "RUNNING")
    assert jobs.show(second)["JobState"] == "PENDING"
    assert jobs.show(second)["Reason"] == "Dependency"
    (jobs.folder / "singleton").touch()
    assert jobs.wait(second)["JobState"] == "COMPLETED"
    assert jobs.show(second)["StartTime"] >= jobs.show(first)["EndTime"]


def test_a_requeued_job_keeps_its_number_and_waits_before_it_runs_again(jobs: Jobs) -> None:
    job = jobs.submit("echo run ${SLURM_RESTART_COUNT:-0}; sleep 1000", "--requeue", "--open-mode=append")
    wait_until(lambda: jobs.output(job) == "run 0\n", 120, "the first run")
    jobs.slurm.as_user(["scontrol", "requeue", job], check=True)
    asked = time.monotonic()
    held = jobs.wait(job, "PENDING")
    assert held["Reason"] in ("BeginTime", "None")
    wait_until(lambda: "run 1" in jobs.output(job), 110, "the second run")
    assert 2 < time.monotonic() - asked < 115, "cred_expire=5 in slurm.conf: 120 s without it"
    assert jobs.show(job)["Restarts"] == "1"
    jobs.slurm.as_user(["scancel", job], check=True)
    assert jobs.sacct(job, "State")[0] == "REQUEUED"


def test_begin_and_deadline(jobs: Jobs) -> None:
    later = jobs.submit("echo", "--begin=now+1hour", "--time=1")
    assert (jobs.show(later)["JobState"], jobs.show(later)["Reason"]) == ("PENDING", "BeginTime")
    dead = jobs.submit("echo", "--begin=now+5", "--deadline=now+10", "--time=1")
    assert jobs.wait(dead, seconds=60)["JobState"] == "DEADLINE"
    jobs.slurm.as_user(["scancel", later], check=True)


def test_squeue_as_json_ignores_the_job_that_was_asked_for(jobs: Jobs) -> None:
    one, two = jobs.submit("sleep 300"), jobs.submit("sleep 300")
    text = jobs.slurm.as_user(["squeue", "--json", "-j", one], check=True).stdout
    assert {int(one), int(two)} <= {job["job_id"] for job in json.loads(text)["jobs"]}
    jobs.slurm.as_user(["scancel", one, two], check=True)


def test_two_nodes_with_gpus_and_names_that_resolve(jobs: Jobs) -> None:
    command = "scontrol show hostnames; srun bash -c 'echo $SLURM_PROCID $CUDA_VISIBLE_DEVICES; getent hosts $SLURMD_NODENAME'"
    job = jobs.submit(command, "--nodes=2", "--ntasks-per-node=1", "--gres=gpu:2")
    assert jobs.wait(job)["JobState"] == "COMPLETED"
    names = jobs.slurm.nodes
    assert jobs.output(job).split()[:2] == names
    assert {"0 0,1", "1 0,1"} <= set(jobs.output(job).split("\n"))
    assert jobs.output(job).count("127.0.0.1") == 2


def test_more_than_there_is_waits_forever_rather_than_being_refused(jobs: Jobs) -> None:
    job = jobs.submit("echo", "--nodes=3")
    wait_until(lambda: jobs.show(job)["Reason"].startswith("Partition"), 120, "the reason")
    assert jobs.show(job)["JobState"] == "PENDING"
    jobs.slurm.as_user(["scancel", job], check=True)
    done = jobs.slurm.as_user(["sbatch", "--partition=nosuch", "--wrap=echo"])
    assert (done.returncode, "invalid partition specified: nosuch" in done.stderr) == (1, True)


@pytest.mark.slow
def test_a_job_at_its_limit_is_timed_out_after_term(slow_slurm: SlowSlurm) -> None:
    jobs, job = slow_slurm.jobs, slow_slurm.plain
    assert jobs.wait(job, seconds=150)["JobState"] == "TIMEOUT"
    wait_until(lambda: jobs.sacct(job, "State", "ExitCode") == ["TIMEOUT|0:0"], 120, "sacct's answer")
    assert "DUE TO TIME LIMIT" in jobs.output(job)
    assert "SIGNAL" in jobs.output(job), "TERM comes first, KILL after KillWait"
    (seconds,) = jobs.sacct(job, "ElapsedRaw")
    assert 60 <= int(seconds) <= 125, "limits are looked at twice a minute"


@pytest.mark.slow
def test_a_job_at_its_limit_is_warned_where_the_signal_is_sent(slow_slurm: SlowSlurm) -> None:
    jobs, warned, step = slow_slurm.jobs, slow_slurm.warned, slow_slurm.step
    for job in (warned, step):
        assert jobs.wait(job, seconds=150)["JobState"] == "TIMEOUT"
    assert "SIGNAL" in jobs.output(warned)
    assert "SIGNAL" in jobs.output(step)
    assert "BATCH" not in jobs.output(step), "without B: only the steps are signalled"
