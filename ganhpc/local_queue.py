"""`python -m ganhpc.local_queue FOLDER`: run the jobs of this machine's queue one after another, then end. Never imports torch.

One file a job (ganhpc.schedulers.local). A second runner finds the first one's lock and ends at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganhpc.errors import UserError
from ganhpc.files import read_json, write_json
from ganhpc.printable import say_error
from ganhpc.schedulers.base import JobState
from ganhpc.schedulers.local import RUNNER_LOCK, alive

LOOK_SECONDS = 1.0
KEPT_SECONDS = 7 * 86_400
"""How long the file of an ended job is kept."""
GRACE_SECONDS = 30.0
"""Between the polite signal at the end of a job's time, or at its cancelling, and the other one."""


def main(folder: Path) -> int:
    """Run the queue in `folder` until nothing waits."""
    # Looked at once more after the lock is let go: a job may have come between the last look and that.
    while first_waiting(folder) is not None:
        handle = os.open(folder / RUNNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        try:
            take_over(folder)
            _drain(folder)
        finally:
            os.close(handle)
    return 0


def _drain(folder: Path) -> None:
    while (path := first_waiting(folder)) is not None:
        tree = read_json(path) or {}
        begin, until = tree.get("not_before") or 0.0, tree.get("until")
        if until and time.time() >= until:
            change(path, state=JobState.TIMEOUT.value, ended=time.time())
        elif time.time() < begin:
            time.sleep(LOOK_SECONDS)
        else:
            run(path, tree)


def first_waiting(folder: Path) -> Path | None:
    """The file of the job that is next, or None; files of long-ended jobs are removed."""
    found = []
    for path in folder.glob("*.json"):
        tree = read_json(path) or {}
        if tree.get("state") == JobState.WAITING.value:
            found.append(path)
        elif (
            not JobState(tree.get("state", "unknown")).alive
            and time.time() - tree.get("ended", time.time()) > KEPT_SECONDS
        ):
            path.unlink(missing_ok=True)
    return min(found, key=lambda path: int(path.stem), default=None)


def run(path: Path, tree: dict[str, Any]) -> None:
    """Run one job to its end, or to the end of its time."""
    child = subprocess.Popen(["bash", tree["script"]], stdin=subprocess.DEVNULL, start_new_session=True)
    born = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    change(path, state=JobState.RUNNING.value, started=time.time(), pid=child.pid, born=born)
    watch(path, lambda: child.poll() is None)
    change(path, exit_code=child.returncode)
    if (read_json(path) or {}).get("state") == JobState.RUNNING.value:
        state = JobState.ENDED if child.returncode == 0 else JobState.FAILED
        change(path, state=state.value, ended=time.time())


def watch(path: Path, lives: Callable[[], bool]) -> None:
    """Wait for the end of a running job, and bring it about at the end of its time, or where it was cancelled."""
    tree = read_json(path) or {}
    end = min(tree["started"] + tree["seconds"], tree.get("until") or float("inf"))
    while lives():
        cancelled = (read_json(path) or {}).get("state") == JobState.CANCELLED.value
        if cancelled or time.time() > end:
            stop(tree["pid"], lives)
            change(path, state=(JobState.CANCELLED if cancelled else JobState.TIMEOUT).value, ended=time.time())
            return
        time.sleep(0.2)


def stop(pid: int, lives: Callable[[], bool]) -> None:
    """Ask the job to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        patience = time.monotonic() + GRACE_SECONDS
        while lives() and time.monotonic() < patience:
            time.sleep(0.1)


def take_over(folder: Path) -> None:
    """Wait for jobs that a killed runner has left behind; how they ended nobody knows but their runs."""
    for path in folder.glob("*.json"):
        tree = read_json(path) or {}
        if tree.get("state") == JobState.RUNNING.value:
            watch(path, lambda tree=tree: alive(tree))  # type: ignore[misc]
            change(path, state=JobState.FAILED.value, ended=time.time())


def change(path: Path, **values: Any) -> None:
    """Change a job's file; one that is gone stays gone."""
    if tree := read_json(path):
        write_json(path, {**tree, **values})


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except UserError as problem:
        say_error(problem)
        sys.exit(2)
