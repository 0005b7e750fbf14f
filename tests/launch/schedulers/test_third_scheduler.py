"""A further scheduler is one module, two templates and one line of the registry: nothing else of the toolkit is touched.

The test does what a person would do, in a copy of the toolkit: it adds pbs/pbs.py, its templates and the line, and then types commands
on a machine with a fake of qsub, qstat and qdel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT

OURS = Path(__file__).parent / "pbs"
SMALL = ("cifar", "--data", "synthetic", "--train-images", "256", "--epochs", "1", "--device", "cpu")


class Machine:
    """A copy of the toolkit with PBS in it, on a machine that has its commands."""

    def __init__(self, folder: Path) -> None:
        self.root, self.runs, self.jobs = folder / "toolkit", folder / "runs", folder / "pbs"
        for name in ("ganhpc", "jobs", "templates"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "launch.py", self.root)
        shutil.copy(OURS / "pbs.py", self.root / "ganhpc/launch/schedulers")
        for name in ("pbs.sh", "night_pbs.sh"):
            shutil.copy(OURS / name, self.root / "templates")
        registry = self.root / "ganhpc/launch/schedulers/registry.py"
        text = registry.read_text()
        registry.write_text(text.replace('    "oar": "Oar",\n', '    "oar": "Oar",\n    "pbs": "Pbs",\n'))
        assert registry.read_text() != text
        bin = folder / "bin"
        bin.mkdir()
        self.jobs.mkdir()
        for name in ("qsub", "qstat", "qdel"):
            (bin / name).write_text(f'#!/bin/sh\nexec {sys.executable} {OURS / "fake.py"} {name} "$@"\n')
            (bin / name).chmod(0o755)
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("GANHPC", "SLURM", "OAR", "PBS"))}
        path = f"{bin}:{os.environ['PATH']}"
        self.environment = {
            **outside,
            "PATH": path,
            "FAKE_PBS": str(self.jobs),
            "HOME": str(folder),
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
        }

    def launch(self, *words: str) -> str:
        """What launch.py says."""
        command = [sys.executable, str(self.root / "launch.py"), *words]
        done = subprocess.run(
            command, env=self.environment, cwd=self.root, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.slow  # a second of processor time: processes of its own
def test_commands_know_the_new_scheduler(machine: Machine) -> None:
    shown = machine.launch(
        *SMALL, "--on", "pbs", "--queue", "gpu", "--policy", "none", "--dry-run", "--runs", str(machine.runs)
    )
    assert "$ qsub -N ganhpc -v GANHPC_TAG=" in shown
    assert "-l select=1:ncpus=1 " in shown and "-q gpu" in shown
    assert "export GANHPC_SCHEDULER=pbs" in shown
    night = machine.launch("night", *SMALL, "--on", "pbs", "--policy", "none", "--dry-run", "--runs", str(machine.runs))
    assert "PBS, policy none" in night
    # Of an unknown word the choices are named.
    assert "pbs" in machine.launch("policy", "--help")
    doctor = "from ganhpc.launch.doctor.check_machine import check_schedulers; print(*check_schedulers())"
    done = subprocess.run(
        [sys.executable, "-c", doctor],
        env=machine.environment,
        cwd=machine.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pbs" in done.stdout and "answers; this is outside of any job" in done.stdout


@pytest.mark.slow  # it trains a network
def test_a_job_trains_under_the_new_scheduler(machine: Machine) -> None:
    said = machine.launch(*SMALL, "--policy", "none", "--runs", str(machine.runs))
    assert "PBS, policy none" in said, "auto has found it"
    (request,) = machine.runs.glob("cifar/*/request.json")
    (entry,) = json.loads(request.read_text())["jobs"]
    assert (entry["scheduler"], entry["job_id"]) == ("pbs", "1.fake")
    patience = time.monotonic() + 300
    while not (request.parent / "result.json").exists() and time.monotonic() < patience:
        time.sleep(0.5)
    log = (request.parent / "log.txt").read_text()
    assert (request.parent / "result.json").exists(), log
    status = json.loads((request.parent / "status.json").read_text())
    assert status["owner"] == f"pbs job 1.fake, {entry['tag']}"
    deadline = json.loads((request.parent / "deadline.json").read_text())
    assert deadline["said_by_scheduler"], "the node side has asked qstat"
    assert "done" in machine.launch("status", "--runs", str(machine.runs))
