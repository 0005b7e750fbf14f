"""my-name: runs through the launcher, and stopped and gone on with it comes to the same as in one piece."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT

PROGRAM = @program@


def test_stopped_at_any_step_it_comes_to_the_same_as_in_one_piece(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("program_of_my_name", PROGRAM)
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    words = {"steps": 120, "width": 4, "lr": 0.01, "seed": 3}
    for name in "ab":
        (tmp_path / name).mkdir()
    whole = program.train(tmp_path / "a", **words)
    for after in (1, 50):
        asked = iter([False] * 2 * after)
        assert program.train(tmp_path / "b", **words, stop=lambda: next(asked, True)) is None
    assert program.train(tmp_path / "b", **words) == whole < 2.0


@pytest.mark.slow  # a short training, in processes of its own
def test_it_runs_through_the_launcher(tmp_path: Path) -> None:
    where = {"GANHPC_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"@jobs@}
    command = [sys.executable, str(ROOT / "launch.py"), "my-name", "--on", "local", "--preset", "quick"]
    done = subprocess.run(command, env={**os.environ, **where}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = tmp_path.glob("my-name/*/result.json")
    seen = json.loads(result.read_text())
    assert (seen["state"], seen["headline"], seen["steps"]) == ("done", "loss", 200)
    assert 0 < seen["loss"] < 1.0
