"""A scan of the internship notes by its name on real schedulers: one job at a time, killed in the middle, relaunched, looked at."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.machine import wait_until
from tests.clusters.user import User, read

pytestmark = pytest.mark.cluster

SCAN = ("dcgan", "--scan", "noise", "--data", "lines", "--image-size", "16", "--base-channels", "4", "--latent-dim", "6",
        "--batch-size", "8", "--train-images", "64", "--measure-images", "0", "--time", "4s", "--checkpoint-every", "0.2s",
        "--device", "cpu")  # fmt: skip
"""Four trainings of four seconds."""
PATIENCE = 1500.0
"""For all of them, one after another, where other tests' jobs are about."""


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    cluster = request.getfixturevalue(f"{request.param}_cluster")
    made = User(request.param, cluster, checkout, f"scan-{request.param}")
    yield made
    made.close()


def launch(user: User) -> dict[str, Any]:
    done = user.run(*SCAN, "--on", user.where, "--policy", "alone.toml", "--json")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_a_scan_of_the_notes_killed_and_relaunched_in_the_middle(user: User) -> None:
    first = launch(user)
    runs = read(user.folder / "runs" / "dcgan" / "noise.scan.json")["runs"]
    assert len(first["sent"]) == len(runs) == 4 and [slot["run"] for slot in first["slots"]] == runs
    folders = [user.folder / "runs" / "dcgan" / name for name in runs]
    user.wait(folders[0], ("done",), PATIENCE)
    victim = folders[1]
    os.kill(user.trains(victim, PATIENCE)["pid"], signal.SIGKILL)
    assert not (folders[3] / "status.json").exists(), "one job at a time, in the scan's order"
    user.wait(victim, ("resumable", "lost"))
    again = launch(user)
    assert {slot["run"] for slot in again["slots"]} == {victim.name}, "all others are done, or submitted already"
    nudge = getattr(user.cluster, "nudge", lambda: None)

    def all_done() -> bool:
        nudge()
        return all((folder / "result.json").exists() for folder in folders)

    wait_until(all_done, PATIENCE, "the end of the scan", pause=2)
    assert read(victim / "result.json")["segments"] == 2
    third = launch(user)
    assert third["sent"] == [] and len(third["said"]) == 4
    rows = json.loads(user.run("results", "--scan", "noise", "--json").stdout)
    assert [row["run"] for row in rows] == runs
    assert [row["state"] for row in rows] == ["done"] * 4
    report = user.run("report", "noise", "--format", "md")
    assert report.returncode == 0, report.stderr
    assert "--noise" in (user.folder / "report-noise.md").read_text()
