"""Everything a user does on Slurm, on a real one."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clusters import machine, slurm
from tests.clusters.chain import Chain
from tests.clusters.early import Hung
from tests.clusters.machine import wait_until
from tests.clusters.user import CIFAR, ENDLESS, SMALL, User, fifo_for_log, gone, read

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slurm_chain", "slurm_hung")]


@pytest.fixture
def user(slurm_user: User) -> User:
    return slurm_user


def ask(user: User, *words: str) -> str:
    """Standard output of one of Slurm's commands."""
    done: subprocess.CompletedProcess[str] = user.cluster.as_user(words)
    return done.stdout


def test_a_training_with_accounting_is_submitted_and_done(user: User) -> None:
    run = user.launch("--epochs", "2", policy="free", job=CIFAR)
    seen = user.settles(run, "done")
    assert (seen["epoch"], seen["jobs"]) == (2.0, [])
    assert "done: 2 epochs in" in (run / "log.txt").read_text()
    again = user.run(*CIFAR, "--epochs", "2", "--on", "slurm", "--policy", "free.toml")
    assert again.returncode == 0
    assert "is done already" in again.stdout


def test_a_training_without_accounting_is_submitted_killed_and_judged(slurm_bare: slurm.Slurm, checkout: Path) -> None:
    user = User("slurm", slurm_bare, checkout, "bare")
    try:
        done = user.launch("--epochs", "2", policy="free")
        endless = user.launch(*ENDLESS, policy="free")
        user.trains(endless)
        (job,) = user.jobs(endless)
        ask(user, "scancel", "--signal=KILL", job["job_id"])
        assert user.wait(endless, ("resumable", "lost"))["reason"]
        user.wait(done, ("done",))
    finally:
        user.close()


def test_two_processes_on_each_of_two_nodes(user: User) -> None:
    run = user.launch("--epochs", "2", "--nodes", "2", "--tasks-per-node", "2", policy="free")
    user.wait(run, ("done",))
    assert read(run / "result.json")["processes"] == 4


def test_what_four_processes_on_two_nodes_refuse_is_one_sentence(user: User) -> None:
    run = user.launch("--epochs", "2", "--budget-params", "1k", "--nodes", "2", "--tasks-per-node", "2", policy="free")
    user.wait(run, ("refused",))
    (job,) = user.jobs(run)
    wait_until(lambda: job["job_id"] not in ask(user, "squeue", "-h", "-o", "%i"), 180, "the end of the job", pause=0.5)
    said = (run / "log.txt").read_text()
    assert said.count("over the budget of 1,000") == 1, said
    assert "Traceback" not in said and "Root Cause" not in said and "torch.distributed.elastic" not in said


def test_a_requeued_job_goes_on_from_its_checkpoint(user: User) -> None:
    run = user.launch(*ENDLESS, policy="free")
    step = user.trains(run)["step"]
    (job,) = user.jobs(run)
    fifo_for_log(run)
    ask(user, "scontrol", "requeue", job["job_id"])

    def resumed() -> bool:
        return (run / "log.txt").is_file() and "resumed at step" in (run / "log.txt").read_text()

    wait_until(resumed, 420, "the resumed training", pause=1)
    assert user.trains(run)["step"] >= step
    assert user.jobs(run)[0]["job_id"] == job["job_id"], "it is the same job, submitted once"


def test_a_job_whose_script_fails_says_so_and_where_to_look(user: User) -> None:
    (user.folder / "broken.toml").write_text(f'python = "{gone(user)}"\n')
    env = {"GANHPC_CONFIG": str(user.folder / "broken.toml")}
    words = (*SMALL, "--epochs", "2", "--on", "slurm", "--policy", "free.toml", "--json")
    tree = json.loads(user.run(*words, env=env).stdout)
    run = user.folder / "runs" / SMALL[0] / tree["slots"][0]["run"]
    seen = user.wait(run, ("lost",))
    assert "its job failed" in seen["reason"]
    assert seen["next_command"].startswith("python launch.py logs")
    assert "gone: not on this node" in user.run("logs", run.name).stdout


def test_two_launchers_at_once_and_a_job_by_hand_are_one_at_a_time(user: User) -> None:
    by_hand = user.cluster.as_user(
        ["sbatch", "--parsable", "--output=/dev/null", "--time=40", "--wrap=sleep 2400"]
    ).stdout.strip()
    with ThreadPoolExecutor() as pool:
        pair = list(pool.map(lambda seed: user.launch("--time", "10m", "--seed", str(seed)), (1, 2)))
    (first, second) = sorted((user.jobs(run)[0] for run in pair), key=lambda job: int(job["job_id"]))
    lines = dict(line.split(" ", 1) for line in ask(user, "squeue", "-h", "-o", "%i %T %E").splitlines())
    assert f"afterany:{by_hand}(unfulfilled)" in lines[first["job_id"]]
    assert f"afterany:{first['job_id']}(unfulfilled)" in lines[second["job_id"]]
    assert "singleton" in lines[second["job_id"]]
    assert lines[second["job_id"]].startswith("PENDING")
    ask(user, "scancel", by_hand)


def test_cancelling_saves_a_checkpoint_and_resuming_goes_on(user: User) -> None:
    run = user.launch(*ENDLESS, policy="free")
    step = user.trains(run)["step"]
    done = user.run("cancel", run.name)
    assert done.returncode == 0, done.stderr
    assert "its last checkpoint is kept" in done.stdout
    seen = user.see(run)
    assert (seen["state"], seen["jobs"]) == ("cancelled", [])
    assert seen["step"] >= step
    assert user.run("resume", run.name, "--policy", "free.toml", "--json").returncode == 0
    assert user.trains(run)["step"] >= step
    assert user.see(run)["state"] == "running"


@pytest.mark.slow
def test_a_job_that_hangs_until_its_walltime_is_out_of_time_and_resumable(slurm_hung: Hung) -> None:
    seen = slurm_hung.user.wait(slurm_hung.run, ("resumable",))
    assert "out of time" in seen["reason"]
    assert seen["next_command"].startswith("python launch.py resume")


@pytest.mark.slow
def test_three_segments_end_with_the_weights_of_one(slurm_chain: Chain) -> None:
    slurm_chain.check()


def test_a_job_refuses_pictures_that_changed_while_it_waited(user: User) -> None:
    from PIL import Image

    pictures, go = user.folder / "few", user.folder / "go"
    pictures.mkdir()
    for i in range(12):
        Image.linear_gradient("L").rotate(30 * i).resize((40, 40)).save(pictures / f"{i:02}.png")
    machine.give(user.folder)
    setup = f'setup = ["export OMP_NUM_THREADS=1", "while [ ! -e {go} ]; do sleep 0.2; done"]\n'
    (user.folder / "config.toml").write_text(setup)
    tiny = ["--image-size", "32", "--base-channels", "8", "--batch-size", "4", "--epochs", "1", "--device", "cpu"]
    run = user.launch("--data", "few", *tiny, policy="free", job=("dcgan",))
    Image.linear_gradient("L").rotate(7).resize((40, 40)).save(pictures / "03.png")
    go.touch()
    seen = user.settles(run, "refused")
    assert "of 12, 1 replaced (first: 03.png)" in seen["reason"]
    said = (run / "log.txt").read_text()
    assert "1 replaced (first: 03.png)" in said
    assert "Traceback" not in said
    again = user.run("dcgan", "--data", "./few/", *tiny, "--on", "slurm", "--policy", "free.toml")
    assert again.returncode == 2
    assert "1 replaced" in again.stderr
