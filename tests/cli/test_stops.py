"""Ctrl-C in the phases of a training, as typed: the command ends within seconds, without a traceback, and says what is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT
from ganhpc.runs.run_folder import Run, State

COMMAND = [
    "cifar",
    "--preset",
    "course",
    "--data",
    "synthetic",
    "--train-images",
    "500",
    "--epochs",
    "3000",
    "--device",
    "cpu",
    "--on",
    "local",
]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("phase", ["started", "loading", "training"])
def test_ctrl_c_ends_the_command_within_seconds(tmp_path: Path, phase: str, processes: int) -> None:
    words = [sys.executable, "launch.py", *COMMAND, "--runs", str(tmp_path), "--tasks-per-node", str(processes)]
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    patience = time.monotonic() + 90
    while time.monotonic() < patience and not _reached(tmp_path, phase):
        time.sleep(0.02)
    if phase == "loading":
        time.sleep(1.0)
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert time.monotonic() - begun < 20
    assert child.returncode == 130
    (run,) = Run.all(tmp_path)
    assert "Traceback" not in said + (run.log.read_text() if run.log.exists() else "")
    if phase == "training":
        assert run.run_status().state is State.RESUMABLE
        assert "a checkpoint of step" in said or "everything up to now is saved" in said


def _reached(runs: Path, phase: str) -> bool:
    found = list(Run.all(runs)) if runs.exists() and any(runs.iterdir()) else []
    if phase == "training":
        return any(run.status().get("step") for run in found)
    return any(run.log.exists() for run in found)
