"""One sentence from several processes, whichever of them is refused, crashes or is killed; and all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.runs.run_folder import Run, State
from tests.helpers import ROOT, made

pytestmark = pytest.mark.slow

HOOKED = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
PREPARE, BLOCK = "ganhpc.train.loop.build:prepare", "ganhpc.train.loop.trainer:Trainer._block"
REFUSED = "this rank can't: the hook refuses."


def hooked(tmp_path: Path, at: str, do: str, rank: str | None) -> dict[str, str]:
    """The environment in which rank `rank` (None: each) does something else in the function `at`."""
    only = {} if rank is None else {"HOOK_RANK": rank}
    hook = {"HOOK_AT": at, "HOOK_DO": do, "HOOK_MARK": str(tmp_path / "mark"), **only}
    return {**os.environ, "PYTHONPATH": HOOKED, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **hook}


@pytest.mark.parametrize(
    ("at", "do", "rank", "sentence", "state", "code"),
    [
        (PREPARE, "refuse", None, f"refused: {REFUSED}", State.REFUSED, 2),
        (BLOCK, "refuse", "1", f"refused: {REFUSED}", State.REFUSED, 2),
        (BLOCK, "crash", "1", "crashed: RuntimeError: the hook crashes", State.CRASHED, 1),
        (BLOCK, "kill", "1", "killed: rank 1 was killed by SIGKILL; there is no checkpoint", State.LOST, 1),
    ],
)
def test_two_processes_end_with_one_sentence(
    tmp_path: Path, at: str, do: str, rank: str | None, sentence: str, state: State, code: int
) -> None:
    run = made(tmp_path, tasks_per_node=2)
    words = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    done = subprocess.run(
        words, cwd=ROOT, env=hooked(tmp_path, at, do, rank), capture_output=True, text=True, timeout=90
    )
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    assert done.stdout.count(sentence) == 1 and done.stdout.count(sentence.partition(": ")[2]) == 1 + (do == "crash")
    assert done.stdout.count("Traceback") == (do == "crash"), "of a bug, the one traceback that shows it"
    assert "torch" not in done.stdout and "gloo" not in done.stdout
    found = run.run_status()
    assert (found.state, found.reason) == (state, sentence.partition(": ")[2])
    assert run.log.read_text().count(sentence.partition(": ")[2]) == 1 + (do == "crash")


def test_a_job_on_a_node_ends_with_the_same_sentence(tmp_path: Path) -> None:
    run = made(tmp_path)
    words = [sys.executable, "-m", "ganhpc.node", str(run.folder), "--walltime=600", "--tasks=2"]
    done = subprocess.run(
        words, cwd=ROOT, env=hooked(tmp_path, BLOCK, "refuse", "1"), capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 2
    assert done.stderr == f"Error: {REFUSED}\n", done.stderr
    assert REFUSED not in done.stdout and "Traceback" not in done.stdout
    assert (run.run_status().state, run.run_status().reason) == (State.REFUSED, REFUSED)


def test_a_polite_stop_of_two_processes_on_a_node_is_no_failure(tmp_path: Path) -> None:
    run = made(tmp_path, epochs=100_000)
    words = [sys.executable, "-m", "ganhpc.node", str(run.folder), "--walltime=600", "--tasks=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 90
    while run.status().get("step", 0) < 1 and time.monotonic() < limit and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    said, failed = child.communicate(timeout=90)
    assert child.returncode == 0, failed
    assert Run.at(run.folder).run_status().state is State.RESUMABLE
    step = run.status()["step"]
    assert failed == f"stopped: the scheduler sent SIGTERM; a checkpoint of step {step:,} is saved\n", (
        f"nothing of torchrun: {failed}"
    )
    assert "segment ended with code 75" in said
