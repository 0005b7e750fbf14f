"""The processes of a program on this node: started, told, ended to the last."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.settings import SAFE_PATH
from ganhpc.core.streams import pipe_address
from ganhpc.program import descendants, worker
from ganhpc.program.bounded_log import BoundedLog
from ganhpc.program.environment import Place
from ganhpc.runs.trainer_processes import Nodes
from ganhpc.runs.trainer_protocol import die_with_parent

_OTHERS_SECONDS = 3.0
"""Seconds that the others get after one process has failed."""
_SAVING_SECONDS = 60.0
"""Seconds that they get after one has ended that is to be gone on with: they may still save."""
_LOG_SECONDS = 10.0
_OF_SHELLS = frozenset(["alias", "cd", "eval", "exec", "export", "set", "source", "ulimit", "unset", ".", ":"])
"""Words that are no programs, and that only a shell knows."""


def command_of(command: Sequence[str], launcher: str, place: Place) -> list[str]:
    """The command for this node: the program itself, or torchrun with it where there are several processes and that was asked for.

    torchrun is that of the Python which the command names, else of this one.
    """
    if launcher != "torchrun" or place.world == 1:
        return list(command)
    python = command[0] if re.fullmatch(r"python[0-9.]*", Path(command[0]).name) else sys.executable
    meeting = [f"--node-rank={place.node}", f"--master-addr={place.first}", f"--master-port={place.port}"]
    sizes = [f"--nnodes={place.nodes}", f"--nproc-per-node={place.tasks}", "--max-restarts=0", "--no-python"]
    worker = [sys.executable, *SAFE_PATH, "-m", "ganhpc.program.worker"]
    return [
        python,
        "-m",
        "torch.distributed.run",
        *(meeting if place.nodes > 1 else Nodes().meeting),
        *sizes,
        *worker,
        *command,
    ]


def free_port() -> int:
    """A port for processes that meet on this machine: two runs may compute here at once."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


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
        guardian: int,
        torchrun: bool,
        resumable: frozenset[int],
    ) -> None:
        """
        Args:
            command: the command line.
            env: the environment, to which each process adds its ranks.
            folder: the folder in which it runs.
            log: the file that what it prints goes into.
            place: the processes on this node, and all.
            mark: the word in the environment by which its descendants are known.
            guardian: the process that ends them where this one is killed.
            torchrun: the command is torchrun's, one for all ranks.
            resumable: exit codes that mean no failure.

        Raises UserError where the program can't be started.
        """
        self._mark, self._torchrun, self._resumable = mark, torchrun, resumable
        self._first_rank = place.node * place.tasks
        self._guardian = frozenset({guardian})
        self._codes, self._codes_end = os.pipe() if torchrun else (-1, -1)
        self._said = b""
        self._first: tuple[int, int] | None = None
        # One pipe for torchrun itself, and one for each of the program's processes, so that no line of one is in the midst of another's.
        pipes = [os.pipe() for _ in range(place.tasks + torchrun)]
        self.children: list[subprocess.Popen[bytes]] = []
        self._first_at = 0.0
        self.ended = 0
        """Processes that were still there at the end, and had to be ended."""
        if torchrun:
            os.set_blocking(self._codes, False)
        outputs = [write for _, write in pipes]
        try:
            self._start_all(command, env, folder, place, outputs)
        except BaseException:
            self._end_all()
            raise
        finally:
            # Those of torchrun's workers are found by their addresses as long as they are open here.
            for output in outputs[: 1 if torchrun else None]:
                os.close(output)
        self._writes = outputs[1:] if torchrun else []
        self._reads = [read for read, _ in pipes]
        self.log = BoundedLog(self._reads, log, in_lines=place.world > 1)
        self.log.start()

    def _start_all(
        self, command: Sequence[str], env: Mapping[str, str], folder: str, place: Place, outputs: Sequence[int]
    ) -> None:
        """Start the processes of this node, or torchrun, which starts them."""
        for local in range(1 if self._torchrun else place.tasks):
            ranks = {} if self._torchrun else place.variables(local)
            own = {"GANHPC_RANK": ranks.get("RANK", env.get("GANHPC_RANK", "0")), descendants.MARK: self._mark}
            if self._torchrun:
                own |= {worker.CODES: pipe_address(self._codes_end)}
                own |= {worker.RESUMABLE: " ".join(map(str, sorted(self._resumable)))}
                own |= {worker.OUTPUTS: "\n".join(map(pipe_address, outputs[1:]))}
            self.children.append(self._start(command, {**env, **ranks, **own}, folder, outputs[local]))

    @staticmethod
    def _start(command: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> subprocess.Popen[bytes]:
        how = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "start_new_session": True}
        try:
            return subprocess.Popen(list(command), env=dict(env), cwd=folder or None, preexec_fn=_before, **how)  # type: ignore[call-overload]
        except (OSError, ValueError) as error:
            raise UserError(_not_started(command[0], folder, error)) from None

    @property
    def pids(self) -> frozenset[int]:
        return frozenset(child.pid for child in self.children)

    def running(self, *, asked: bool) -> bool:
        """True while it runs. Asked to stop, also while the programs below a shell that ended at once still do."""
        alive = [child for child in self.children if child.poll() is None]
        descendants.reap(self.pids)
        first = self.first
        if alive and first and not asked:
            patience = _SAVING_SECONDS if first[0] in self._resumable else _OTHERS_SECONDS
            if time.monotonic() - self._first_at > patience:
                self.kill()
        return bool(alive)

    @property
    def first(self) -> tuple[int, int] | None:
        """(exit code, rank) of the first process of the program that ended otherwise than with 0: the others end of that."""
        if self._first is None and (found := self._ended()):
            self._first, self._first_at = found, time.monotonic()
        return self._first

    def _ended(self) -> tuple[int, int] | None:
        if not self._torchrun:
            ended = [
                (child.returncode, self._first_rank + k) for k, child in enumerate(self.children) if child.returncode
            ]
            return min(ended, key=lambda each: each[0] in self._resumable, default=None)
        with suppress(BlockingIOError):
            while self._codes >= 0 and (part := os.read(self._codes, 65_536)):
                self._said += part
        lines = [line.split() for line in self._said.splitlines(keepends=True) if line.endswith(b"\n")]
        return next(((int(code), int(rank)) for rank, code in lines if int(code)), None)

    def listeners(self, number: int) -> list[int]:
        """The processes that the stop signal `number` is for."""
        through = 2 if self._torchrun else 0  # torchrun and its workers, which would take the signal for the end
        alive = [child.pid for child in self.children if child.poll() is None]
        return [pid for child in alive for pid in descendants.listeners(child, number, through)]

    def kill(self) -> None:
        """Kill all that is below this process, but for the guardian."""
        descendants.send(sorted({*descendants.below(os.getpid())} - {os.getpid(), *self._guardian}), signal.SIGKILL)

    def end(self) -> int:
        """End all that is left, the log too. Returns the exit code, negative for a signal; of several, the first that is none of success."""
        first = self.first
        own = next((child.returncode for child in self.children if child.returncode), 0)
        self._end_all()
        if self._torchrun:
            for handle in (self._codes, self._codes_end, *self._writes):
                os.close(handle)
            self._codes = self._codes_end = -1
        self.log.join(_LOG_SECONDS)
        for read in self._reads:
            with suppress(OSError):
                os.close(read)
        own = own or next((child.returncode for child in self.children if child.returncode), 0)
        return first[0] if first else own

    def _end_all(self) -> None:
        self.ended = descendants.end_all(self._mark, self._guardian, self.pids)
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(5)


