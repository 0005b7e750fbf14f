"""On real schedulers: rules of a site that change a job on its way in, and walltimes that are raised past the policy afterwards."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clusters import oar, slurm
from tests.clusters.machine import wait_until
from tests.clusters.user import BEGUN, ENDLESS, SMALL, User

pytestmark = pytest.mark.cluster

MINUTES = 'max_job = "2m"\nmax_jobs = 1\ngap = "2s"\nmin_slot = "10s"\n'
LUA = "function slurm_job_submit(job, parts, uid)\n{}\nreturn slurm.SUCCESS\nend\nfunction slurm_job_modify(job, old, parts, uid)\nreturn slurm.SUCCESS\nend\n"


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    cluster = request.getfixturevalue("slurm_bare" if request.param == "slurm" else "oar_cluster")
    made = User(request.param, cluster, checkout, f"granted {request.param}")
    (made.folder / "minutes.toml").write_text(MINUTES)
    yield made
    made.close()


@contextmanager
def site_rule(user: User, rule: str) -> Iterator[None]:
    """A rule that the site applies to every submission: OAR's admission rules are Perl, Slurm's plugin is Lua."""
    cluster = user.cluster
    with cluster.admission_rule(rule) if isinstance(cluster, oar.Oar) else cluster.submit_plugin(LUA.format(rule)):
        yield


def submitted(user: User, *words: str) -> subprocess.CompletedProcess[str]:
    return user.run(*SMALL, *ENDLESS, *words, "--on", user.where, "--policy", "minutes.toml", "--json")


def jobs_of(user: User) -> list[str]:
    """Numbers of the user's jobs of the launcher that wait or run."""
    if user.where == "slurm":
        return user.cluster.as_user(["squeue", "-h", "-n", "ganhpc", "-o", "%i"]).stdout.split()
    told = user.cluster.as_user(["oarstat", "-f"]).stdout
    tags = {job["tag"] for run in (user.folder / "runs").glob("*/*") for job in user.jobs(run)}
    return [part for part in re.split(r"^Job_Id: ", told, flags=re.MULTILINE) if any(tag in part for tag in tags)]


RULES = {
    "longer": {
        "oar": "$_->[1] = 3600 foreach @{$ref_resource_list};",
        "slurm": "job.time_limit = 60",
        "said": "made one of 1h of a job of 2m, which policy minutes doesn't allow, by a rule of the site; job",
    },
    "slightly": {
        "oar": "$_->[1] = 150 foreach @{$ref_resource_list};",
        "slurm": "job.time_limit = 3",
        "said": "of a job of 2m, which policy minutes doesn't allow, by a rule of the site; job",
    },
}


@pytest.mark.parametrize("name", RULES)
def test_a_site_that_makes_jobs_longer_gets_them_back_at_once(user: User, name: str) -> None:
    rule = RULES[name]
    with site_rule(user, rule[user.where]):
        done = submitted(user)
    assert done.returncode != 0 and rule["said"] in done.stderr and "taken back" in done.stderr, (
        done.stderr + done.stdout
    )
    wait_until(lambda: not jobs_of(user), 180, "an empty queue")


def test_a_site_that_makes_several_jobs_of_one_gets_them_all_back(oar_cluster: oar.Oar, checkout: Path) -> None:
    user = User("oar", oar_cluster, checkout, "granted array")
    (user.folder / "minutes.toml").write_text(MINUTES)
    try:
        with site_rule(user, "$array_job_nb = 3;"):
            done = submitted(user)
        assert done.returncode != 0 and "made 3 jobs of the one that was asked for" in done.stderr, done.stderr
        assert len(re.findall(r"\d+", done.stderr.partition("; jobs ")[2].partition(" are taken back")[0])) == 3
        wait_until(lambda: not jobs_of(user), 180, "an empty queue")
    finally:
        user.close()


