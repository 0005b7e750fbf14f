"""Two real Slurms and two people on one folder of runs: each sees whose jobs there are, and touches its own only."""

from __future__ import annotations

import json
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine, slurm
from tests.clusters.user import BEGUN, SMALL, User, read

pytestmark = pytest.mark.cluster
MATE = "ganhpc-mate"
LAUNCH = (*SMALL, "--time", "20m", "--on", "slurm", "--policy")


@pytest.fixture
def user(slurm_user: User) -> Iterator[User]:
    """One whose folder the others of the group can enter."""
    mode = machine.home().stat().st_mode
    machine.home().chmod(0o755)
    yield slurm_user
    machine.home().chmod(mode)


def as_mate(user: User, *words: str) -> subprocess.CompletedProcess[str]:
    """A second member of the group types `python launch.py words...` on the same cluster."""
    try:
        mate = pwd.getpwnam(MATE)
    except KeyError:
        subprocess.run(["useradd", "--create-home", MATE], check=True, capture_output=True)
        mate = pwd.getpwnam(MATE)
    own = {"HOME": mate.pw_dir, "USER": MATE, "LOGNAME": MATE, "GANHPC_CONFIG": str(user.folder / "config.toml")}
    env = machine.user_env() | user.cluster.env | own | {"COLUMNS": "400"}
    command = [str(user.python), str(user.checkout / "launch.py"), *words]
    group = machine.account().pw_gid
    return subprocess.run(
        command, user=mate.pw_uid, group=mate.pw_gid, extra_groups=[group], umask=0o002, env=env, cwd=user.folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def queue(cluster: slurm.Slurm, user: str = machine.USER) -> list[str]:
    return cluster.as_user(["squeue", "-h", "-u", user, "-o", "%i"]).stdout.split()


def test_another_cluster_and_another_person_leave_the_jobs_alone(user: User, slurm_bare: slurm.Slurm) -> None:
    """The other cluster has the same name, as unconfigured ones do."""
    run = user.launch("--time", "20m")
    (id,) = queue(user.cluster)  # type: ignore[arg-type]
    there = {"SLURM_CONF": str(slurm_bare.conf), "COLUMNS": "400"}
    # An unrelated job with the same number on the other cluster.
    number = ""
    while int(number or 0) < int(id):
        said = slurm_bare.as_user(["sbatch", "-H", "--parsable", "--output=/dev/null", "--wrap=sleep 60"])
        number = said.stdout.strip()
        assert number, said.stderr
    folder, before = str(user.folder / "runs"), read(run / "request.json")
    policy = str(user.folder / "alone.toml")

    def check(run_words: object) -> None:
        done = run_words("status", "--runs", folder, "--json")  # type: ignore[operator]
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        (job,) = tree["runs"][0]["jobs"]
        assert tree["trouble"] == [] and not job["asked"]
        server = f"{socket.gethostname().partition('.')[0]}:{user.cluster.port}"  # type: ignore[union-attr]
        where = f"on the Slurm cluster {slurm.CLUSTER!r} (user {machine.USER}, server {server})"
        assert job["message"] == f"{where}: not asked here, and left alone"
        done = run_words(*LAUNCH, policy, "--runs", folder)  # type: ignore[operator]
        assert done.returncode == 0, done.stderr
        assert f"is submitted elsewhere, as job {id} on the Slurm cluster {slurm.CLUSTER!r}" in done.stdout
        done = run_words("cancel", str(run))  # type: ignore[operator]
        assert "is not cancelled: job" in done.stdout, done.stderr
        assert read(run / "request.json") == before

    check(lambda *words: user.run(*words, env=there))
    assert number in queue(slurm_bare), "the job of that number lives"
    slurm_bare.as_user(["scancel", "-u", machine.USER])
    check(lambda *words: as_mate(user, *words))
    assert queue(slurm_bare) == [] and queue(user.cluster, MATE) == []  # type: ignore[arg-type]
    assert queue(user.cluster) == [id]  # type: ignore[arg-type]
    assert user.see(run)["jobs"][0]["asked"]
    assert "is cancelled" in user.run("cancel", str(run)).stdout


def test_a_changed_comment_hides_no_job_and_a_copied_run_has_no_part_in_it(user: User) -> None:
    run = user.launch("--time", "20m")
    (id,) = queue(user.cluster)  # type: ignore[arg-type]
    for change in ("comment=mine", "name=other"):
        assert user.cluster.as_user(["scontrol", "update", f"jobid={id}", change]).returncode == 0
    assert [job["id"] for job in user.see(run)["jobs"]] == [id]
    again = user.run(*LAUNCH, str(user.folder / "alone.toml"), "--runs", str(run.parents[1]))
    assert f"is submitted already, as job {id}" in again.stdout, again.stderr
    user.cluster.as_user(["cp", "-r", run.parents[1], user.folder / "copied"], check=True)
    copy = user.folder / "copied" / "paced" / run.name
    assert user.see(copy)["jobs"] == []
    assert user.run("cancel", str(copy)).returncode == 0
    assert queue(user.cluster) == [id], "the original's job lives"  # type: ignore[arg-type]
    assert f"is cancelled (jobs: {id})" in user.run("cancel", str(run)).stdout


def night(user: User) -> tuple[Path, Path]:
    """The script of a night that begins now, and its run."""
    words = ("night", "paced", "--data", "synthetic", "--device", "cpu", "--time", "4m", "--on", user.where)
    done = user.run(*words, "--policy", "none", *BEGUN, "--runs", str(user.folder / "runs"))
    assert done.returncode == 0, done.stderr
    (script,) = user.folder.glob("night-*.sh")
    (run,) = (user.folder / "runs" / "paced").iterdir()
    return script, run


@pytest.mark.parametrize("where", ["oar_user", "slurm_user"])
def test_a_nights_script_run_twice_submits_once(where: str, request: pytest.FixtureRequest) -> None:
    user: User = request.getfixturevalue(where)
    script, run = night(user)
    first = user.cluster.as_user(["bash", script], cwd=user.folder)
    assert first.returncode == 0, first.stderr
    again = user.cluster.as_user(["bash", script], cwd=user.folder)
    (known,) = user.see(run)["jobs"]
    assert f"submitted already, as job {known['id']}: not submitted again" in again.stderr
    user.run("cancel", str(run))
    machine.wait_until(lambda: not user.see(run)["jobs"], 180, "the end of the job", pause=1)
    again = user.cluster.as_user(["bash", script], cwd=user.folder)
    assert f"submitted already, as job {known['id']}" in again.stderr, "an ended job too"


@pytest.mark.parametrize("where", ["oar_user", "slurm_user"])
def test_copies_of_a_nights_script_at_the_same_instant_submit_once(where: str, request: pytest.FixtureRequest) -> None:
    user: User = request.getfixturevalue(where)
    script, run = night(user)
    user.cluster.as_user(["cp", script, "copy.sh"], cwd=user.folder, check=True)
    both = 'bash "$1" >first.txt 2>&1 & bash copy.sh >second.txt 2>&1 & wait'
    user.cluster.as_user(["bash", "-c", both, "_", script], cwd=user.folder)
    words = "".join((user.folder / name).read_text() for name in ("first.txt", "second.txt"))
    (known,) = user.see(run)["jobs"]
    assert words.count(f"submitted already, as job {known['id']}") == 1, words


def test_two_jobs_with_one_tag_are_one_training(oar_user: User) -> None:
    """As the script of an older version submits them."""
    user = oar_user
    script, run = night(user)
    text = script.read_text().replace("oarstat --sql", "true")
    script.write_text(text)
    for _ in range(2):
        assert user.cluster.as_user(["bash", script], cwd=user.folder).returncode == 0
    user.trains(run)
    machine.wait_until(
        lambda: "ends at once" in (run / "log.txt").read_text(), 90, "the end of the second job", pause=1
    )
    log = (run / "log.txt").read_text()
    assert log.count("trains this run already: this one, job") == 1
    assert user.see(run)["state"] == "running"
