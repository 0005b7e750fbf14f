"""The jobs of this machine's queue, one file each: read with their types checked, changed under one lock.

A file that is none of ours, or damaged, is left where it is and is no job. A job is noted as running before its process begins; the
process makes a file of its own, which can be made once only, before it does anything: so a runner that is killed at any moment can be
followed by another, and no job runs twice.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ganhpc.core.errors import BusyError, StorageFault, UserError
from ganhpc.core.files import Damaged, raise_passing, read_json, read_text, storage_errors, write_json
from ganhpc.core.locks import Held, file_lock
from ganhpc.core.process_numbers import born
from ganhpc.core.storage_errors import fault
from ganhpc.launch.schedulers.base import JobState
from ganhpc.runs import file_owner
from ganhpc.runs.run_files import Check, is_amount, is_count, is_moment, is_text

_LOCK = "queue.lock"
"""Held for an instant by whoever adds, changes or cancels a job."""
PATIENCE_SECONDS = 30.0
_NAME = re.compile(r"([1-9][0-9]{0,8})\.json")
_LARGEST = 10**9 - 1
"""The largest number that `_NAME` takes."""

# The first argument is the file that the process makes: with noclobber, only where nobody has made it.
WRAPPER = 'set -C; read -ra stat < /proc/$$/stat; echo "$$ ${stat[21]}" > "$0" || exit 97; [ -f "$1" ] || exit 126; exec bash "$1"'
"""Begins a job: first its own note that it has begun, with its process and when that was born, then the script; a fifo in its place would
be waited for."""


@dataclass(frozen=True)
class QueuedJob:
    """One job as its file has it."""

    path: Path
    state: JobState
    script: str
    tag: str
    seconds: float
    not_before: float | None = None
    until: float | None = None
    started: float | None = None
    started_clock: float | None = None
    """The machine's own clock when it started, which nobody sets; counts in `boot` only."""
    boot: str | None = None
    numbering: str | None = None
    """The namespace in which its process's number counts; jobs of older versions lack it."""
    attempt: str | None = None
    pid: int | None = None
    born: str | None = None
    ended: float | None = None
    exit_code: int | None = None
    tree: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return int(self.path.stem)

    @property
    def claim(self) -> Path:
        """The file that the job's process makes before anything else."""
        return self.path.with_name(f"{self.path.stem}-{self.attempt}.started")

    @property
    def seconds_left(self) -> float:
        """Seconds of a started job until the end of its time: by the machine's own clock, and by the edge that it must keep."""
        left = self.seconds
        if self.started_clock is not None and self.boot == boot():
            left = self.started_clock + self.seconds - clock()
        elif self.started is not None:
            left = self.started + self.seconds - time.time()
        return min(left, self.until - time.time()) if self.until else left

    @property
    def is_here(self) -> bool:
        """True if its process's number counts here: one of another container on the same machine is another process's here."""
        return self.numbering in (None, file_owner.numbering())

    @property
    def alive(self) -> bool:
        """True if the process of a running job still is that process: its number, its birth, and the start of the machine that both count from.
        Of one in another container nobody knows, and it may live until the end of its time."""
        if self.pid is None or (self.boot is not None and boot() not in (self.boot, _UNKNOWN)):
            return False
        if not self.is_here:
            return self.seconds_left > 0
        return bool(self.born) and born(self.pid) == self.born


def clock() -> float:
    """Seconds since the machine started, those that it slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """The name of the present start of the machine."""
    with suppress(OSError, Damaged):
        return read_text("/proc/sys/kernel/random/boot_id").strip()
    return _UNKNOWN


_UNKNOWN = "unknown"


# -- reading ------------------------------------------------------------------------------------------------------------


def _is_path(value: Any) -> bool:
    """True if the system takes the text for a path: no null character, no half of one."""
    try:
        return is_text(value) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_attempt(value: Any) -> bool:
    """True if the text may stand in a file's name, as `begin` makes it."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{1,32}", value) is not None


_NEEDED: Mapping[str, Check] = {"script": _is_path, "tag": is_text, "seconds": is_amount}
_KNOWN: Mapping[str, Check] = {
    "not_before": is_moment,
    "until": is_moment,
    "started": is_moment,
    "started_clock": is_amount,
    "boot": is_text,
    "numbering": is_text,
    "attempt": _is_attempt,
    "pid": lambda value: is_count(value) and 1 < value < 2**31,
    "born": is_text,
    "ended": is_moment,
    "exit_code": lambda value: type(value) is int,
}


