"""my-name: trains through the launcher, learns, and comes to the same when it is trained again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganhpc.core.settings import ROOT
@imports@


def trained(folder: Path, *words: str) -> dict[str, Any]:
    """result.json of a run made by launch.py below `folder`."""
    where = {"GANHPC_RUNS": str(folder), "OMP_NUM_THREADS": "1"@jobs@}
    command = [sys.executable, str(ROOT / "launch.py"), "my-name", "--on", "local", "--device", "cpu", *words]
    done = subprocess.run(command, env={**os.environ, **where}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = folder.glob("my-name/*/result.json")
    return dict(json.loads(result.read_text()))


def test_the_network_has_its_shapes() -> None:
    net = MyNameNet(channels=3, classes=10, width=8, layers=3)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(p.numel() for p in net.parameters()) == 216 + 16 + 1152 + 32 + 4608 + 64 + 330


@pytest.mark.slow  # two short trainings, in processes of their own
def test_it_learns_and_two_runs_of_one_seed_are_the_same(tmp_path: Path) -> None:
    words = ("--preset", "quick", "--train-images", "2000", "--epochs", "3")
    first, second = (trained(tmp_path / name, *words) for name in "ab")
    assert first["state"] == "done" and first["test_accuracy"] > 0.2, "ten classes: a guess has 0.1"
    assert first["test_loss"] == second["test_loss"]
