"""The last words of a trainer, through a pipe to the process that started it: they arrive also where no file can be written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass

from ganhpc.runs.run_folder import State

VARIABLE = "GANHPC_LAST_WORDS"
"""The pipe's path in /proc: torchrun closes what its children could inherit."""
_LONGEST = 3000
"""A line of at most PIPE_BUF bytes is written whole or not at all."""


@dataclass(frozen=True)
class LastWords:
    """How one process of a run ended."""

    rank: int
    state: State
    reason: str


class Ear:
    """The reading end, in the process that starts trainers."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def environment(self) -> dict[str, str]:
        """What the trainers' environment needs."""
        return {VARIABLE: f"/proc/{os.getpid()}/fd/{self._write}"}

    def close(self) -> LastWords | None:
        """Close, and give what the lowest rank has said, its last line; None where nobody spoke."""
        data = b""
        with suppress(BlockingIOError):
            while part := os.read(self._read, 65_536):
                data += part
        os.close(self._read)
        os.close(self._write)
        return first_of(data)


def first_of(data: bytes) -> LastWords | None:
    """The last line of the lowest rank in `data`."""
    found: dict[int, LastWords] = {}
    for line in data.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            tree = json.loads(line)
            found[int(tree["rank"])] = LastWords(int(tree["rank"]), State(tree["state"]), str(tree["reason"]))
    return found[min(found)] if found else None


def say(state: State, reason: str) -> None:
    """Tell whoever listens how this process ends. No error is raised: the words may be in a file as well."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    words = LastWords(int(os.environ.get("RANK", "0")), state, reason[:_LONGEST])
    line = json.dumps(asdict(words), default=str)
    if len(line) > _LONGEST:  # escapes of other scripts
        line = json.dumps(asdict(LastWords(words.rank, state, reason[: _LONGEST // 12])), default=str)
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)
