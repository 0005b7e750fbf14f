"""One command under one fault: in a process of its own, forked so that nothing is loaded twice; and what it left."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.hook import sitecustomize as hook

HOOK = Path(hook.__file__).parent
LIMIT = 240.0
"""Seconds after which a command counts as hanging."""
KILLS = ("kill", "half", "after")
SENTENCES = ("Error: ", "can't", "stopped", "the trainer was killed by SIGKILL", "the trainer could not start")
"""What a command that has not done its work says, at the least."""
ERRORS = ("ENOSPC", "EIO", "ESTALE", "EDQUOT", "ETIMEDOUT", "EACCES", "ENOSPC+", "EROFS+")


@dataclass(frozen=True)
class Fault:
    """The k-th file operation of `program`, and what becomes of it."""

    at: int
    act: str
    program: str = ""
    reads: bool = False

    def __str__(self) -> str:
        return f"{self.act}-{self.at}{'-reads' if self.reads else ''}"


@dataclass
class Outcome:
    """How a command ended."""

    code: int | None
    """The exit code; below 0 the signal that killed it; None: it hung."""
    said: str
    operations: list[str] = field(default_factory=list)
    fired: str = ""
    """The operation that met the fault; empty where none did."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def run(
    place: Path, command: Callable[[], object], fault: Fault | None = None, environ: Mapping[str, str] | None = None
) -> Outcome:
    """Call `command` in a child, under `fault` for files below `place`/"world", and wait for the end of its whole process group."""
    notes = {name: place / f"{name}.{time.monotonic_ns()}" for name in ("out", "log", "fired")}
    wanted = fault or Fault(0, "none")
    tree = {
        "roots": [str(place / "world")], "program": wanted.program or "the command", "at": wanted.at, "act": wanted.act,
        "reads": wanted.reads, "log": str(notes["log"]), "fired": str(notes["fired"]),
    }  # fmt: skip
    child = os.fork()
    if not child:
        _be(command, notes["out"], json.dumps(tree), environ or {})
    code = _wait(child)
    text = {name: path.read_text(errors="replace") if path.exists() else "" for name, path in notes.items()}
    return Outcome(code, text["out"], text["log"].splitlines(), text["fired"])


def _be(command: Callable[[], object], out: Path, fault: str, environ: Mapping[str, str]) -> None:
    """In the child: run the command and leave, whatever happens."""
    code = 70
    try:
        os.setsid()
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(environ)
        os.environ[hook.VARIABLE] = fault
        os.environ["PYTHONPATH"] = f"{HOOK}:{os.environ.get('PYTHONPATH', '')}"
        hook.start("the command")  # or, where `program` is another, a process that it starts meets the fault
        said = command()
        code = said if isinstance(said, int) else 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = 71
        os._exit(code)


def _wait(child: int) -> int | None:
    """The exit code of the child; what it left running in its group ends with it."""
    patience = time.monotonic() + LIMIT
    code = None
    while time.monotonic() < patience:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if code is None:
        os.waitpid(child, 0)
    return code


def faults(operations: int, reading: int, number: int | None, seed: int, program: str = "") -> Iterator[Fault]:
    """A sample of `number` faults among all for a command of so many operations; None: every operation, each with every kill and,
    in turn, each errno."""
    rng = random.Random(seed)
    every = [Fault(k, act, program) for k in range(1, operations + 1) for act in KILLS]
    every += [Fault(k, ERRORS[k % len(ERRORS)], program) for k in range(1, operations + 1)]
    every += [Fault(k, ERRORS[k % 6], program, reads=True) for k in range(1, reading + 1)]
    yield from every if number is None or number >= len(every) else rng.sample(every, number)


def leftovers(folder: Path) -> list[str]:
    """Half-written files below `folder`."""
    return sorted(str(path) for path in folder.rglob(".*.tmp"))


def in_order(outcome: Outcome) -> None:
    """A command has ended, in time and without a traceback."""
    assert outcome.code is not None, f"it hangs: {outcome.said[-2000:]}"
    assert "Traceback" not in outcome.said, outcome.said[-3000:]


def in_a_sentence(outcome: Outcome, fault: Fault) -> None:
    """A command under a fault was killed, has gone on, or has ended with a sentence."""
    in_order(outcome)
    if outcome.code and not outcome.killed:
        assert any(word in outcome.said for word in SENTENCES), outcome.said[-3000:]
    if outcome.killed:
        assert fault.act in KILLS and outcome.fired
