"""The processes of a program on this node: started, told, ended to the last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.program import descendants
from ganhpc.program.bounded_log import BoundedLog
from ganhpc.program.environment import Place
from ganhpc.runs.trainer_protocol import die_with_parent

_OTHERS_SECONDS = 3.0
"""Seconds that the others get after one process has failed."""
_LOG_SECONDS = 10.0


def command_of(command: Sequence[str], launcher: str, place: Place) -> list[str]:
    """The command for this node: the program itself, or torchrun with it where there are several processes and that was asked for."""
    if launcher != "torchrun" or place.world == 1:
        return list(command)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={place.nodes}",
        f"--nproc-per-node={place.tasks}",
    ]
    torchrun += [
        f"--node-rank={place.node}",
        f"--master-addr={place.first}",
        f"--master-port={place.port}",
        "--max-restarts=0",
    ]
    is_python = Path(command[0]).name.startswith("python") and len(command) > 1 and not command[1].startswith("-")
    return [*torchrun, *command[1:]] if is_python else [*torchrun, "--no-python", *command]


class Processes:
    """A program while it runs. What it prints goes into the log, bounded; it has no terminal."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: str,
        log: Path,
        place: Place,
        *,
        mark: str,
        single: bool,
    ) -> None:
        """`single`: one process for all ranks (torchrun). Raises UserError where the program can't be started."""
        self._mark = mark
        read, write = os.pipe()
        self.children: list[subprocess.Popen[bytes]] = []
        self._failed_at: float | None = None
        self.ended = 0
        """Processes that were still there at the end, and had to be ended."""
        try:
            for local in range(1 if single else place.tasks):
                ranks = {} if single else place.variables(local)
                told = {"GANHPC_RANK": ranks.get("RANK", env.get("GANHPC_RANK", "0")), descendants.MARK: mark}
                self.children.append(self._start(command, {**env, **ranks, **told}, folder, write))
        except BaseException:
            self._end_all()
            raise
        finally:
            os.close(write)
        self._read = read
        self.log = BoundedLog(read, log)
        self.log.start()

    @staticmethod
    def _start(command: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> subprocess.Popen[bytes]:
        how = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "start_new_session": True}
        try:
            return subprocess.Popen(list(command), env=dict(env), cwd=folder or None, preexec_fn=_before, **how)  # type: ignore[call-overload]
        except (OSError, ValueError) as error:
            if not Path(folder).is_dir():
                raise UserError(
                    f"the folder {folder}, in which the program is to run, is not on this machine: put it back."
                ) from None
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"the program {command[0]!r} can't be started ({why}): name one that is on the PATH of the machine that runs it, or its path."
            ) from None

    @property
    def pids(self) -> frozenset[int]:
        return frozenset(child.pid for child in self.children)

    def running(self, *, asked: bool) -> bool:
        """True while it runs. Asked to stop, also while the programs below a shell that ended at once still do."""
        alive = [child for child in self.children if child.poll() is None]
        descendants.reap(self.pids)
        failed = any(child.returncode not in (None, 0) for child in self.children)
        if alive and failed and not asked:
            self._failed_at = self._failed_at or time.monotonic()
            if time.monotonic() - self._failed_at > _OTHERS_SECONDS:
                descendants.send([child.pid for child in alive], signal.SIGKILL)
        return bool(alive)

    def listeners(self) -> list[int]:
        """The processes that a stop signal is for."""
        return [pid for child in self.children if child.poll() is None for pid in descendants.listeners(child.pid)]

    def kill(self) -> None:
        descendants.send([pid for pid in descendants.below(os.getpid()) if pid != os.getpid()], signal.SIGKILL)

    def end(self, guardian: int) -> int:
        """End all that is left, the log too. Returns the exit code, negative for a signal; of several, the first that is none of success."""
        self._end_all(guardian)
        self.log.join(_LOG_SECONDS)
        with suppress(OSError):
            os.close(self._read)
        codes = [child.returncode or 0 for child in self.children]
        return next((code for code in codes if code), 0)

    def _end_all(self, guardian: int = 0) -> None:
        self.ended = descendants.end_all(self._mark, frozenset({guardian}))
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(5)


def _before() -> None:
    """In the child: it dies with the runner, and hears the signals that the runner may have ignored; but for SIGUSR2, the warning
    that Slurm sends to every process of a job, of which a program that knows nothing of it would die."""
    die_with_parent()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
