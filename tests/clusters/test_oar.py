"""Everything a user does on OAR, on a real one."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.clusters.chain import Chain
from tests.clusters.early import Again, Held, Hung, edge, plan
from tests.clusters.machine import ClusterError, wait_until
from tests.clusters.user import CIFAR, ENDLESS, SMALL, User, fifo_for_log, gone, read

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("oar_chain", "oar_hung", "oar_again", "oar_held")]


@pytest.fixture
def user(oar_user: User) -> User:
    return oar_user


def ask(user: User, *words: str) -> str:
    """Standard output of one of OAR's commands."""
    done: subprocess.CompletedProcess[str] = user.cluster.as_user(words, cwd=user.folder)
    return done.stdout


def facts(user: User, job: str) -> dict[str, Any]:
    """All that oarstat tells of a job."""
    return dict(json.loads(ask(user, "oarstat", "-J", "-f", "-j", job))[job])


def test_a_training_is_submitted_and_done(user: User) -> None:
    run = user.launch("--epochs", "2", policy="free", job=CIFAR)
    seen = user.settles(run, "done")
    assert (seen["epoch"], seen["jobs"]) == (2.0, [])
    assert "done: 2 epochs in" in (run / "log.txt").read_text()


def test_two_nodes_reach_one_another_by_oarsh(user: User) -> None:
    (user.folder / "config.toml").write_text('resources = "/host=2/core=1"\nsetup = ["export OMP_NUM_THREADS=1"]\n')
    run = user.launch("--epochs", "2", "--nodes", "2", policy="free")
    user.wait(run, ("done",))
    assert read(run / "result.json")["processes"] == 2


def test_a_job_whose_script_fails_says_so(user: User) -> None:
    (user.folder / "config.toml").write_text(f'python = "{gone(user)}"\nresources = "/core=1"\n')
    run = user.launch("--epochs", "2", policy="free")
    seen = user.wait(run, ("lost",))
    assert "its job failed" in seen["reason"]
    assert "gone: not on this node" in user.run("logs", run.name).stdout


def test_two_launchers_at_once_and_a_job_by_hand_are_one_at_a_time(user: User) -> None:
    by_hand = ask(user, "oarsub", "-l", "core=1,walltime=0:40:00", "sleep 2400").rpartition("=")[2].strip()
    try:
        with ThreadPoolExecutor() as pool:
            pair = list(pool.map(lambda seed: user.launch("--time", "10m", "--seed", str(seed)), (1, 2)))
        first, second = sorted((user.jobs(run)[0]["job_id"] for run in pair), key=int)
        assert str(by_hand) in map(str, facts(user, first)["dependencies"])
        behind = list(map(str, facts(user, second)["dependencies"]))
        assert first in behind, (behind, user.cluster.as_user(["oarstat", "-f"]).stdout)
        assert facts(user, second)["state"] == "Waiting"
    finally:
        ask(user, "oardel", by_hand)  # later tests would wait for it


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


def test_reservations_around_an_edge_are_accepted_and_a_third_is_not(user: User) -> None:
    """Two slots touch the edge: with three reservations allowed by the policy, OAR's own rule refuses the third."""
    tree = plan(user, "--time", "25m", policy=edge(user, 10, job="5m", max_reservations=3))
    kinds = [slot["kind"] for slot in tree["slots"]]
    assert kinds.count("reservation") == 3
    states = [facts(user, id)["reservation"] for id in tree["sent"]]
    assert states.count("Scheduled") == 2
    loose = tree["sent"][[k for k, kind in enumerate(kinds) if kind == "reservation"][-1]]
    assert any(kind.startswith("postpone=") for kind in facts(user, loose)["types"])


def test_a_taken_slot_is_told_with_the_moment_that_is_offered(user: User) -> None:
    # One core, which no other job is expected to need: around the edge, where the plan has reservations.
    (user.folder / "config.toml").write_text('properties = "core = 8"\nresources = "/core=1"\n')
    policy = edge(user, 10, job="5m")
    after = dt.datetime.now().replace(second=0, microsecond=0) + dt.timedelta(minutes=8)
    request = ("-p", "core = 8", "-l", "/core=1,walltime=0:20:00", "-r", f"{after:%Y-%m-%d %H:%M:%S}")
    taken = ask(user, "oarsub", *request, "date")
    id = taken.rpartition("=")[2].split()[0]
    assert facts(user, id)["reservation"] == "Scheduled", taken
    words = ("--time", "25m", "--on", "oar", "--policy", f"{policy}.toml")
    said = " ".join(user.run(*SMALL, *words).stdout.split())
    assert "No reservation (the slot is taken" in said
    assert "OAR offers" in said
    ask(user, "oardel", id)


@pytest.mark.slow
def test_a_job_is_held_back_and_ends_by_its_deadline(oar_held: Held) -> None:
    user, tree = oar_held.user, oar_held.tree
    held = next(k for k, slot in enumerate(tree["slots"]) if slot["kind"] == "begin")
    start = dt.datetime.fromisoformat(tree["slots"][held]["start"]).timestamp()
    job = tree["sent"][held]
    assert any(kind.startswith("postpone=") for kind in facts(user, job)["types"])

    def begun() -> bool:
        user.cluster.nudge()  # type: ignore[union-attr]
        return facts(user, job)["state"] not in ("Waiting", "toLaunch")

    wait_until(begun, 600, "the start of the job that was held back", pause=2)
    assert facts(user, job)["startTime"] >= start
    assert time.time() >= start


@pytest.mark.slow
def test_a_job_of_unknown_length_is_sent_again_by_oar_itself(oar_again: Again) -> None:
    """A checkpoint signal: the job saves, ends with 99, and OAR sends it again (after 60 s at least)."""
    user, run = oar_again.user, oar_again.run
    job = user.jobs(run)[0]["job_id"]
    started = facts(user, job)["startTime"]
    wait_until(lambda: time.time() - started > 75, 120, "more than a minute of the job", pause=1)
    assert "resumed at step" not in (run / "log.txt").read_text()
    fifo_for_log(run)
    ask(user, "oardel", "-c", job)

    def resumed() -> bool:
        user.cluster.nudge()  # type: ignore[union-attr]
        return (run / "log.txt").is_file() and "resumed at step" in (run / "log.txt").read_text()

    try:
        wait_until(resumed, 600, "the job that OAR sent again", pause=1)
        assert facts(user, job)["exit_code"] == 99 << 8
        seen = user.wait(run, ("running",))
    except ClusterError as error:
        raise ClusterError(f"{error}\n{ask(user, 'oarstat', '-f')}\n{(run / 'log.txt').read_text()[-3000:]}") from None
    (known,) = seen["jobs"]
    assert int(known["id"]) > int(job)
    user.run("cancel", run.name)  # or OAR would send it again and again, in the way of those who want to be alone


@pytest.mark.slow
def test_a_job_that_hangs_until_its_walltime_is_out_of_time_and_resumable(oar_hung: Hung) -> None:
    seen = oar_hung.user.wait(oar_hung.run, ("resumable",))
    assert "out of time" in seen["reason"]


@pytest.mark.slow
def test_three_segments_end_with_the_weights_of_one(oar_chain: Chain) -> None:
    oar_chain.check()
