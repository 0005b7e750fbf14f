"""Locks between processes, which the system frees when their holder dies.

`file_lock` is filelock's, for a lock file of its own that no one else looks at. filelock can't do three things that runs and queues need,
for which `flock` is called here: lock a folder itself (nothing is left in it, and it need not be writable for a new file), ask whether a
lock is held without making or writing its file (another person's run), and take a lock while readers ask for it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import must_be_no_link
from ganhpc.core.storage_errors import fault

_PAUSE_SECONDS = 0.05


class Held(UserError):
    """Another process holds the lock."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One process at a time in the block, for this folder: waits for the others. Raises StorageFault where there is no such folder."""
    handle = _open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait(handle, folder)
        yield
    finally:
        os.close(handle)


@contextmanager
def held(path: Path, *, tries: int = 1) -> Iterator[None]:
    """Hold the file `path`, which is made where it is missing and which `is_held` may ask for. Raises Held, and Damaged for a link.

    A reader that asks has the lock for an instant: with several `tries`, that is waited for.
    """
    must_be_no_link(path)
    handle = _open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        for number in range(tries):
            if number:
                time.sleep(_PAUSE_SECONDS)
            if _try(handle, path):
                break
        else:
            raise Held(f"another process holds {path}.")
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """True if a living process holds the file `path`. Asked with a shared lock and for reading only: it may be another person's.
    What a link leads to is no lock of ours."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | _SAFELY)
    except OSError:
        return False
    try:
        return not _take(handle, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nobody holds one there
        return False
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path, seconds: float) -> Iterator[None]:
    """One process at a time in the block, by a lock file of its own; waits for `seconds`, below 0 for ever. Raises Held, StorageFault."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise Held(f"another process holds {path}.") from None
    except OSError as error:
        raise fault(error, path) from error
    try:
        yield
    finally:
        lock.release()


# A fifo or a terminal instead of the file neither blocks nor takes over; no child inherits the lock.
_SAFELY = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | _SAFELY, 0o644)
    except OSError as error:
        raise fault(error, path) from error


def _wait(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # a file system without locks, or one that has gone
        raise fault(error, path, "lock") from error


def _try(handle: int, path: Path) -> bool:
    try:
        return _take(handle, fcntl.LOCK_EX)
    except OSError as error:
        raise fault(error, path, "lock") from error


def _take(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
