"""The end of a program's segment: the signal that asks it to stop, whoever is below it, and its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ganhpc.program import descendants, ending
from ganhpc.program.stop_plan import Step, StopPlan
from ganhpc.runs.run_folder import State
from tests.program.local_runs import ends_in, job, made, segment
from tests.waiting import wait_for


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize(
    ("code", "options", "state"), [(75, {}, "resumable"), (9, {"resumable_exit": 9}, "resumable"), (9, {}, "crashed")]
)
def test_exit_codes(tmp_path: Path, code: int, options: dict[str, Any], state: str) -> None:
    run = made(tmp_path, "sh", "-c", f"date > $GANHPC_CHECKPOINTS/x; exit {code}", **options)
    assert segment(run).returncode == (75 if state == "resumable" else 1)
    assert run.run_status().state == state


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        (0, None, "ended with exit code 0"),
        (1, None, "ended with exit code 1"),
        (128, None, "ended with exit code 128"),
        (255, None, "ended with exit code 255"),
        (137, 9, "ended with exit code 137 (of a shell: SIGKILL)"),
        (139, 11, "ended with exit code 139 (of a shell: SIGSEGV)"),
        (-9, 9, "was killed by SIGKILL"),
        (-40, 40, "was killed by signal 40"),
    ],
)
def test_exit_codes_in_words(code: int, number: int | None, words: str) -> None:
    assert (ending.signal_of(code), ending.code_in_words(code)) == (number, words)


@pytest.mark.slow  # 2 s in all
def test_a_program_killed_below_its_shell_is_gone_on_with(tmp_path: Path) -> None:
    script = "date > $GANHPC_CHECKPOINTS/x; sh -c 'kill -9 $$'"
    run = made(tmp_path, "sh", "-c", f"{script}; exit $?")
    assert segment(run).returncode == 74
    status = run.run_status()
    assert status.state is State.RESUMABLE and "by SIGKILL from outside (exit code 137 of its shell)" in status.reason


@pytest.mark.slow  # 3 s in all
def test_a_program_that_ignores_signals_is_killed_in_time(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        "sh",
        "-c",
        "trap '' TERM USR1 INT; touch $GANHPC_CHECKPOINTS/x; while true; do sleep 0.1; done",
        time=600.0,
    )
    with job(run, 60.0) as runner:
        wait_for((run.checkpoints / "x").exists)  # it ignores them by now
        end = ends_in(run, 7.0)
        assert runner.wait(120) == 75
    assert time.time() < end + 60.0
    assert "does not stop: it is killed" in run.log.read_text()


SAVES = """
import os, signal, sys, time
def save(number, frame):
    time.sleep(0.3)
    open(os.environ["GANHPC_CHECKPOINTS"] + "/saved", "w").write(signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGUSR1, save)
open(os.environ["GANHPC_CHECKPOINTS"] + "/hears", "w")
while True: time.sleep(0.05)
"""


BELOW = {
    "run.sh": "#!/bin/sh\npython saves.py\necho over\n",
    "train.bash": "#!/bin/bash\npython saves.py\necho over\n",
    "by_env": "#!/usr/bin/env bash\npython saves.py\necho over\n",
    "accelerate": f"#!{sys.executable}\nimport subprocess\nsubprocess.call(['python', 'saves.py'])\n",
    "of_its_own": f"#!{sys.executable}\nimport subprocess\nsubprocess.call(['python', 'saves.py'])\n",
    "with_make": "#!/usr/bin/make -f\nall:\n\tpython saves.py\n",
}


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("name", BELOW)
def test_a_program_below_a_script_of_its_own_hears_the_signal(tmp_path: Path, name: str) -> None:
    """The process of ./run.sh is called run.sh, and not after its shell."""
    (tmp_path / "saves.py").write_text(SAVES)
    (tmp_path / name).write_text(BELOW[name])
    (tmp_path / name).chmod(0o755)
    run = made(tmp_path, f"./{name}", stop_signal="USR1", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        ends_in(run, 22.0)  # it is told at once, and has twelve seconds to save before it is killed
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGUSR1", run.log.read_text()


def test_a_program_that_is_suspended_hears_the_signal(tmp_path: Path) -> None:
    (tmp_path / "saves.py").write_text(SAVES + "\n")
    run = made(tmp_path, "python", "saves.py", stop_signal="USR1", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        program = next(int(pid) for pid in tree if b"saves.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(program, signal.SIGSTOP)
        run.ask_to_stop("enough", "me")
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGUSR1", run.log.read_text()


@pytest.mark.slow  # 2 s in all
def test_make_gets_one_sigterm_and_passes_it_on(tmp_path: Path) -> None:
    """It does so itself; at a second one many programs stop without having saved."""
    (tmp_path / "Makefile").write_text("all:\n\tpython once.py\n")
    (tmp_path / "once.py").write_text(
        SAVES.replace("SIGUSR1", "SIGTERM")
        .replace("time.sleep(0.3)", "heard.append(number); time.sleep(1); assert heard == [number]")
        .replace("import os", "heard = []\nimport os", 1)
    )
    run = made(tmp_path, "make", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        ends_in(run, 60.0)
        run.ask_to_stop("enough", "me")
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGTERM", run.log.read_text()


BLOCKS = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
BLOCKS += "threading.Thread(target=signal.sigwait, args=([signal.SIGTERM],), daemon=True).start()"


@pytest.mark.parametrize(("name", "waits"), [("tini", ""), ("init.py", BLOCKS)])
def test_a_program_that_waits_for_a_signal_to_pass_it_on_gets_it_alone(tmp_path: Path, name: str, waits: str) -> None:
    """It has no handler; at a second signal many programs stop without having saved."""
    child = "subprocess.Popen(['sleep', '600'])\nprint('ready', flush=True)\ntime.sleep(600)"
    (tmp_path / name).write_text(f"#!{sys.executable}\nimport signal, subprocess, threading, time\n{waits}\n{child}\n")
    (tmp_path / name).chmod(0o755)
    with subprocess.Popen([tmp_path / name], stdout=subprocess.PIPE, start_new_session=True) as program:
        try:
            assert program.stdout is not None and program.stdout.readline() == b"ready\n"
            assert descendants.listeners(program.pid, signal.SIGTERM) == [program.pid]
        finally:
            os.killpg(program.pid, signal.SIGKILL)


def test_the_plan_of_a_stop_follows_the_last_one() -> None:
    first, slow, quick = (StopPlan.make(3600, 120, took) for took in (None, 300, 2))
    assert (first.ask, slow.ask, quick.ask) == (120, 472, 25)
    assert StopPlan.make(60, 120, None).ask == 15, "no more than a quarter of the segment"
    assert [first.step(left) for left in (121, 120, 20, 8, -1)] == [Step.RUN, Step.ASK, Step.TERM, Step.KILL, Step.KILL]
