"""`--scan` as typed: what is said first, what runs, what a second launch adds, failures, an interruption."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ganhpc.cli.launching.scan_launch import _train_all
from ganhpc.cli.views.scan_preview import planned
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run, State
from ganhpc.scans import grid
from tests.cli.test_launch import start, wait_for
from tests.conftest import ROOT, Launch
from tests.helpers import small
from tests.launch.schedulers.oar_requests import install

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


@pytest.mark.slow  # a second of processor time: processes of its own
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


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--scan", "lrr=1,2"), "did you mean 'lr'"),
        (("--scan", "lr=1,x"), "--lr takes a number"),
        (("--scan", "lr=1,2", "--lr", "3"), "--lr is both given and scanned"),
        (("--scan", "lr=1,2", "--scan", "crop=1", "--zip"), "lr has 2, crop has 1"),
        (("--zip",), "add --scan FIELD=V1,V2"),
        (("--scan", "lr=1,2", "--now", "2026-11-26T17:00"), "add --dry-run"),
        (("--scan", "lr=1,2", "--data", "./nowhere"), "nowhere"),
        (("--scan", "lr=1,2", "--data", "cifra10"), "did you mean 'cifar10'"),
        (("--scan", "lr=1,2", "--data", "./nowhere", "--dry-run"), "nowhere"),
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


def test_ctrl_c_at_the_end_of_a_run_or_between_two_starts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = small()
    found = grid.read(type(base), ["lr=0.1,0.2,0.3"], zipped=False)
    started: list[Run] = []

    def train(run: Run, experiment: Experiment, console: Console, signals: list[int]) -> int:
        del experiment, console
        started.append(run)
        run.result_json.write_text("{}")
        if len(started) == 2:
            raise KeyboardInterrupt
        signals.append(signal.SIGTERM)
        return 0

    monkeypatch.setattr("ganhpc.cli.launching.local_launch.train", train)
    for code in (143, 130):
        plan = planned(found, base, 1, tmp_path, new=False)
        assert _train_all(plan, tmp_path, Console(quiet=True), new=False) == (code, [], True)
    assert len(started) == len(list(Run.all(tmp_path))) == 2


@pytest.mark.slow
def test_a_scan_that_is_stopped_then_killed_goes_on_by_the_same_line(launch: Launch, tmp_path: Path) -> None:
    words = [*SMALL, "--epochs", "40", "--checkpoint-every", "0.1s", "--scan", "lr=0.01,0.02,0.03"]

    def interrupted(how: signal.Signals, done: int) -> tuple[Run, str, int]:
        """Start the scan and end it in the middle of the run behind `done` finished ones."""
        # Near its end the run waits: a quick machine is through it before the test has looked.
        mark = tmp_path / f"mark-{how.name}"
        hook = {"HOOK_AT": "ganhpc.train.loop.trainer:Trainer._step", "HOOK_DO": "hold", "HOOK_AFTER": "390"}
        path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
        word = f"lr0.0{done + 1}"
        child = start(tmp_path, words, PYTHONPATH=path, HOOK_MARK=str(mark), HOOK_WORD=word, **hook)
        wait_for(lambda: len(finished(tmp_path)) == done and len(list(Run.all(tmp_path / "runs"))) == done + 1)
        (run,) = (run for run in Run.all(tmp_path / "runs") if not run.result_json.exists())
        wait_for(run.has_checkpoint)
        child.send_signal(how)
        if how is signal.SIGINT:
            wait_for(lambda: list(run.folder.glob("stop*")))  # it is asked
            mark.with_suffix(".go").touch()
        said, _ = child.communicate(timeout=120)
        wait_for(lambda: not run.is_held())
        assert run.run_status().state is State.RESUMABLE
        assert len(list(Run.all(tmp_path / "runs"))) == done + 1, "no other run was started"
        return run, said, child.returncode

    first, said, code = interrupted(signal.SIGINT, 1)
    assert code == 130
    assert "1 of 3 runs done; stopped, and the same command goes on: python launch.py cifar" in said
    assert len(record(tmp_path, "lr")["runs"]) == 3, "written before the first run"
    before = finished(tmp_path)
    second, said, _ = interrupted(signal.SIGKILL, 2)
    assert "1 done, 1 resumable, 1 new" in said
    done = launch(*words)
    assert done.returncode == 0, done.stdout
    assert "2 done, 1 resumable" in done.stdout and "3 of 3 runs done" in done.stdout
    assert {name: finished(tmp_path)[name] for name in before} == before
    assert [(run.result() or {})["segments"] for run in (first, second)] == [2, 2]


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_named_scan_is_laid_into_a_night(launch: Launch, tmp_path: Path) -> None:
    words = (
        "night",
        "dcgan",
        "--scan",
        "lr-eps",
        "--time",
        "1h",
        "--on",
        "oar",
        "--now",
        "2026-11-26T17:00",
        "--dry-run",
    )
    done = launch(*words, PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "scan lr-eps of dcgan, preset w13: 2 x 2 x 3 = 12 runs" in done.stdout
    assert "12h to train in all, one run after another; 1 night under policy student" in done.stdout
    tree = json.loads(launch(*words, "--json", PATH=str(tmp_path)).stdout)
    assert len({slot["run"] for slot in tree["slots"]}) == 12 and tree["remaining"] == []
    wrong = launch(*words[:3], "nosuch", "--dry-run")
    assert wrong.returncode == 2 and "lr-eps" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # 4 s of processor time: processes of its own
def test_a_night_of_a_scan_is_recorded_and_submitted(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fake = install(tmp_path, monkeypatch)
    fake.set_clock(dt.datetime.now())
    (tmp_path / "free.toml").write_text('base = "student"\nedges = []\n')
    words = (
        *SMALL[1:],
        "--time",
        "30m",
        "--scan",
        "lr=0.1,0.2",
        "--zip",
        "--seeds",
        "2",
        "--on",
        "oar",
        "--policy",
        "free.toml",
    )
    now = dt.datetime.now().astimezone()
    soon, end = ((now + dt.timedelta(minutes=minutes)).isoformat(timespec="seconds") for minutes in (5, 480))
    done = launch("night", "cifar:course", *words[2:], "--until", end, "--from", soon, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    kept = record(tmp_path, "lr")
    assert [slot["run"] for slot in tree["slots"]] == kept["runs"] and len(kept["runs"]) == 4 == len(tree["sent"])
    again = launch("cifar", "--preset", "course", *words[2:], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["sent"] == [], "the same scan by its experiment's own command: all is submitted"
    assert "4 waiting" in again.stderr
