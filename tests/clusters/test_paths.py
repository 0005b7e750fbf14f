"""Folders of any name on real schedulers: the checkout, the runs, the settings, and the one in which the command is typed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine, oar, slurm
from tests.clusters.user import BEGUN, CIFAR, SMALL, User

pytestmark = pytest.mark.cluster
NAMES = {
    "storage": "lab@server.nancy.example+x",
    "all": 'it\'s "q" $(id) `id` 100% caf\u00e9\u65e5 lat\udce9 two\n#SBATCH --time=9:00:00\nlines\\',
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return NAMES[request.param]


def moved(cluster: oar.Oar | slurm.Slurm, where: str, checkout: Path, name: str) -> User:
    """A user all of whose folders have `name` in their paths."""
    copy = machine.home() / f"co {name}" / "checkout"
    shutil.copytree(checkout, copy, dirs_exist_ok=True, symlinks=True)
    machine.give(copy.parent)
    return User(where, cluster, copy, f"user {name}")


@pytest.fixture
def on_oar(oar_cluster: oar.Oar, checkout: Path, name: str) -> Iterator[User]:
    user = moved(oar_cluster, "oar", checkout, name)
    yield user
    user.close()
    shutil.rmtree(user.checkout.parent, ignore_errors=True)
    oar_cluster.heal()


@pytest.fixture
def on_slurm(slurm_cluster: slurm.Slurm, checkout: Path, name: str) -> Iterator[User]:
    user = moved(slurm_cluster, "slurm", checkout, name)
    yield user
    user.close()
    shutil.rmtree(user.checkout.parent, ignore_errors=True)


def untagged(command: str) -> str:
    """A command without what each launch draws anew."""
    return re.sub(r"[0-9a-f]{8}-1-[0-9a-f]{4}", "TAG", command)


def trains(user: User) -> None:
    """A training from such folders is submitted as a dry run shows it, done, and its log is in the run."""
    words = (*CIFAR, "--epochs", "1", "--on", user.where, "--policy", "free.toml", "--json")
    shown = json.loads(user.run(*words, "--dry-run").stdout)["jobs"][0]
    (user.folder / "config.toml").open("a").write('python = "plain/python"\n')
    (user.folder / "plain").mkdir()
    python = user.folder / "plain" / "python"
    python.write_text(f'#!/bin/sh\nexec {user.python} "$@"\n')
    python.chmod(0o755)
    done = user.run(*words)
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    sent = tree["jobs"][0]
    assert untagged(shown["command"]) == untagged(sent["command"])
    run = user.folder / "runs" / "cifar" / tree["slots"][0]["run"]
    user.wait(run, ("done",))
    assert "done: 1 epoch in" in (run / "log.txt").read_text()


def a_night_is_submitted_by_hand(user: User) -> None:
    """The script of a night, run twice in such a folder."""
    words = (*SMALL, "--epochs", "1", "--on", user.where, "--policy", "free.toml")
    done = user.run("night", *words, *BEGUN)
    assert done.returncode == 0, done.stderr
    (script,) = user.folder.glob("night-*.sh")
    done = user.cluster.as_user(["bash", script], cwd=user.folder)
    assert done.returncode == 0, done.stderr
    again = user.cluster.as_user(["bash", script], cwd=user.folder)
    assert re.search(r"^submitted already, as job \d+: not submitted again$", again.stderr, re.MULTILINE), again.stderr
    (run,) = (user.folder / "runs" / "paced").iterdir()
    user.wait(run, ("done",))


def test_oar_takes_any_folder(on_oar: User, oar_cluster: oar.Oar) -> None:
    trains(on_oar)
    a_night_is_submitted_by_hand(on_oar)
    assert oar_cluster.suspected() == 0


def test_slurm_takes_any_folder(on_slurm: User) -> None:
    trains(on_slurm)
    a_night_is_submitted_by_hand(on_slurm)


def test_a_setup_line_that_fails_is_in_the_log(on_oar: User) -> None:
    settings = on_oar.folder / "config.toml"
    settings.write_text(
        'setup = ["echo $UNSET", "[ -d /no/such ] && false", "module load nosuch"]\nresources = "/core=1"\n'
    )
    run = on_oar.launch("--epochs", "1", policy="free", job=CIFAR)
    seen = on_oar.wait(run, ("lost",))
    assert "its job failed" in seen["reason"]
    log = (run / "log.txt").read_bytes()
    assert b"ended with exit code 127, so the job stops: module load nosuch\n" in log
    assert b"segment ended" not in log


@pytest.mark.parametrize("option", ["--export=NONE", "--export=PATH"])
def test_a_job_without_the_users_environment_has_its_own(
    slurm_cluster: slurm.Slurm, checkout: Path, option: str
) -> None:
    user = User("slurm", slurm_cluster, checkout, "user export")
    try:
        (user.folder / "config.toml").write_text(f'options = ["{option}"]\nsetup = ["export OMP_NUM_THREADS=1"]\n')
        run = user.launch("--epochs", "1", policy="free", job=CIFAR)
        user.wait(run, ("done",))
        assert json.loads((run / "status.json").read_text())["launch"], "the trainer knows its launch"
        assert json.loads((run / "deadline.json").read_text())["said_by_scheduler"] is True
    finally:
        user.close()