def _not_started(name: str, folder: str, error: OSError | ValueError) -> str:
    """The sentence on a program that can't be started, with the way on."""
    if not Path(folder).is_dir():
        return f"the folder {folder}, in which the program is to run, is not on this machine: put it back."
    number = error.errno if isinstance(error, OSError) else None
    way = "name one that is on the PATH of the machine that runs it, or its path"
    missing = number in (errno.ENOENT, errno.ENAMETOOLONG)
    is_there = os.path.isfile(os.path.join(folder, name))  # noqa: PTH113 (raises nothing for a name of any length)
    if missing and is_there and "/" not in name:
        way = f"the file of that name in {folder} is typed as {'python ' if name.endswith('.py') else './'}{shlex.quote(name)}"
    elif missing and is_there:
        way = f"the interpreter in its first line is not on this machine (Windows line ends name none): type one before it, such as bash {shlex.quote(name)}"
    elif missing and (len(name.split()) > 1 or name in _OF_SHELLS):
        line = shlex.quote(name if len(name.split()) > 1 else f"{name} ..")
        way = f"a line for a shell is typed as bash -c {printable(line, 200)}"
    elif missing and name.startswith("~"):
        way = "a home is not put in the place of ~ within quotes: leave them out"
    elif number == errno.ENOEXEC:
        way = f"a script's first line names its interpreter, such as #!/bin/bash; or type bash {shlex.quote(name)}"
    elif number == errno.EACCES and is_there and "/" in name:
        way = f"make it executable (chmod +x), or type its interpreter before it, such as bash {shlex.quote(name)}"
    elif number == errno.E2BIG:
        way = "its arguments and its environment are larger than the system takes: let it read them from a file"
    return (
        f"the program {printable(name, 200)!r} can't be started ({getattr(error, 'strerror', None) or error}): {way}."
    )


def _before() -> None:
    """In the child: it dies with the runner, and hears the signals that the runner may have ignored; but for SIGUSR2, the warning
    that Slurm sends to every process of a job, of which a program that knows nothing of it would die."""
    die_with_parent()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
