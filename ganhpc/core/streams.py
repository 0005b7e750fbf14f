"""The standard streams of every program of ours: open, and with a replacement for what their encoding can't hold."""

from __future__ import annotations

import os
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
