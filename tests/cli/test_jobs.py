"""status, logs, cancel, resume, policy, and launching with --on: as typed, with the fake OAR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.files import write_json
from tests.clusters.fake_oar import FakeOar
from tests.conftest import Launch
from tests.launch.schedulers.oar_requests import install
from tests.launch.submission.test_prepare import wanted

SMALL = ("cifar", "--data", "synthetic", "--preset", "course", "--train-images", "200", "--device", "cpu")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "free.toml").write_text('base = "student"\nedges = []\n')
    return install(tmp_path, monkeypatch)


def submit(launch: Launch, *words: str) -> dict[str, Any]:
    done = launch(*SMALL, *words, "--on", "oar", "--policy", "free.toml", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def see(launch: Launch, *words: str) -> list[dict[str, Any]]:
    done = launch("status", *words, "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["runs"])


@pytest.mark.slow  # 8 s of processor time: processes of its own
def test_from_submission_to_cancelling_and_resuming(launch: Launch, fake: FakeOar) -> None:
    tree = submit(launch, "--time", "2h")
    assert tree["sent"] == ["1", "2"]
    (run,) = see(launch)
    assert (run["state"], run["reason"], [job["id"] for job in run["jobs"]]) == ("waiting", "for job 1", ["1", "2"])
    again = submit(launch, "--time", "2h")
    assert again["sent"] == []
    assert "is submitted already, as job 1 (waiting), 2 (waiting)" in again["said"][0]
    done = launch("status")
    assert "job 2, segment 2: waits" in done.stdout
    assert "next: python launch.py cancel runs/cifar/" in done.stdout

    done = launch("logs", "course")
    assert "nothing is written yet: the run is waiting (for job 1)" in done.stderr
    done = launch("cancel", run["run"])
    assert done.returncode == 0, done.stderr
    assert "is cancelled (jobs: 1, 2); there was no checkpoint yet" in done.stdout
    fake.advance(60)
    assert [job["state"] for job in (fake.job(1), fake.job(2))] == ["Error", "Error"]
    (run,) = see(launch)
    assert (run["state"], run["jobs"]) == ("cancelled", [])
    assert "has no jobs that wait or run" in launch("cancel", run["run"]).stdout

    # The policy that was typed is laxer than the place's, whose edge would cut the rest by the time of day at which the test runs.
    done = launch("resume", run["run"], "--policy", "free.toml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == ["3", "4"], "on OAR again"
    assert see(launch)[0]["state"] == "waiting"
    assert launch("cancel", "--all").returncode == 0
    assert launch("cancel").returncode == 2


@pytest.mark.slow  # 7 s of processor time: processes of its own
def test_a_job_trains_to_its_end_and_the_run_is_done(launch: Launch, fake: FakeOar) -> None:
    tree = submit(launch, "--epochs", "1")
    fake.advance(5)
    assert fake.run_job(1, env={"OMP_NUM_THREADS": "1"}) == 0
    (run,) = see(launch)
    assert (run["state"], run["epoch"]) == ("done", 1.0)
    done = launch("logs", tree["slots"][0]["run"], "-n", "2")
    assert done.stdout.splitlines()[-1] == "segment ended with code 0"
    follow = launch("logs", tree["slots"][0]["run"], "-f", "-n", "1")
    assert "the run is done; next: python launch.py results" in follow.stderr
    again = submit(launch, "--epochs", "1")
    assert "is done already" in again["said"][0]


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_scheduler_that_is_away_is_named(launch: Launch, fake: FakeOar) -> None:
    submit(launch, "--time", "30m")
    fake.trouble("oarstat", "no connection")
    done = launch("status")
    assert done.returncode == 0
    assert "OAR can't be asked here" in " ".join(done.stdout.split())
    done = launch(*SMALL, "--time", "40m", "--on", "oar", "--policy", "free.toml")
    assert done.returncode == 2
    assert "type the same command later, when OAR answers, --on local where" in done.stderr
    done = launch("cancel", "--all")
    assert "is not cancelled" in done.stderr or done.returncode == 0


@pytest.mark.parametrize("on", ["oar", "slurm"])
def test_a_dry_run_needs_no_scheduler_and_writes_nothing(launch: Launch, tmp_path: Path, on: str) -> None:
    words = (*SMALL, "--time", "6h", "--on", on, "--now", "2026-11-23T17:30:00", "--dry-run")
    done = launch(*words, PATH=str(tmp_path / "empty"))
    assert done.returncode == 0, done.stderr
    assert "exec " in done.stdout
    assert f"\n$ {'oarsub' if on == 'oar' else 'sbatch'} " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_where_it_runs_and_why_is_said(launch: Launch, tmp_path: Path) -> None:
    done = launch(*SMALL, "--epochs", "1", "--dry-run", GANHPC_ON="auto", PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "oarsub is not on the PATH; sbatch is not on the PATH" in done.stderr


@pytest.mark.slow  # a second of processor time: processes of its own
def test_segments_are_for_epochs_only_and_now_only_for_planning(launch: Launch) -> None:
    done = launch(*SMALL, "--time", "1h", "--segments", "2", "--on", "oar", "--dry-run")
    assert "--segments is for runs bounded by --epochs alone" in done.stderr
    done = launch(*SMALL, "--time", "1h", "--on", "oar", "--dry-run", "--now", "x")
    assert "--now 'x' is not a moment: write it as 2026-11-23T17:30." in done.stderr


def test_the_policy_in_force_and_another(launch: Launch) -> None:
    done = launch("policy", "--on", "oar")
    assert "In force: student (the default on oar" in done.stdout
    assert "A job lasts at most 1h." in done.stdout
    assert "Europe/Paris" in done.stdout
    done = launch("policy", "grid5000", "--json")
    assert json.loads(done.stdout)["night_limit"] == 14 * 3600
    done = launch("policy", "nosuch")
    assert done.returncode == 2
    assert "there is no policy 'nosuch'" in done.stderr


def test_a_run_is_checked_against_the_policy(launch: Launch, tmp_path: Path) -> None:
    run = wanted(tmp_path, time=6 * 3600.0).run
    words = ("policy", "student", "--check", run.name, "--on", "slurm", "--now", "2026-11-23T17:30:00")
    done = launch(*words)
    assert done.returncode == 0, done.stderr
    assert "A job of 6h is longer than the 1h that policy student allows." in done.stdout
    assert "The nearest job that passes starts on" in done.stdout
    assert "jobs it passes, from Mon 23 Nov 17:30:00" in done.stdout
    short = wanted(tmp_path, time=1800.0).run
    done = launch("policy", "student", "--check", str(short.folder), "--on", "slurm", "--now", "2026-11-23T10:00:00")
    assert "may be submitted now, as one job of 30m" in done.stdout


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_resuming_on_this_machine(launch: Launch, tmp_path: Path) -> None:
    run = wanted(tmp_path, time=None, epochs=1, train_images=200, device="cpu").run
    done = launch("resume", run.name, "--on", "local", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert run.result_json.exists()


def test_a_run_without_jobs_is_not_cancelled(launch: Launch, tmp_path: Path) -> None:
    run = wanted(tmp_path).run
    assert "has no jobs: it is new" in launch("cancel", run.name).stdout
    write_json(run.status_json, {"state": "crashed", "reason": "a loss that is not finite"})
    (seen,) = see(launch)
    assert (seen["state"], seen["reason"]) == ("crashed", "a loss that is not finite")
    assert seen["next_command"] == f"python launch.py logs runs/cifar/{run.name}"


def test_a_table_without_runs(launch: Launch) -> None:
    assert "no runs in runs" in launch("status").stdout
    assert "nothing waits or runs" in launch("cancel", "--all").stdout


@pytest.mark.slow  # 10 s of processor time for its 12 cases
@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("place", [("local",), ("local", "--dry-run"), ("oar",), ("oar", "--dry-run")])
@pytest.mark.parametrize(
    ("words", "option", "size", "processes"),
    [
        (("--tasks-per-node", "3"), "--batch-size", 20, 3),
        (("--tasks-per-node", "8", "--batch-size", "100", "--test-batch-size", "400"), "--batch-size", 100, 8),
        (("--tasks-per-node", "3", "--batch-size", "21"), "--test-batch-size", 400, 3),
    ],
)
def test_a_batch_that_processes_cannot_share_is_refused_before_anything_starts(
    launch: Launch, tmp_path: Path, place: tuple[str, ...], words: tuple[str, ...], option: str, size: int, processes: int
) -> None:  # fmt: skip
    folder = tmp_path / "none"
    done = launch(*SMALL, "--epochs", "1", *words, "--runs", str(folder), "--on", *place)
    assert done.returncode == 2
    sentence = f"{option} {size} can't be shared equally by {processes} processes: type a multiple of {processes}"
    assert done.stderr.count(sentence) == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(folder.rglob("log.txt"))
    assert all(run["jobs"] == [] for run in see(launch, "--runs", str(folder)))