def test_a_site_that_makes_jobs_shorter_is_said(user: User) -> None:
    with site_rule(
        user, {"oar": "$_->[1] = 40 foreach @{$ref_resource_list};", "slurm": "job.time_limit = 1"}[user.where]
    ):
        done = user.run(*SMALL, *ENDLESS, "--on", user.where, "--policy", "free.toml")
    assert done.returncode == 0, done.stderr
    assert "site shortened it from 5m to" in " ".join(done.stdout.split()), done.stdout


def test_a_plugin_that_lets_a_job_start_early_gets_it_back(slurm_bare: slurm.Slurm, checkout: Path) -> None:
    user = User("slurm", slurm_bare, checkout, "granted early")
    try:
        first = user.launch("--time", "20m", "--seed", "1")
        words = ("--time", "20m", "--seed", "2", "--on", "slurm", "--policy", "alone.toml", "--json")
        with site_rule(user, "job.dependency = ''"):
            done = user.run(*SMALL, *words)
        (job,) = user.jobs(first)
        assert f"does not wait for job {job['job_id']}, behind which it was to start" in done.stderr, done.stderr
        wait_until(lambda: jobs_of(user) == [job["job_id"]], 180, "the first job alone")
    finally:
        user.close()


def test_a_site_that_takes_begin_times_out_gets_jobs_behind_others_back(user: User) -> None:
    """The job before was expected to end later than that, and may end at any time."""
    (user.folder / "edge.toml").write_text(f'{MINUTES}edges = ["{soon(2):%H:%M}"]\nedge_days = "every"\n')
    own = {
        "oar": ["oarsub", "-l", "core=1,walltime=4:0:0", "sleep 900"],
        "slurm": ["sbatch", "--time=4:00:00", "--output=/dev/null", "--wrap", "sleep 900"],
    }
    said = user.cluster.as_user(own[user.where], cwd=user.folder, check=True).stdout
    number = re.findall(r"(?:OAR_JOB_ID=|job )(\d+)", said)[-1]
    words = ("--data", "synthetic", "--train-images", "200", "--device", "cpu", "--time", "2m", "--yes")
    window = ("--from", f"{soon(3):%H:%M}", "--until", f"{soon(9):%H:%M}", "--on", user.where, "--policy", "edge.toml")
    rule = {"oar": "@{$type_list} = grep { !/postpone/ } @{$type_list};", "slurm": "job.begin_time = 0"}
    try:
        with site_rule(user, rule[user.where]):
            done = user.run("night", "paced", *words, *window)
        assert done.returncode != 0 and "starts the job before" in done.stderr and "taken back" in done.stderr, (
            done.stderr + done.stdout
        )
        wait_until(lambda: not jobs_of(user), 180, "an empty queue")
        done = user.run("night", "paced", *words, *window)
        assert done.returncode == 0 and len(jobs_of(user)) == 1, done.stderr
    finally:
        user.cluster.as_user([{"oar": "oardel", "slurm": "scancel"}[user.where], number])


def soon(hours: int) -> dt.datetime:
    return dt.datetime.now() + dt.timedelta(hours=hours)


def test_a_nights_script_reads_back_what_was_granted(user: User) -> None:
    words = ("--time", "4m", "--data", "synthetic", "--train-images", "200", "--device", "cpu")
    (user.folder / "night.toml").write_text(MINUTES)
    done = user.run("night", "paced", *words, "--on", user.where, "--policy", "night.toml", *BEGUN[2:])
    assert done.returncode == 0, done.stderr
    (script,) = user.folder.glob("night-*.sh")
    rule = RULES["longer"][user.where]
    with site_rule(user, rule):
        told = user.cluster.as_user(["bash", script], cwd=user.folder, timeout=120)
    assert told.returncode != 0, told.stdout + told.stderr
    assert "made one of 1h of a job of" in told.stderr and "taken back" in told.stderr, told.stderr
    wait_until(lambda: not jobs_of(user), 180, "an empty queue")
