"""The package `ganhpc` as a user's program imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ganhpc
from ganhpc.core.settings import ROOT
from tests.program.local_runs import made, segment


def test_the_package_that_programs_import_is_whole() -> None:
    lines = "import ganhpc; from ganhpc import __version__; print(ganhpc.__version__, ganhpc.__path__)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "ganhpc" / "program" / "importable")}
    shown = subprocess.run([sys.executable, "-P", "-c", lines], env=env, capture_output=True, text=True, check=False)
    assert shown.stdout == f"{ganhpc.__version__} {[str(ROOT / 'ganhpc')]}\n", shown.stderr


def test_packages_of_the_user_s_own_are_not_hidden(tmp_path: Path) -> None:
    """Those named as folders of the checkout, and without __init__.py: any other with one on the path would go before."""
    for name in ("jobs", "docs", "templates"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text("")
    lines = (
        "import jobs.own, docs.own, templates.own, ganhpc; from ganhpc.program import figures; figures(step=1, loss=3)"
    )
    (tmp_path / "train.py").write_text(f"{lines}\nprint(jobs.own.__file__, ganhpc.__file__)\n")
    run = made(tmp_path, "python", "train.py")
    assert segment(run).returncode == 0, run.log.read_text()
    assert f"{tmp_path}/jobs/own.py {ROOT}/ganhpc/__init__.py" in run.log.read_text()
    assert run.result()["loss"] == 3  # type: ignore[index]
