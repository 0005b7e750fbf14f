"""Programs of the usual kinds, unchanged, killed and gone on with on this machine: the same end as without. No network is needed."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganhpc.runs.run_folder import Run, State
from tests.program.local_runs import made, segment
from tests.waiting import wait_for

PROGRAMS = Path(__file__).parent / "programs"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
STEPS = "40"
PATIENCE = 300.0
"""Seconds in which a program starts on the slowest machine."""


def end_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "end.pt", weights_only=True))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def in_one_piece(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The weights at the end of the program without the launcher, in this process, which has loaded torch already."""
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", [script, "--out", str(folder), "--steps", STEPS])
    runpy.run_path(script, run_name="__main__")
    return end_of(folder)


def stopped_halfway(run: Run) -> None:
    """Run one segment, which is stopped once the program has saved and stands at a step that it does not leave."""
    run.checkpoints.mkdir()
    hold = run.checkpoints / "hold-25"
    hold.touch()
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, **OFFLINE}, stdout=log, stderr=log)
    wait_for(lambda: runner.poll() is not None or saved(run.checkpoints), PATIENCE)
    run.ask_to_stop("the test has seen enough")
    assert runner.wait(PATIENCE) == 75, run.log.read_text()
    hold.unlink()


def saved(checkpoints: Path) -> list[Path]:
    """The checkpoints, whole ones: each of the programs has a name for them."""
    return [
        *checkpoints.glob("checkpoint.pt"),
        *checkpoints.glob("last.ckpt"),
        *checkpoints.glob(
            "checkpoint-20/trainer_state.json"
        ),  # the last before it is held; one that is cut short in its writing is no use
    ]


@pytest.mark.slow  # each program loads torch twice, and Lightning or Transformers with it
@pytest.mark.parametrize("name", ["loop", "fit_lightning", "finetune"])
def test_an_unchanged_program_ends_the_same_however_often_it_is_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in OFFLINE.items():
        monkeypatch.setenv(variable, value)
    script = str(PROGRAMS / f"{name}.py")
    run = made(tmp_path, "python", script, "--out", "{checkpoints}", "--steps", STEPS, time=6 * PATIENCE)
    stopped_halfway(run)
    assert run.run_status().state is State.RESUMABLE and not (run.checkpoints / "end.pt").exists()
    assert segment(run, patience=PATIENCE).returncode == 0, run.log.read_text()
    assert same(end_of(run.checkpoints), in_one_piece(script, tmp_path / "whole", monkeypatch))
    result = run.result()
    assert result is not None and result["segments"] == 2
