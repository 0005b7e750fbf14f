"""`--scan` as typed: what is said first, what runs, what a second launch adds, failures, an interruption."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ganhpc.run import Run, State
from tests.cli.test_launch import start, wait_for
from tests.conftest import Launch

SMALL = ("cifar", "--preset", "course", "--data", "synthetic", "--train-images", "40", "--device", "cpu")
TINY = (*SMALL, "--epochs", "1")


def finished(folder: Path) -> dict[str, str]:
    return {
        run.name: str(run.result_json.stat().st_mtime_ns)
        for run in Run.all(folder / "runs")
        if run.result_json.exists()
    }


def record(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "runs" / "cifar" / f"{name}.scan.json").read_text()))


@pytest.mark.slow
def test_a_scan_is_completed_and_added_to(launch: Launch, tmp_path: Path) -> None:
    words = (*TINY, "--scan", "crop=0,1", "--seeds", "2")
    done = launch(*words, "--scan", "lr=0.01,0.02", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["state"] for row in rows] == ["done"] * 8
    assert "2 x 2 x 2 seeds = 8 runs" in done.stderr
    first = finished(tmp_path)
    assert len(first) == 8
    again = launch(*words, "--scan", "lr=0.01,0.02")
    assert again.returncode == 0
    assert "8 done: nothing is left to run" in again.stdout and "before training" not in again.stdout
    assert finished(tmp_path) == first
    more = launch(*words, "--scan", "lr=0.01,0.02,0.04")
    assert "8 done, 4 new" in more.stdout and "12 of 12 runs done" in more.stdout
    both = finished(tmp_path)
    assert len(both) == 12 and {name: both[name] for name in first} == first
    kept = record(tmp_path, "crop-lr")
    assert kept["fields"][1] == {"name": "lr", "flag": "--lr", "values": [0.01, 0.02, 0.04]}
    assert set(kept["runs"]) == set(both) and kept["seeds"] == 2
    groups = json.loads(launch("results", "--scan", "crop-lr", "--group", "--json").stdout)
    assert [group["n"] for group in groups] == [2] * 6


def test_a_dry_run_says_all_and_writes_nothing(launch: Launch, tmp_path: Path) -> None:
    words = (*SMALL, "--time", "1h", "--scan", "lr=1e-3:1e-1:log5", "--scan", "crop=0,1,2,4", "--dry-run")
    done = launch(*words, "--now", "2026-11-26T17:00", "--policy", "student")
    assert done.returncode == 0, done.stderr
    assert "5 x 4 = 20 runs" in done.stdout and ".. 4 more .." in done.stdout
    assert "20 new; 20h to train in all" in done.stdout
    assert "2 nights under policy student, from Thu 26 Nov 19:01 to" in done.stdout
    tree = json.loads(launch(*words, "--json").stdout)
    assert tree["scan"]["states"] == {"new": 20} and len(tree["runs"]) == 20
    assert len({plan["folder"] for plan in tree["runs"]}) == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on", ["slurm", "oar"])
def test_a_dry_run_through_a_scheduler_chains_the_runs(launch: Launch, tmp_path: Path, on: str) -> None:
    words = (*SMALL, "--time", "1h", "--scan", "lr=0.1,0.2", "--on", on, "--now", "2026-11-23T19:30", "--dry-run")
    tree = json.loads(launch(*words, "--json", PATH=str(tmp_path)).stdout)
    assert [slot["run"] for slot in tree["slots"]] == tree["scan"]["runs"]
    assert tree["slots"][1]["start"] > tree["slots"][0]["end"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--scan", "lrr=1,2"), "did you mean 'lr'"),
        (("--scan", "lr=1,x"), "--lr takes a number"),
        (("--scan", "lr=1,2", "--lr", "3"), "--lr is both given and scanned"),
        (("--scan", "lr=1,2", "--scan", "crop=1", "--zip"), "lr has 2, crop has 1"),
        (("--zip",), "add --scan FIELD=V1,V2"),
        (("--scan", "lr=1,2", "--now", "2026-11-26T17:00"), "add --dry-run"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(
    launch: Launch, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = launch(*TINY, *words)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_fails_keeps_no_other_from_running(launch: Launch, tmp_path: Path) -> None:
    done = launch(*TINY, "--scan", "budget_params=1k,100k", "--scan", "crop=0,1")
    assert done.returncode != 0
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("scan budget-params-crop: 2 of 4 runs done; not done: course-")
    assert last.count("(refused)") == 2 and "Traceback" not in done.stdout + done.stderr
    assert len(finished(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_scan_goes_on_by_the_same_line(launch: Launch, tmp_path: Path, how: signal.Signals) -> None:
    words = [*SMALL, "--epochs", "100", "--checkpoint-every", "0.1s", "--scan", "lr=0.01,0.02,0.03"]
    child = start(tmp_path, words)
    wait_for(lambda: len(finished(tmp_path)) == 1 and len(list(Run.all(tmp_path / "runs"))) == 2)
    second = next(run for run in Run.all(tmp_path / "runs") if not run.result_json.exists())
    wait_for(second.has_checkpoint)
    first = finished(tmp_path)
    child.send_signal(how)
    said, _ = child.communicate(timeout=60)
    wait_for(lambda: not second.is_held(), 10)
    assert second.standing().state is State.RESUMABLE
    assert len(list(Run.all(tmp_path / "runs"))) == 2, "no other run was started"
    assert len(record(tmp_path, "lr")["runs"]) == 3, "written before the first run"
    if how is signal.SIGINT:
        assert child.returncode == 130
        assert "1 of 3 runs done; stopped, and the same command goes on: python launch.py cifar" in said
    done = launch(*words)
    assert done.returncode == 0, done.stdout
    assert "1 done, 1 resumable, 1 new" in done.stdout and "3 of 3 runs done" in done.stdout
    assert {name: finished(tmp_path)[name] for name in first} == first
    assert (second.result() or {})["segments"] == 2
