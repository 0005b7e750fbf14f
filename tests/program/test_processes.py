"""Processes of a program: they end with it, whoever is killed, and have ranks and no terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT
from ganhpc.runs.run_folder import State
from tests.program.local_runs import counting, lives, made, segment
from tests.waiting import wait_for

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"], {})
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.02)
if len(sys.argv) > 2: time.sleep(60)
"""


def sleeps(pid: int) -> int:
    """The number of voluntary context switches of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_daemons_end_with_the_program(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", DAEMON, str(tmp_path / "pid"))
    assert segment(run).returncode == 0
    assert not lives(int((tmp_path / "pid").read_text()))


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("victim", ["runner", "program"])
def test_killed_at_any_moment_it_goes_on(tmp_path: Path, victim: str) -> None:
    run = made(tmp_path, "python", "-c", DAEMON, str(tmp_path / "pid"), "stay")
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    daemon = int((tmp_path / "pid").read_text())
    (run.checkpoints / "kept").write_text("x")
    tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    guardian, program, *_ = map(int, tree)
    assert b"-c" in Path(f"/proc/{program}/cmdline").read_bytes().split(b"\0")
    wait_for(lambda: not Path(f"/proc/{daemon}/environ").read_bytes())  # nothing marks it any more
    if victim == "runner":  # its guardian has looked several times since, and has seen it
        slept = sleeps(guardian)
        wait_for(lambda: sleeps(guardian) >= slept + 4)
    os.kill(runner.pid if victim == "runner" else program, signal.SIGKILL)
    code = runner.wait(120)
    wait_for(lambda: not lives(daemon) and not lives(program))
    assert code == (-9 if victim == "runner" else 74)
    assert run.run_status().state is State.RESUMABLE
    assert not run.is_held()


def test_a_signal_to_every_process_of_the_job_ends_no_run_as_done(tmp_path: Path) -> None:
    """Slurm signals all of them at once: a program that saves and ends with 0 may have ended before the request is seen."""
    run = counting(tmp_path, 10_000)
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    wait_for(lambda: (run.folder / "figures.jsonl").exists())
    tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    program = next(int(pid) for pid in tree if b"count.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(program, signal.SIGUSR2)
    time.sleep(0.3)
    assert lives(program), "Slurm's warning is for the node agent"
    os.kill(program, signal.SIGTERM)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(120) == 75
    assert run.run_status().state is State.RESUMABLE and run.result() is None


def test_it_has_no_terminal(tmp_path: Path) -> None:
    run = made(
        tmp_path, "python", "-c", "import sys; print(sys.stdin.isatty(), sys.stdin.read() == ''); open('/dev/tty')"
    )
    assert segment(run).returncode == 1
    assert "False True" in run.log.read_text() and "/dev/tty" in run.run_status().reason


def test_several_processes_have_ranks(tmp_path: Path) -> None:
    # In one write: print writes each word apart where PYTHONUNBUFFERED is set, as it is here, and both share a pipe.
    script = r"import os; os.write(1, ('rank %(RANK)s of %(WORLD_SIZE)s %(GANHPC_RANK)s\n' % os.environ).encode())"
    run = made(tmp_path, "python", "-c", script)
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder), "--tasks=2"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=300)
    assert done.returncode == 0
    assert "rank 0 of 2 0" in run.log.read_text() and "rank 1 of 2 1" in run.log.read_text()


ENDED = """
import os
from pathlib import Path
from ganhpc.program.environment import Place
from ganhpc.program.processes import Processes
how = {"guardian": 0, "torchrun": False, "resumable": frozenset()}
for number in range(5):
    mark = f"mark-{os.getpid()}-{number}"
    running = Processes(["sleep", "600"], dict(os.environ), ".", Path("log.txt"), Place(), mark=mark, **how)
    assert running.running(asked=False)
    print(running.end())
"""


def test_the_exit_code_of_a_program_that_is_ended_is_its_own(tmp_path: Path) -> None:
    """Taken by the hand that clears up behind it, the code of one that was killed was 0, and a count that was ended had come to its end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ENDED]  # in a process of its own: whatever is below it is ended
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["-9"] * 5, done.stdout + done.stderr
