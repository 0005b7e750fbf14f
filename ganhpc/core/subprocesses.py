"""Asking another program something, within a time: it can be missing, hang, crash or print noise."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from ganhpc.core.scheduler_environment import for_commands


class Answer(NamedTuple):
    """Answer of a program. `code` is None where it did not end in time, 127 where there is no such program, and -N where
    signal N killed it."""

    code: int | None
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that is not empty, of standard error first."""
        lines = [line.strip() for text in (self.out, self.err) for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def ask(command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None) -> Answer:
    """Run `command` for at most `seconds` without an input; `env` is added to the environment, which is the user's without what would change a
    scheduler's answer (ganhpc.core.scheduler_environment).

    The output goes through files: a pipe would keep us waiting for a grandchild that outlives the time (oarstat starts sudo,
    which we may not kill). They lie in memory: a full disk of temporary files is no reason to end a job.
    """
    with _in_memory() as out, _in_memory() as err:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**for_commands(), **(env or {})},
                start_new_session=True,
            )
        except OSError as error:
            return Answer(127, "", f"{command[0]}: {error.strerror}")
        code = _wait(child, seconds)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Answer(code, *texts)


def _in_memory() -> IO[bytes]:
    return os.fdopen(os.memfd_create("answer"), "w+b")


def _until_it_ends(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Sleep until it ends, or the time is over. Popen.wait looks now and then, at ever longer intervals: a quick answer waits twice."""
    try:
        handle = os.pidfd_open(child.pid)
    except OSError:  # an old kernel, or a sandbox
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(handle)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        _until_it_ends(child, seconds)
        return child.wait(0)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
