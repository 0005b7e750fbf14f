"""Endings of a program's segment: state, sentence and exit code."""

from __future__ import annotations

import errno
import math
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganhpc.core import storage_errors
from ganhpc.core.errors import StorageFault
from ganhpc.core.units import format_duration
from ganhpc.runs.run_files import StopCause
from ganhpc.runs.run_folder import State
from ganhpc.runs.trainer_protocol import EXIT_RESUMABLE

_SHELL = 128
"""Shells end with so much more than the number of the signal that ended their last program."""
LINES = 10
"""Lines of the end of a program's log that its status keeps."""


@dataclass(frozen=True)
class Ending:
    """The end of a segment."""

    state: State
    reason: str
    code: int
    asked: bool = False
    lines: list[str] = field(default_factory=list)
    """The last lines that the program wrote, where it failed."""

    def keys(self, *, by_request: bool) -> dict[str, Any]:
        """Fields of status.json beside the state and the reason."""
        found: dict[str, Any] = {"words": "\n".join(line[:500] for line in self.lines)} if self.lines else {}
        if self.code == EXIT_RESUMABLE:
            found["cause"] = (StopCause.ASKED if self.asked or by_request else StopCause.OUT_OF_TIME).value
        return found


def brief_time(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    return format_duration(round(seconds)) if math.isfinite(seconds) else "no end"


def signal_of(code: int) -> int | None:
    """The number of the signal that an exit code tells of: -9 as subprocess gives it, 137 as shells do; None where it tells of none."""
    number = -code if code < 0 else code - _SHELL
    return number if code < 0 or number in (each.value for each in signal.Signals) else None


def code_in_words(code: int) -> str:
    """An exit code: negative for a signal, as subprocess gives it."""
    number = signal_of(code)
    if number is None:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"was killed by {name}" if code < 0 else f"ended with exit code {code} (of a shell: {name})"


def nowhere(segments: int) -> str:
    """The sentence on a program that begins anew each time."""
    return (
        f"the program gets nowhere: {segments} segments in a row have changed no file in its checkpoint folder, so each began anew; "
        "let it save into $GANHPC_CHECKPOINTS (or {checkpoints} in its arguments) and go on from there, then type the same command again."
    )


def full_disk(
    folder: Path, error: OSError | None, lines: list[str], checkpoints: Path | None = None
) -> StorageFault | None:
    """The fault of a full disk or quota, where that is why a program failed; else None.

    `error`: the last one of its log; `lines`: the last ones that it wrote, since a program may remove the file that it could not write;
    `checkpoints`: a folder that may lie on another disk than `folder`.
    """
    said = next((number for number in storage_errors.FULL if any(os.strerror(number) in line for line in lines)), None)
    if error is not None and error.errno in storage_errors.FULL:
        said = error.errno
    if said is None and (full := next(filter(storage_errors.is_full, filter(None, (folder, checkpoints))), None)):
        said, folder = errno.ENOSPC, full
    return storage_errors.fault(OSError(said, os.strerror(said)), folder) if said is not None else None
