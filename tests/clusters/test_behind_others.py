"""On real schedulers: launches behind whatever else a user has in the queue, and chains of which a job is deleted.

By its name it runs before test_oar.py: behind the trainings which that begins, as the same user, nothing here would start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import machine
from tests.clusters.conversation import ENDED, Real
from tests.clusters.slurm_jobs import Jobs
from tests.clusters.test_waiting import no_start, root, why
from tests.clusters.user import BEGUN, ENDLESS, SMALL, User

pytestmark = pytest.mark.cluster
PATIENCE = 120.0
"""Seconds for whatever a scheduler does of itself, on a busy machine."""


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    yield from _user(request.param, request, checkout)


@pytest.fixture
def on_slurm(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    yield from _user("slurm", request, checkout)


@pytest.fixture
def on_oar(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    yield from _user("oar", request, checkout)


def _user(where: str, request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    """A user with no other job: the Slurm without accounting has none of the long trainings."""
    cluster = request.getfixturevalue("slurm_bare" if where == "slurm" else "oar_cluster")
    made = User(where, cluster, checkout, f"queue {where}")
    yield made
    made.close()


def sbatch(user: User, *words: str) -> str:
    """Submit a job of the user's own; returns its number."""
    command = ["sbatch", "--parsable", "--output=/dev/null", *words]
    return user.cluster.as_user(command, cwd=user.folder, check=True).stdout.strip()


def running(user: User) -> set[str]:
    """Numbers of the user's jobs that run, as squeue shows them."""
    return set(user.cluster.as_user(["squeue", "-h", "-t", "running", "-o", "%i"], check=True).stdout.split())


def behind(user: User, job: str) -> set[str]:
    """Numbers of the jobs for which a job still waits, as its scheduler has them."""
    if user.where == "slurm":
        waits = user.cluster.as_user(["squeue", "-h", "-j", job, "-o", "%E"], check=True).stdout
        return set(re.findall(r"afterany:(\d+(?:_\d+)?)", waits))
    told = user.cluster.as_user(["oarstat", "-f", "-J", "-j", job], check=True).stdout
    return {str(number) for number in json.loads(told)[job]["dependencies"]}


