"""The last words of a trainer, through a pipe to the process that started it: they arrive also where no file can be written.

Whoever listens prints them, once, however many processes have said the same; a trainer that nobody listens to prints its own.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from ganhpc.core.files import parse_json
from ganhpc.core.printable import printable
from ganhpc.core.streams import open_pipe, pipe_address
from ganhpc.runs.run_folder import State
from ganhpc.runs.trainer_protocol import EXIT_FAULT

VARIABLE = "GANHPC_LAST_WORDS"
"""The pipe's address (ganhpc.core.streams): torchrun closes what its children could inherit."""
_LONGEST = 3000
"""A line of at most PIPE_BUF bytes is written whole or not at all."""
TORCHRUN = -1
"""The rank of torchrun, which speaks for a process that was killed."""
_FAILED = (State.REFUSED, State.CRASHED)


@dataclass(frozen=True)
class LastWords:
    """The end of one process of a run."""

    rank: int
    state: State
    reason: str
    code: int
    """Its exit code. torchrun is told 0 at a polite stop, which it would take for a failure."""
    about: int | None = None
    """The rank whose end torchrun tells, in case that has not spoken itself; None: it tells of a cause that no rank can know."""

    @property
    def sentence(self) -> str:
        """The line that is printed."""
        return f"Error: {printable(self.reason, 20_000)}" if self.failed else f"stopped: {printable(self.reason)}"

    @property
    def failed(self) -> bool:
        """True if the process was refused, crashed or met a fault of a file system, and did not just stop."""
        return self.state in _FAILED or self.code == EXIT_FAULT


class Listener:
    """The reading end, in the process that starts trainers."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._data = b""

    def environment(self) -> dict[str, str]:
        """Variables that the trainers' environment needs."""
        return {VARIABLE: pipe_address(self._write)}

    def listen(self) -> LastWords | None:
        """Last words until now, see `cause_of`."""
        with suppress(BlockingIOError):
            while part := os.read(self._read, 65_536):
                self._data += part
        return cause_of(self._data)

    def close(self) -> LastWords | None:
        """Close, and give what was said."""
        words = self.listen()
        os.close(self._read)
        os.close(self._write)
        return words


def cause_of(data: bytes) -> LastWords | None:
    """The cause for which the processes whose lines are in `data` have ended; None where nobody spoke.

    A process that fails says so before its connections break, of which the others then fail: the first failure is the cause, unless
    one was killed before it could speak. Where the first to speak has stopped politely, all of them stop, and the lowest rank knows why.
    An end of a process of which torchrun tells counts where the process itself has said nothing.
    """
    lines = []
    for line in data.splitlines():
        with suppress(ValueError):
            if (words := _read(parse_json(line))) is not None:
                lines.append(words)
    if not lines:
        return None
    lowest = min(words.rank for words in lines)
    last = [words for words in lines if words.rank == lowest][-1]
    if lines[0].failed and (lowest != TORCHRUN or last.failed):
        return lines[0]
    own = [words for words in lines if words.rank == last.about]
    return own[-1] if own else last


def _read(tree: Any) -> LastWords | None:
    """The words in one line; None where it is none of ours: the pipe can be opened by whatever the trainers start."""
    if not isinstance(tree, dict) or tree.get("state") not in tuple(State):
        return None
    rank, reason, code = tree.get("rank"), tree.get("reason"), tree.get("code")
    if type(rank) is not int or type(code) is not int or not isinstance(reason, str) or abs(code) > 255:
        return None
    about = tree.get("about")
    return LastWords(rank, State(tree["state"]), reason, code, about if type(about) is int else None)


def report(state: State, reason: str, code: int, rank: int | None = None, about: int | None = None) -> bool:
    """Report this process's end to whoever listens; returns whether somebody does. `rank`: None for this process's own. No error is raised."""
    handle = open_pipe(os.environ.get(VARIABLE, ""))
    if handle is None:
        return False
    words = LastWords(int(os.environ.get("RANK", "0")) if rank is None else rank, state, reason[:_LONGEST], code, about)
    line = json.dumps(asdict(words), default=str)
    if len(line) > _LONGEST:  # escapes of other scripts
        line = json.dumps(asdict(replace(words, reason=reason[: _LONGEST // 12])), default=str)
    try:
        os.write(handle, line.encode() + b"\n")
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
