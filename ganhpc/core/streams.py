"""The standard streams of every program of ours: open, and with a replacement for what their encoding can't hold; file names in UTF-8;
addresses of pipes."""

from __future__ import annotations

import os
import select
import stat
import sys

_BEFORE = "GANHPC_UTF8_MODE"
"""Set for the same program begun anew: the encoding of its streams, and what PYTHONUTF8 was."""


def settle() -> None:
    """Call it first. Closed streams lead to nothing, so that no file takes their number; what can't be written is shown as "?".

    In a locale such as fr_FR.ISO-8859-1 the program begins anew with Python's UTF-8 mode: a file's name is then the same text everywhere, in
    the definition of a run too, which is read on nodes with another locale. The streams keep the locale's encoding.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    encoding = _names_in_utf8()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=encoding, errors="replace")


def _names_in_utf8() -> str | None:
    """Begin anew where names of files are not read as UTF-8. Returns the encoding of the streams, None for the one that they have."""
    if _BEFORE in os.environ:
        encoding, _, mode = os.environ.pop(_BEFORE).partition(" ")
        # Programs that this one starts choose for themselves.
        os.environ.pop("PYTHONUTF8", None)
        if mode:
            os.environ["PYTHONUTF8"] = mode
        return encoding
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        os.environ[_BEFORE] = f"{sys.stdout.encoding} {os.environ.get('PYTHONUTF8', '')}"
        os.environ["PYTHONUTF8"] = "1"
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return None


def leave_unwritable() -> None:
    """Lead the standard streams that can't be written to nothing: what is left in them would be an error again, at Python's end too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
            gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in _polled(number))
        except OSError:
            gone = True
        if gone:
            os.dup2(nothing, number)
    os.close(nothing)


def _polled(handle: int) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(handle, 0)
    return poll.poll(0)


def print_line(text: str) -> None:
    """Print a line in one write: other processes write into the same log, and Python without buffers writes the line break apart."""
    print(f"{text}\n", end="", flush=True)


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
