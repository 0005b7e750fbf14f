"""Runs of `launch.py program` on this machine, a segment at a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganhpc.core.settings import ROOT
from ganhpc.runs import job_deadline
from ganhpc.runs.experiment import Experiment, from_typed
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.run_folder import Run
from jobs.program import Program

COUNTS = """
import json, os, signal, sys, time
from ganhpc.program import figures
path, last = os.path.join(sys.argv[1], "state.json"), int(sys.argv[2])
step = json.load(open(path)) if os.path.exists(path) else 0
print("begins at", step, flush=True)
def save():
    with open(path + ".new", "w") as file: json.dump(step, file)
    os.replace(path + ".new", path)
asked = []
if len(sys.argv) > 3: signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which comes later, and on a busy machine before it has saved
signal.signal(getattr(signal, "SIG" + (sys.argv[3] if len(sys.argv) > 3 else "TERM")), lambda *_: asked.append(1))
while step < last:
    step += 1
    figures(step=step, accuracy=1 - 1 / step, wavy=-step)
    time.sleep(0.05)
    if asked:
        save(); print("saved", step, flush=True); sys.exit(0)
save()
"""
"""A program that counts, saves when it is told to stop, and goes on from there."""


def made(tmp_path: Path, *command: str, **values: Any) -> Run:
    """A new run of the command."""
    return Run.open(tmp_path / "runs", defined(*command, folder=str(tmp_path), **values))


def defined(*command: str, **values: Any) -> Experiment:
    return from_typed(Program, {"command": command, "time": 60.0, **values})


def segment(
    run: Run, seconds: float | None = None, launch: str = "a", patience: float = 300.0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one segment as a job of so many seconds."""
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    bound = Bound(time.time() + seconds) if seconds else None
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GANHPC_LAUNCH": launch,
        **job_deadline.environment("me", bound),
        **env,
    }
    with run.log.open("ab") as log:
        return subprocess.run(
            words, env=environ, stdout=log, stderr=subprocess.PIPE, text=True, timeout=patience, check=False
        )


@contextlib.contextmanager
def job(run: Run, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """One segment in the background, as a job whose end may be brought forward (`ends_in`)."""
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GANHPC_LAUNCH": "a", **job_deadline.environment("me")}
    ends_in(run, seconds)
    with run.log.open("ab") as log, subprocess.Popen(words, env=environ, stdout=log, stderr=log) as runner:
        yield runner


def ends_in(run: Run, seconds: float) -> float:
    """The job ends in so many seconds from now; returns when that is."""
    end = time.time() + seconds
    job_deadline.write(run, Bound(end), "me")
    return end


def counting(tmp_path: Path, last: int, *words: str, **values: Any) -> Run:
    (tmp_path / "count.py").write_text(COUNTS)
    return made(tmp_path, "python", "count.py", "{checkpoints}", str(last), *words, **values)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
