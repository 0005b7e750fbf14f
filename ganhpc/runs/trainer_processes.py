"""The processes that train a run, as the launcher and a job's node agent start them: command, end, last words. Never imports torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.scheduler_environment import without_torchrun
from ganhpc.core.settings import SAFE_PATH, with_checkout
from ganhpc.runs import last_words
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import Run
from ganhpc.runs.status_file import write_status

_ENDING_SECONDS = 3.0
"""Seconds that the others get after one process has failed: they wait for it in an exchange that never comes."""
_GONE_SECONDS = 10.0
"""Seconds that a process which was killed may take to let go of the run: its memory is given back first."""
_ON_ONE_MACHINE = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
"""torchrun's words for processes on one machine, whose own name may have no address."""
_TRAINER, _TORCHRUN = "ganhpc.train", "ganhpc.train.torchrun"
_PYTHON = (sys.executable, *SAFE_PATH, "-m")
"""Runs a module."""
_OWN = ("state", "reason", "cause", "host", "pid", "time", "launch", "owner", "tag")
"""Keys of status.json that its writer sets."""


class Nodes(NamedTuple):
    """The nodes that train a run together. Their ranks are settled where they meet."""

    number: int = 1
    meeting: tuple[str, ...] = _ON_ONE_MACHINE
    """torchrun's words on where they find one another."""

    node: int = 0
    """The number of this one."""
    first: str = "127.0.0.1"
    port: int = 29_400


def command(folder: Path, tasks: int, nodes: Nodes | None = None, entry: str = _TRAINER) -> list[str]:
    """The command for this node's part of a training with `tasks` processes on each. `entry`: an Experiment's ENTRY."""
    nodes = nodes or Nodes()
    if entry != _TRAINER:  # it starts its processes itself
        words = [
            f"--tasks={tasks}",
            f"--nodes={nodes.number}",
            f"--node={nodes.node}",
            f"--first={nodes.first}",
            f"--port={nodes.port}",
        ]
        return [*_PYTHON, entry, str(folder), *(words if nodes.number * tasks > 1 else [])]
    trainer = [*_PYTHON, _TRAINER, str(folder)]
    if nodes.number * tasks == 1:
        return trainer
    sizes = [f"--nnodes={nodes.number}", f"--nproc-per-node={tasks}", "--max-restarts=0"]
    return [*_PYTHON, _TORCHRUN, *nodes.meeting, *sizes, "--no-python", *trainer]


def children(pid: int | str) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


class TrainerProcesses:
    """The trainer, or torchrun with several, from its start to its end."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], **how: Any) -> None:
        """`env`: the environment; `how`: as for subprocess.Popen. What a shell keeps of another torchrun reaches programs of the user's alone,
        some of which are told by it that they are one process."""
        self._torchrun = _TORCHRUN in command
        self._ear = last_words.Listener()
        kept = without_torchrun(env) if self._torchrun or _TRAINER in command else env
        self.child = subprocess.Popen(command, env=with_checkout(kept) | self._ear.environment(), **how)
        self._failed_at: float | None = None
        self.words: LastWords | None = None
        """The last words, once they have ended."""

    def run(self) -> bool:
        """Look after them: once one has failed, the others are ended. Returns whether any lives."""
        if self.child.poll() is not None:
            return False
        words = self._ear.listen()
        if words and words.failed:
            self._failed_at = self._failed_at or time.monotonic()
            if time.monotonic() - self._failed_at > _ENDING_SECONDS:
                self.child.kill()  # those that torchrun has started die with it
        return True

    def interrupt(self) -> None:
        """Tell each process by a signal to save and stop: a request could not be written. torchrun, which would end them, gets none while it
        has any."""
        started = children(self.child.pid) if self._torchrun else []
        for pid in started or [self.child.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def end(self) -> int:
        """The exit code of those that have ended, the cause's where several did: negative for a signal, as subprocess gives it."""
        code = self.child.wait()
        self.words = self._ear.close()
        return self.words.code if self.words else code

    def note_failure(self, run: Run, owner: str) -> None:
        """Write the end that another process than rank 0 has caused, since that one alone writes status.json while it lives."""
        words = self.words
        if not words or words.rank == 0 or not (words.failed or words.rank == last_words.TORCHRUN):
            return
        status = run.status()
        figures = {key: value for key, value in status.items() if key not in _OWN and status.get("owner") == owner}
        patience = time.monotonic() + _GONE_SECONDS
        with suppress(UserError, OSError):
            while True:
                try:
                    with run.hold():
                        write_status(run, words.state, owner, reason=words.reason, **figures)
                        return
                except BusyError:  # rank 0 was killed, and is not gone yet
                    if time.monotonic() > patience:
                        return
                    time.sleep(0.1)
