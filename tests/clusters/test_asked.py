"""Surroundings of real users on real schedulers: the environment, a job around the command, and a site that changes walltimes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clusters import machine, oar
from tests.clusters.machine import wait_until
from tests.clusters.user import ENDLESS, SMALL, User, read

pytestmark = pytest.mark.cluster

AROUND = {
    "SBATCH_TIMELIMIT": "4:00:00", "SBATCH_OUTPUT": "/tmp/elsewhere", "SBATCH_JOB_NAME": "other", "SBATCH_ARRAY_INX": "0-3", "SQUEUE_STATES": "RUNNING",
    "SQUEUE_PARTITION": "nosuch", "SBATCH_HINT": "nomultithread", "SLURM_MEM_PER_GPU": "100", "SLURM_JOB_ID": "1", "LOGNAME": "nobody", "USER": "nobody",
}  # fmt: skip


@pytest.fixture
def student(slurm_user: User) -> User:
    return slurm_user


def launched(user: User, *words: str, env: dict[str, str] | None = None) -> tuple[dict[str, object], str]:
    """(what `--json` says, the errors) of a launch."""
    done = user.run(*SMALL, *words, "--on", user.where, "--policy", "alone.toml", "--json", env=env)
    return (json.loads(done.stdout) if done.returncode == 0 else {}), done.stderr


def test_the_environment_changes_nothing_on_a_real_slurm(student: User) -> None:
    tree, errors = launched(student, *ENDLESS, env=AROUND)
    (job,) = tree["sent"] or [""]  # type: ignore[misc]
    assert job, errors
    limit = student.cluster.as_user(["squeue", "-h", "-r", "-j", job, "-o", "%l %j %u"]).stdout.split()
    assert limit == ["30:00", "ganhpc", machine.USER], "one job of half an hour, no array"
    again, errors = launched(student, *ENDLESS, env=AROUND)
    assert again["sent"] == [], "the job is seen, whatever SQUEUE_STATES and LOGNAME say"
    run = student.folder / "runs" / "paced" / tree["slots"][0]["run"]  # type: ignore[index]
    student.trains(run)
    assert (run / "log.txt").stat().st_size and not Path("/tmp/elsewhere").exists()


@pytest.mark.parametrize(
    "option", ["--time=8:00:00", "-t480", "--tim 8:00:00", "--mem=10M --array=0-3", "--test-only", "--wrap=true"]
)
def test_options_that_the_policy_decides_are_refused(student: User, option: str) -> None:
    (student.folder / "config.toml").write_text(f'options = ["{option}"]\n')
    tree, errors = launched(student, *ENDLESS)
    assert not tree and "take it out of options" in errors, errors


def test_a_plugin_that_lengthens_jobs_gets_them_back(student: User) -> None:
    """A wrapper of sbatch that asks for more, as a job_submit plugin of a site does behind it."""
    bin = student.folder / "bin"
    bin.mkdir()
    (bin / "sbatch").write_text('#!/bin/bash\nexec /usr/bin/sbatch "${@:1:$#-1}" --time=8:00:00 "${@: -1}"\n')
    (bin / "sbatch").chmod(0o755)
    machine.give(bin)
    tree, errors = launched(student, *ENDLESS, env={"PATH": f"{bin}:/usr/bin:/bin"})
    assert not tree and "made one of 8h of a job of 30m" in errors and "is taken back" in errors, errors
    wait_until(
        lambda: not student.cluster.as_user(["squeue", "-h", "-n", "ganhpc"]).stdout.strip(), 120, "an empty queue"
    )


def test_launched_inside_a_job_a_chain_trains(student: User) -> None:
    """`srun` in the submitted job sees nothing of the job in which the launcher is typed."""
    words = [*SMALL, "--epochs", "2", "--on", "slurm", "--policy", "none", "--json"]
    own = {"GANHPC_CONFIG": str(student.folder / "config.toml"), "OMP_NUM_THREADS": "1"}
    inner = [student.python, student.checkout / "launch.py", *words]
    done = student.cluster.as_user(
        ["salloc", "-t", "10", "--mem-per-cpu=100M", "srun", "-n1", *map(str, inner)],
        env=own,
        cwd=student.folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = student.folder / "runs" / "paced" / json.loads(done.stdout)["slots"][0]["run"]
    student.wait(run, ("done",))
    assert read(run / "result.json")["processes"] == 1


def test_a_real_oar_asks_for_the_processs_own_user(oar_cluster: oar.Oar, checkout: Path) -> None:
    user = User("oar", oar_cluster, checkout, "asked-oar")
    try:
        around = {"LOGNAME": "other", "USER": "other", "OAR_JOB_ID": "1"}
        tree, errors = launched(user, *ENDLESS, env=around)
        assert tree.get("sent"), errors
        second, errors = launched(user, *ENDLESS, env=around)
        assert second["sent"] == [] and "submitted already" in str(second["said"]), errors
    finally:
        user.close()


@pytest.mark.parametrize(
    "option",
    ["-l walltime=8:00:00", "-t deadline=2030-01-01", "--arr 4", "-tnight", "--RESERVATION='2030-01-01 00:00:00'"],
)
def test_options_of_oar_that_the_policy_decides_are_refused(oar_cluster: oar.Oar, checkout: Path, option: str) -> None:
    user = User("oar", oar_cluster, checkout, "asked-oar")
    (user.folder / "config.toml").write_text(f'options = ["{option}"]\n')
    try:
        tree, errors = launched(user, *ENDLESS)
        assert not tree and "take it out of options" in errors, errors
    finally:
        user.close()


@pytest.mark.parametrize("where", ["slurm", "oar"])
def test_what_was_typed_of_the_place_is_kept_for_resume(
    request: pytest.FixtureRequest, checkout: Path, where: str
) -> None:
    cluster = request.getfixturevalue(f"{where}_cluster")
    user = User(where, cluster, checkout, f"asked again {where}")
    words = ("--queue", "second") if where == "slurm" else ("--queue", "default", "--account", "gan")
    if where == "slurm":
        root = {"env": {**os.environ, **cluster.env}, "check": True, "capture_output": True}
        subprocess.run(["scontrol", "create", "partition=second", "nodes=ALL"], **root)
    try:
        run = user.launch(*ENDLESS, "--segments", "1", *words, policy="free")
        assert user.run("cancel", run.name).returncode == 0
        done = user.run("resume", run.name, "--policy", "free.toml", "--json")
        assert done.returncode == 0, done.stderr
        assert f"{run.name}: {' '.join(words)}, as it was submitted" in " ".join(done.stderr.split())
        first, *_, second = user.jobs(run)
        assert first["job_id"] != second["job_id"]
        if where == "slurm":
            told = cluster.as_user(["squeue", "-h", "-t", "all", "-j", second["job_id"], "-o", "%P"]).stdout
            assert told.strip() == "second"
        else:
            told = " ".join(cluster.as_user(["oarstat", "-f", "-j", second["job_id"]]).stdout.split())
            assert "queue = default" in told and "project = gan" in told
    finally:
        user.close()
        if where == "slurm":
            subprocess.run(["scontrol", "update", "partition=second", "state=DOWN"], **root)
