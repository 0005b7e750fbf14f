"""Small trainings for tests: seconds on one core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run
from ganhpc.train.loop.build import prepare
from ganhpc.train.loop.result import write_outcome
from ganhpc.train.loop.trainer import Trainer
from ganhpc.train.runtime.distributed import Distributed
from jobs.cifar import Cifar


def small(**values: Any) -> Experiment:
    """The tutorial's network on 200 made images: 10 steps an epoch."""
    base = Cifar.from_preset("course").replace(
        data="synthetic", train_images=200, time=None, epochs=2, device="cpu", flip="random", crop=2
    )
    return base.replace(**values)


def made(tmp_path: Path, **values: Any) -> Run:
    """A run folder for `small`."""
    return Run.open(tmp_path / "runs", small(**values))


def trainer_of(run: Run) -> Trainer:
    """A trainer in this process, where the run stands."""
    return prepare(run, run.experiment(), Distributed.start("cpu"), time.monotonic())


def finish(run: Run) -> dict[str, Any]:
    """Train `run` to its end in this process; returns the result."""
    trainer = trainer_of(run)
    return write_outcome(run, trainer, trainer.fit())


ROOT = Path(__file__).resolve().parents[1]


def train(run: Run, processes: int = 1, **env: str) -> subprocess.CompletedProcess[str]:
    """Train `run` with the real program, in processes of its own."""
    command = [sys.executable, "-m", "ganhpc.train", str(run.folder)]
    if processes > 1:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "ganhpc.train"]
        command = [sys.executable, "-m", *torchrun, str(run.folder)]
    threads = {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **threads, **env}, capture_output=True, text=True, timeout=600
    )
