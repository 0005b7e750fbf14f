"""faults.json of a run: how often in a row an error of the file system has ended its training without progress, and which one did last.

The file has a fixed size and is rewritten in place: a full disk has room for that, and not for a second file. Where it has kept
status.json from being written, a run's state is told by it (`read_fault` in ganhpc.runs.run_files).
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import may_pass, parse_json, read_bytes
from ganhpc.runs.run_files import FAULTS, is_count
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_protocol import EXIT_FAULT, LAUNCH

MOST = 5
"""Faults in a row without a new checkpoint in between after which the jobs of a launch are not repeated."""
_SIZE = 512
_LONGEST_LAUNCH = 100
_NOT_BEGUN = -1
"""Stands for the step of a process that could not begin."""


def reserve(folder: Path) -> None:
    """Make the file where there is none, while there is room for it."""
    with suppress(OSError):
        handle = os.open(_path(folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(handle, _bytes("", 0, 0, "", None))
        finally:
            os.close(handle)


def note(folder: Path, launch: str, step: int, training: str = "", number: int | None = None) -> int:
    """Count one more fault of `launch` whose newest checkpoint is that of `step`. Returns how many there were in a row.

    `training`: a word that the processes of one start share, whose faults are one; empty where there is one process.
    `number`: the errno of the fault, where it has one.
    """
    count = 1
    with suppress(OSError, UserError, ValueError, KeyError, TypeError):
        before = parse_json(read_bytes(_path(folder), _SIZE))
        # A count below zero, in a damaged file, would have a job sent again for ever.
        if before["launch"] == launch[:_LONGEST_LAUNCH] and before["step"] == step and is_count(before["count"]):
            count = before["count"] + (not training or before.get("training") != training)
    _write(folder, _bytes(launch, step, count, training, number))
    return count


def met(folder: Path, number: int) -> None:
    """Note a fault that keeps status.json from being written while the program goes on: should it be killed now, this is why. It does not count."""
    launch, step, count, training = "", 0, 0, ""
    with suppress(OSError, UserError, ValueError, KeyError, TypeError):
        before = parse_json(read_bytes(_path(folder), _SIZE))
        launch, step, count = str(before["launch"]), int(before["step"]), int(before["count"])
        training = str(before.get("training", ""))
    _write(folder, _bytes(launch, step, count, training, number))


def _write(folder: Path, data: bytes) -> None:
    with suppress(OSError):
        # Neither waits for a fifo nor writes where a link leads.
        handle = os.open(_path(folder), os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(handle, data, 0)
        finally:
            os.close(handle)


def state_and_code(run: Run, error: UserError, *, count: bool) -> tuple[State, int]:
    """The state and the exit code with which a process ends that could not begin. `count`: it counts for its run.

    A fault of the file system that may pass leaves the run as it stands, to be started again, a few times without progress.
    """
    if not may_pass(error):
        return State.REFUSED, error.exit_code
    if count and note(run.folder, os.environ.get(LAUNCH, ""), _NOT_BEGUN, number=error.number) > MOST:
        return State.REFUSED, error.exit_code
    return State.RESUMABLE if run.has_checkpoint() else State.LOST, EXIT_FAULT


def _path(folder: Path) -> Path:
    return folder / FAULTS


def _bytes(launch: str, step: int, count: int, training: str, number: int | None) -> bytes:
    tree: dict[str, object] = {
        "launch": launch[:_LONGEST_LAUNCH],
        "step": step,
        "count": count,
        "training": training[:100],
    }
    if number is not None:
        tree |= {"number": number, "time": round(time.time(), 3), "given_up": count > MOST}
    return json.dumps(tree).encode().ljust(_SIZE - 1) + b"\n"
