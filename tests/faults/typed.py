"""A command typed in this process, bounded in time: its exit code and all that it printed. An exception is a fault of ours."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ganhpc.cli import main as cli

LIMIT = 120
"""Seconds after which a command counts as hanging; they take a tenth of a second, and a busy machine pauses for some."""
NEVER_PRINTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that a terminal obeys, or that hide."""


@dataclass(frozen=True)
class Typed:
    words: tuple[str, ...]
    code: int
    out: str
    err: str

    def obeyed(self) -> list[str]:
        """The characters that a terminal would obey and not print, of both streams."""
        return sorted({c for c in self.out + self.err if c != "\n" and unicodedata.category(c) in NEVER_PRINTED})


class Hangs(BaseException):
    """The command did not end in time; no handler of the program catches it."""


def typed(*words: str) -> Typed:
    """Run `python launch.py WORDS` here. Raises what the program raises, and Hangs."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["launch.py", *words]
    code = 0
    try:
        with _in_time(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.argv = before
    return Typed(words, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        del number, frame
        raise Hangs(f"still running after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
