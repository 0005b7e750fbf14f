"""An experiment is one file, and a column of tables its producer and one line: nothing else of the toolkit is touched.

Further proofs of that kind: a scheduler (tests/launch/schedulers/test_third_scheduler.py), a section of reports
(tests/analysis/report/test_new_section.py), a GAN of two generators (tests/train/tasks/test_room.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.helpers import ROOT


def change(file: Path, old: str, new: str) -> None:
    """Put `new` where `old` stands, once."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.mark.slow  # it trains a network
def test_an_experiment_is_one_file_and_a_column_two_places(tmp_path: Path) -> None:
    root = tmp_path / "toolkit"
    for name in ("ganhpc", "jobs", "templates"):
        shutil.copytree(ROOT / name, root / name)  # with what Python has compiled
    shutil.copy(ROOT / "launch.py", root)
    # The file that the README shows.
    (shown,) = re.findall(r"is one file, `jobs/mine.py`.*?\n\n((?: {4}.*\n|\n)+)", (ROOT / "README.md").read_text())
    (root / "jobs" / "mine.py").write_text(textwrap.dedent(shown))
    figures = '        figures: dict[str, Any] = {f"{what}_accuracy": accuracy, '
    change(root / "ganhpc/train/tasks/classifier.py", figures, f'{figures}"sureness": 0.5 + accuracy / 4, ')
    line = '    _figure("params", "params", "", *_COST, table=10, work=True),\n'
    own = '    _figure("sureness", "sure", SHARE, _P.ROW, up=True, table=10, spread=True),\n'
    change(root / "ganhpc/runs/figures.py", line, own + line)

    def typed(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(root / "launch.py"), *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": "", "GANHPC_CONFIG": "/dev/null", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "My variant of the course's network." in typed("--help")
    data = ("--data", "synthetic", "--train-images", "128", "--batch-size", "64", "--epochs", "1", "--device", "cpu")
    typed("mine", *data, "--on", "local")
    (row,) = json.loads(typed("results", "--json"))
    assert row["experiment"] == "mine" and row["sureness"] == pytest.approx(0.5 + row["test_accuracy"] / 4)
    table = typed("results", "--md")
    assert "| sure |" in table and f"{100 * row['sureness']:.2f}" in table
