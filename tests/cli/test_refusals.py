"""One sentence from several processes, whichever of them is refused, crashes or is killed; and all of them end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ganhpc.runs import trainer_processes, trainer_protocol
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_processes import Nodes, TrainerProcesses
from tests.helpers import ROOT, made

pytestmark = pytest.mark.slow

HOOKED = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
PREPARE, BLOCK = "ganhpc.train.loop.build:prepare", "ganhpc.train.loop.trainer:Trainer._block"
START = "ganhpc.train.runtime.distributed:Distributed.start"
SILENT = "rank 1 ended with exit code 5 and did not say why; what it printed is in the log"
FULL = "can't read or write a file: the disk is full: free some space, then type the same command again; earlier files are intact."
SECONDS = 20
"""In which all have ended, on a machine that does other things too; torchrun alone takes 30. Where it has taken longer than that to begin,
which is more work than to end, it may take as long."""
REFUSED = "this rank can't: the hook refuses."


def hooked(tmp_path: Path, at: str, do: str, rank: str | None) -> dict[str, str]:
    """The environment in which rank `rank` (None: each) does something else in the function `at`."""
    only = {} if rank is None else {"HOOK_RANK": rank}
    hook = {"HOOK_AT": at, "HOOK_DO": do, "HOOK_MARK": str(tmp_path / "mark"), **only}
    return {**os.environ, "PYTHONPATH": HOOKED, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **hook}


KILLED = "rank 1 was killed by SIGKILL; there is no checkpoint"


@pytest.mark.parametrize(
    ("at", "do", "rank", "line", "reason", "state", "code"),
    [
        (PREPARE, "refuse", None, "refused: {}", REFUSED, State.REFUSED, 2),
        (BLOCK, "refuse", "1", "refused: {}", REFUSED, State.REFUSED, 2),
        (BLOCK, "crash", "1", "crashed: {}", "RuntimeError: the hook crashes", State.CRASHED, 1),
        # While the other waits for it to meet, and hears nothing.
        (START, "late,SIGKILL", "1", "killed: {}", KILLED, State.LOST, 1),
        (PREPARE, "late,leave", "1", "crashed: {}", SILENT, State.CRASHED, 5),
        (BLOCK, "full", "1", "stopped ({})", FULL, State.LOST, 74),
    ],
)
def test_two_processes_end_with_one_sentence(
    tmp_path: Path, at: str, do: str, rank: str | None, line: str, reason: str, state: State, code: int
) -> None:
    run = made(tmp_path, tasks_per_node=2)
    words = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    env = hooked(tmp_path, at, do, rank)
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = time.monotonic()
    while not (tmp_path / "mark").exists() and time.monotonic() < started + 240:
        time.sleep(0.02)
    begun = time.monotonic()
    said, failed = child.communicate(timeout=240)
    assert time.monotonic() - begun < max(SECONDS, begun - started)
    assert (child.returncode, failed) == (code, ""), said
    assert said.count(line.format(reason)) == 1 and said.count(reason) == 1 + (do == "crash")
    assert said.count("Traceback") == (do == "crash"), "of a bug, the one traceback that shows it"
    assert "torch" not in said and "gloo" not in said
    found = run.run_status()
    assert (found.state, found.reason) == (state, reason)
    assert run.log.read_text().count(reason) == 1 + (do == "crash")
    assert ("to go on:" in said) == (state is State.LOST)
    assert not processes_of(run), "nothing is left of the run"


def processes_of(run: Run) -> list[str]:
    """The command lines of living processes that name the run's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(run.folder) in line]


def test_a_job_on_a_node_ends_with_the_same_sentence(tmp_path: Path) -> None:
    run = made(tmp_path)
    words = [sys.executable, "-m", "ganhpc.node", str(run.folder), "--walltime=600", "--tasks=2"]
    done = subprocess.run(
        words, cwd=ROOT, env=hooked(tmp_path, BLOCK, "refuse", "1"), capture_output=True, text=True, timeout=300
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
    limit = time.monotonic() + 240
    while run.status().get("step", 0) < 1 and time.monotonic() < limit and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    said, failed = child.communicate(timeout=240)
    assert child.returncode == 0, failed
    assert Run.at(run.folder).run_status().state is State.RESUMABLE
    step = run.status()["step"]
    # "is kept" where the stop came just after a save.
    kept = (f"a checkpoint of step {step:,} is saved", f"the checkpoint of step {step:,} is kept")
    assert failed in [f"stopped: the scheduler sent SIGTERM; {each}\n" for each in kept], f"of torchrun: {failed}"
    assert "segment ended with code 75" in said


def test_a_process_that_is_killed_on_another_machine_is_named_on_both(tmp_path: Path) -> None:
    """Each has its torchrun; the process that is left sees a broken connection only."""
    run = made(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = (f"--rdzv-endpoint=127.0.0.1:{free.getsockname()[1]}", "--rdzv-backend=c10d", "--rdzv-id=x")
    env = {
        **hooked(tmp_path, BLOCK, "SIGKILL", "1"),
        **trainer_protocol.environment({}, one_machine=True),
        "GANHPC_OWNER": "job 1",
    }
    nodes, logs = [], [tmp_path / "first", tmp_path / "second"]
    for number, path in enumerate(logs):
        with path.open("wb") as log:
            words = trainer_processes.command(run.folder, 1, Nodes(2, meeting, number))
            nodes.append(TrainerProcesses(words, env, stdout=log, stderr=log, cwd=ROOT))
    limit = time.monotonic() + 240
    while sum(node.run() for node in nodes) and time.monotonic() < limit:
        time.sleep(0.05)
    for node in nodes:
        node.child.kill()
    said = "".join(path.read_text() for path in logs)
    assert [node.end() for node in nodes] == [-signal.SIGKILL] * 2, (said, [node.words for node in nodes])
    assert [node.words and node.words.reason for node in nodes] == [KILLED] * 2
    assert (run.run_status().state, run.run_status().reason) == (State.LOST, KILLED)
    assert "Traceback" not in said
