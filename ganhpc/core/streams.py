"""The standard streams of every program of ours: open, and with a replacement for what their encoding can't hold; addresses of pipes."""

from __future__ import annotations

import os
import stat
import sys


def settle() -> None:
    """Call it first. Closed streams lead to nothing, so that no file takes their number; what can't be written is shown as "?"."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def pipe_address(handle: int) -> str:
    """Words by which another process of this machine finds the pipe `handle` of this one: its path in /proc, and the pipe's own number."""
    return f"/proc/{os.getpid()}/fd/{handle} {os.fstat(handle).st_ino}"


def open_pipe(address: str) -> int | None:
    """The pipe at an address, open to write without waiting; None where it is gone.

    The process that had it may have died, and another one have its number: what that has open is another file, or another pipe.
    """
    path, _, number = address.rpartition(" ")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    found = os.fstat(handle)
    if stat.S_ISFIFO(found.st_mode) and str(found.st_ino) == number:
        return handle
    os.close(handle)
    return None
