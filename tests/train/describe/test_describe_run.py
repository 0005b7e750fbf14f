"""`python -m ganhpc.train.describe RUN`: the networks of a run, by a definition that anybody may have written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganhpc.runs.known_experiments import find
from ganhpc.runs.run_folder import Run
from tests.helpers import ROOT


@pytest.mark.slow  # it loads torch
def test_networks_of_more_than_the_machines_memory_are_a_sentence(tmp_path: Path) -> None:
    """Sizes that are allowed each, and together take hundreds of gigabytes: an error at once, and no memory of other programs."""
    giant = find("dcgan").from_preset("default").replace(image_size=1024, base_channels=1024, device="cpu")
    run = Run.open(tmp_path, giant)
    command = [sys.executable, "-m", "ganhpc.train.describe", str(run.folder)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.splitlines()[-1].startswith("Error: "), done.stderr
