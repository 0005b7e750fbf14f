"""Run folders of the first version (tests/old_runs, made with commit 2a4d268 before its modules moved) are read, shown, sampled from and resumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT

KEPT = ROOT / "tests" / "old_runs"
INTERRUPTED = "course-synthetic-trainimages1k-epochs30-4b712771af"
LINES = "small-trainimages64-batchsize8-imagesize16-basechannels4-epochs2-8a3e38ae14"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of the kept folders."""
    return Path(shutil.copytree(KEPT, tmp_path / "runs"))


def typed(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """What `launch.py` prints for these words."""
    command = [sys.executable, str(ROOT / "launch.py"), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_tables_and_status_have_them_all(runs: Path, tmp_path: Path) -> None:
    rows = json.loads(typed("results", "--runs", runs, "--json", cwd=tmp_path))
    states = {row["run"]: row["state"] for row in rows}
    assert states.pop(INTERRUPTED) == "resumable"
    assert len(states) == 3 and set(states.values()) == {"done"}
    assert {row["params"] for row in rows if row["experiment"] == "cifar" and row["state"] == "done"} == {62006}
    assert INTERRUPTED[:12] in typed("status", "--runs", runs, cwd=tmp_path)


def test_the_same_command_finds_the_finished_run(runs: Path, tmp_path: Path) -> None:
    words = "cifar --preset course --data synthetic --train-images 200 --epochs 1 --lr 1e-3 --device cpu --on local"
    assert "already done" in typed(*words.split(), "--runs", runs, cwd=tmp_path)


@pytest.mark.slow  # 3 s of processor time: processes of its own
def test_a_scan_and_reports_are_read(runs: Path, tmp_path: Path) -> None:
    typed("report", "lr", "--runs", runs, "--format", "md", "--out", tmp_path / "scan.md", cwd=tmp_path)
    assert "0.002" in (tmp_path / "scan.md").read_text()
    typed("report", runs / "wgan-gp" / LINES, "--out", tmp_path / "gan.html", cwd=tmp_path)
    assert "wgan-gp" in (tmp_path / "gan.html").read_text()


@pytest.mark.slow  # 4 s of processor time: processes of its own
def test_a_generator_still_draws(runs: Path, tmp_path: Path) -> None:
    typed("sample", runs / "wgan-gp" / LINES, "--rows", 2, "--columns", 2, "--out", tmp_path / "s.png", cwd=tmp_path)
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow  # two trainings of 1,350 steps
def test_an_interrupted_run_goes_on_bit_identical(runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "stopped"
    shutil.copytree(runs, other)
    whole = runs / "cifar" / INTERRUPTED
    typed("resume", whole, "--on", "local", cwd=tmp_path)
    again = other / "cifar" / INTERRUPTED
    # Near its end it waits: a quick machine is through it before the test has looked.
    mark = tmp_path / "mark"
    hook = {"HOOK_AT": "ganhpc.train.loop.trainer:Trainer._step", "HOOK_DO": "hold", "HOOK_AFTER": "1300"}
    path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), "resume", str(again), "--on", "local"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "HOOK_MARK": str(mark), **hook},
    )
    while child.poll() is None and len((again / "metrics.jsonl").read_text().splitlines()) < 12:
        time.sleep(0.02)
    child.terminate()
    while child.poll() is None and not list(again.glob("stop*")):
        time.sleep(0.02)
    mark.with_suffix(".go").touch()
    child.wait(120)
    typed("resume", again, "--on", "local", cwd=tmp_path)
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, again)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert [result["segments"] for result in results] == [2, 3] and results[0]["steps"] == 1500
    # The uninterrupted run of the same version came to 0.968.
    assert results[0]["test_accuracy"] == pytest.approx(0.968, abs=0.02)
    before = [json.loads(line) for line in (KEPT / "cifar" / INTERRUPTED / "metrics.jsonl").read_text().splitlines()]
    after = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert after[: len(before)] == before
