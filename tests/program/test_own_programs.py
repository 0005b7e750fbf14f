"""Programs of the usual kinds, unchanged, killed and gone on with on this machine: the same end as without. No network is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganhpc.runs.run_folder import Run, State
from tests.program.test_program import made, segment

PROGRAMS = Path(__file__).parent / "programs"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
STEPS = "40"


def end_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "end.pt", weights_only=True))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def cut_at(run: Run, saved: int) -> None:
    """Run one segment that is stopped once the program has saved so many more checkpoints."""
    before = {path: path.stat().st_mtime_ns for path in run.checkpoints.rglob("*")} if run.checkpoints.exists() else {}
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, **OFFLINE}, stdout=log, stderr=log)
    while runner.poll() is None:
        found = [path for path in run.checkpoints.rglob("*.pt*") if before.get(path) != path.stat().st_mtime_ns]
        found += [path for path in run.checkpoints.rglob("*.ckpt") if before.get(path) != path.stat().st_mtime_ns]
        if len(found) >= saved:
            run.ask_to_stop("the test has seen enough")
            break
    assert runner.wait(120) == 75, run.log.read_text()


@pytest.mark.slow  # each program loads torch three times, and Lightning or Transformers with it
@pytest.mark.parametrize("name", ["loop", "fit_lightning", "finetune"])
def test_an_unchanged_program_ends_the_same_however_often_it_is_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in OFFLINE.items():
        monkeypatch.setenv(variable, value)
    script = str(PROGRAMS / f"{name}.py")
    run = made(tmp_path, "python", script, "--out", "{checkpoints}", "--steps", STEPS, "--pause", "0.1", time=600.0)
    cut_at(run, 1)
    assert run.run_status().state is State.RESUMABLE
    assert segment(run).returncode == 0, run.log.read_text()
    whole = tmp_path / "whole"
    whole.mkdir()
    subprocess.run([sys.executable, script, "--out", str(whole), "--steps", STEPS], check=True, capture_output=True)
    assert same(end_of(run.checkpoints), end_of(whole))
    result = run.result()
    assert result is not None and result["segments"] == 2