def planned(user: User, *words: str) -> dict[str, Any]:
    """The JSON that a launch of the small training prints."""
    done = user.run(*SMALL, *words, "--on", user.where, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@contextmanager
def partition(user: User, name: str, *words: str) -> Iterator[None]:
    """A further partition of all nodes for the length of a block, whose jobs end with it."""
    root(user, "scontrol", "create", f"partition={name}", "nodes=ALL", *words)
    try:
        yield
    finally:
        root(user, "scancel", "-p", name, "-u", machine.USER)
        left = ["squeue", "-a", "-h", "-p", name]
        machine.wait_until(lambda: not user.cluster.as_user(left).stdout, PATIENCE, "an empty partition", pause=0.5)
        root(user, "scontrol", "delete", f"partition={name}")


def test_a_launch_waits_for_an_array_and_for_a_heterogeneous_job(on_slurm: User) -> None:
    user, jobs = on_slurm, Jobs(on_slurm.cluster, on_slurm.folder)  # type: ignore[arg-type]
    script = user.folder / "several.sh"
    script.write_text("#!/bin/sh\nsleep 600\n")
    array = sbatch(user, "--array=3,5,9%1", "--time=20", "--wrap=sleep 600")
    several = sbatch(user, "--time=20", "--ntasks=1", ":", "--time=30", "--ntasks=1", str(script))
    # At some hours an edge would put the first job off.
    (user.folder / "free.toml").write_text('base = "student"\nedges = []\n')
    words = ("--time", "70m", "--policy", "free.toml")
    try:
        machine.wait_until(lambda: {f"{array}_3", f"{several}+0"} <= running(user), PATIENCE, "the user's own jobs run")
        shown, done = planned(user, *words, "--dry-run"), planned(user, *words)
        sent = done["sent"]
        assert len(sent) == len(shown["slots"]) >= 2
        others = {f"{array}_3", array, several}
        assert [behind(user, job) for job in sent] == [{*others, *sent[:k]} for k in range(len(sent))]
        limits = [re.findall(r"--time=([\d:]+)", job["command"])[0].rjust(8, "0") for job in shown["jobs"]]
        assert [jobs.show(job)["TimeLimit"] for job in sent] == limits
        assert [slot["kind"] for slot in done["slots"]] == [slot["kind"] for slot in shown["slots"]]
        assert not running(user) & set(sent)
        user.cluster.as_user(["scancel", array], check=True)
        machine.wait_until(lambda: behind(user, sent[0]) == {several}, PATIENCE, "the array has ended", pause=0.5)
        assert f"{several}+0" in running(user) and not running(user) & set(sent)
        user.cluster.as_user(["scancel", several], check=True)
        machine.wait_until(lambda: running(user) == {sent[0]}, PATIENCE, "the first job runs", pause=0.5)
    finally:
        user.cluster.as_user(["scancel", array, several])


def test_a_job_in_a_hidden_partition_is_submitted_once(on_slurm: User) -> None:
    user = on_slurm
    with partition(user, "back", "hidden=yes"):
        run = user.launch(*ENDLESS, "--time", "10m", "--partition", "back")
        (job,) = user.jobs(run)
        shown = ["squeue", "-h", "-o", "%i"]  # jobs of the test before may be about to end
        machine.wait_until(
            lambda: not user.cluster.as_user(shown, check=True).stdout, PATIENCE, "a queue that hides it"
        )
        assert [each["id"] for each in user.see(run)["jobs"]] == [job["job_id"]]
        words = (*SMALL, *ENDLESS, "--time", "10m", "--partition", "back", "--on", "slurm", "--policy", "alone.toml")
        again = user.run(*words)
        assert f"is submitted already, as job {job['job_id']}" in again.stdout, again.stderr
        other = user.launch(*ENDLESS, "--time", "10m", "--seed", "7")
        assert behind(user, user.jobs(other)[0]["job_id"]) == {job["job_id"]}
        assert f"is cancelled (jobs: {job['job_id']})" in user.run("cancel", str(run)).stdout


def test_a_job_that_never_starts_is_said_when_it_is_submitted(on_slurm: User) -> None:
    user = on_slurm
    (user.folder / "hours.toml").write_text('max_job = "2h"\n')
    words = (*SMALL, "--time", "1h", "--partition", "short", "--on", "slurm", "--policy", "hours.toml")
    reason = (
        "it asks for more time than its partition allows: cancel it, and launch it shorter (Slurm: PartitionTimeLimit)"
    )
    with partition(user, "short", "maxtime=30"):
        done = user.run(*words, env={"COLUMNS": "400"})
        assert done.returncode == 0, done.stderr
        # Slurm's first word, for half a second, is PartitionConfig.
        first = r"it asks for more (than its partition has or allows|time than its partition allows): cancel it"
        said = " ".join(done.stdout.split())
        assert re.search(f"Slurm took it, and does not start it: {first}", said), said
        (run,) = (user.folder / "runs" / SMALL[0]).iterdir()
        job = why(user, run, "more time than its partition allows")
        assert job["why"] == reason
        no_start(user, run, job)


def test_a_job_that_its_partition_refuses_leaves_nothing_behind(on_slurm: User) -> None:
    user = on_slurm
    (user.folder / "hours.toml").write_text('max_job = "2h"\n')
    words = (*SMALL, "--time", "1h", "--partition", "short", "--on", "slurm", "--policy", "hours.toml")
    with user.cluster.configured(EnforcePartLimits="ALL"), partition(user, "short", "maxtime=30"):  # type: ignore[union-attr]
        done = user.run(*words, env={"COLUMNS": "400"})
    assert done.returncode != 0
    assert "Slurm refused job 1 of 1: Batch job submission failed: Requested time limit is invalid" in done.stderr
    assert "nothing is submitted" in done.stderr and "Traceback" not in done.stderr
    shown = ["squeue", "-a", "-h", "-o", "%i"]
    machine.wait_until(lambda: not user.cluster.as_user(shown, check=True).stdout, PATIENCE, "an empty queue")


def test_a_deleted_job_frees_nothing_of_its_chain_while_another_job_runs(on_oar: User) -> None:
    user, real = on_oar, Real(on_oar.cluster, on_oar.folder)  # type: ignore[arg-type]
    core = ("-l", "core=1,walltime=0:30:00", "-d", "/", "-O", "/dev/null", "-E", "/dev/null")
    mine = real.submit(*core, "sleep 1000")
    try:
        real.wait(mine, ("Running",), PATIENCE)
        run = user.launch("--time", "70m")
        first, second, third = (job["job_id"] for job in user.jobs(run))
        assert behind(user, first) == {str(mine)}
        assert behind(user, second) == {str(mine), first}
        assert behind(user, third) == {str(mine), first, second}
        real.run(["oardel", first])
        real.end(int(first))
        # What is free to start has started with a later job that waits for nothing.
        probe = real.submit(*core, "sleep 1000")
        real.wait(probe, ("Running",), PATIENCE)
        assert [real.state(int(job)) for job in (second, third)] == ["Waiting", "Waiting"]
        real.run(["oardel", str(probe), str(mine)])
        real.wait(int(second), ("Running", *ENDED), PATIENCE)
        assert real.state(int(third)) == "Waiting"
    finally:
        real.run(["oardel", str(mine)])


def test_each_job_of_a_nights_script_waits_for_all_before_it(user: User) -> None:
    words = ("night", *SMALL, "--time", "70m", "--on", user.where, "--policy", "alone.toml")
    done = user.run(*words, *BEGUN)
    assert done.returncode == 0, done.stderr
    (script,) = user.folder.glob("night-*.sh")
    told = user.cluster.as_user(["bash", script], cwd=user.folder, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    (run,) = (user.folder / "runs" / SMALL[0]).iterdir()
    ids = [job["job_id"] for job in user.jobs(run)]
    assert len(ids) >= 3 and all(ids)
    assert [behind(user, job) for job in ids] == [set(ids[:k]) for k in range(len(ids))]