def read(path: Path) -> QueuedJob | None:
    """The job in the file `path`; None where it is none, is damaged or has gone. Raises StorageFault for a fault that may pass: a job that is
    left out would be submitted twice."""
    try:
        tree = read_json(path)
    except Damaged as error:
        raise_passing(error)
        return None
    if tree is None or not all(check(tree.get(key)) for key, check in _NEEDED.items()):
        return None
    try:
        state = JobState(tree.get("state"))
    except ValueError:
        return None
    if state is JobState.RUNNING and not is_moment(tree.get("started")):
        return None
    known = {key: tree[key] for key, check in _KNOWN.items() if tree.get(key) is not None and check(tree[key])}
    return QueuedJob(path, state, tree["script"], tree["tag"], tree["seconds"], **known, tree=tree)


def files(folder: Path) -> list[Path]:
    """The files that are named like a job's, in the order of their numbers. Raises StorageFault where the folder can't be listed: a new job
    would take the place of the first one."""
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise fault(error, folder, doing="read") from error
    return sorted((folder / name for name in names), key=lambda path: int(path.stem))


def jobs(folder: Path) -> dict[int, QueuedJob]:
    """Every job of the queue by its number, in order."""
    return {job.number: job for path in files(folder) if (job := read(path))}


# -- changing -----------------------------------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time reads and writes the queue. Raises BusyError where another does so for long."""
    try:
        with file_lock(folder / _LOCK, PATIENCE_SECONDS):
            yield
    except Held:
        raise BusyError(
            f"another process has held {folder / _LOCK} for {PATIENCE_SECONDS:.0f} s: type the command again."
        ) from None


def add(folder: Path, tree: Mapping[str, Any]) -> int:
    """A new job behind all others; returns its number."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder):
        number = 1 + max((int(path.stem) for path in files(folder)), default=0)
        if number > _LARGEST:  # the last number is a foreign file's: the next one behind the jobs themselves
            number = 1 + max(jobs(folder), default=0)
            while os.path.lexists(folder / f"{number}.json"):
                number += 1
        if number > _LARGEST:
            raise UserError(
                f"{folder} has a job with the last number that there is, {_LARGEST}: remove its file once it has ended."
            )
        write_json(folder / f"{number}.json", {**tree, "state": JobState.WAITING.value})
    return number


def change(job: QueuedJob, only_in: JobState, **values: Any) -> QueuedJob | None:
    """Change the job's file where it still is in the state `only_in`; returns the job as it is then, None where it is not changed."""
    with _locked(job.path.parent):
        now = read(job.path)
        if now is None or now.state is not only_in:
            return None
        write_json(job.path, {**now.tree, **values})
        return read(job.path)


def begin(job: QueuedJob) -> QueuedJob | None:
    """Note that the job runs, before it does; None where it was cancelled meanwhile."""
    moment = {"started": time.time(), "started_clock": clock(), "boot": boot(), "numbering": file_owner.numbering()}
    attempt = secrets.token_hex(4)
    return change(job, JobState.WAITING, state=JobState.RUNNING.value, pid=None, born=None, attempt=attempt, **moment)


def began(job: QueuedJob) -> QueuedJob | None:
    """A job noted as running, with the process that runs it by its own note; None where none has begun.

    Whoever asks makes sure of that: from then on, no process of this attempt can begin.
    """
    if job.pid is not None or job.attempt is None:
        return job
    with storage_errors(job.claim):
        try:
            job.claim.touch(exist_ok=False)
            return None
        except FileExistsError:
            pass
    words = _claimed(job)
    if not words:  # an earlier runner has made sure, and was killed before it said so
        return None
    pid, since = (int(words[0]), words[1]) if len(words) == 2 and words[0].isdecimal() else (None, None)
    with suppress(StorageFault, BusyError):  # its own note stays
        change(job, JobState.RUNNING, pid=pid, born=since)
    return replace(job, pid=pid, born=since)


def has_begun(job: QueuedJob) -> bool:
    """True if the process of this attempt has noted that it begins."""
    return bool(_claimed(job))


def _claimed(job: QueuedJob) -> list[str]:
    """The words of the process's own note; none where there is none, or something else in its place. Raises StorageFault for a fault that may
    pass: without its note the job would begin a second time."""
    try:
        return read_text(job.claim).split()
    except FileNotFoundError:
        return []
    except Damaged as error:
        raise_passing(error)
        return []


def forget(job: QueuedJob) -> None:
    """Remove the file of a job, and the notes of its attempts."""
    for path in (job.path, *job.path.parent.glob(f"{job.number}-*.started")):
        with suppress(OSError):
            path.unlink(missing_ok=True)
