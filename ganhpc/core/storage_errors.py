"""Errors of file systems as sentences, each with whether it may pass; and the half-written files that dead processes leave."""

from __future__ import annotations

import errno
import math
import os
import re
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ganhpc.core.errors import BusyError, StorageFault, UserError
from ganhpc.core.process_numbers import exists

T = TypeVar("T")
PAUSES = (1.0, 60.0)
"""The first and the longest pause before work that a passing fault has kept from its end is tried again, seconds."""
_APART_SECONDS = 10.0
"""Two faults with more between the end of a pause and the second have nothing to do with one another."""

_FREE = "free some space"
_ELSEWHERE = "choose another folder with --runs DIR"
_WAIT = "wait until it is back"

_FAULTS: dict[int, tuple[bool, str]] = {
    errno.ENOSPC: (True, f"the disk is full: {_FREE}"),
    errno.EDQUOT: (True, f"your disk quota is used up: {_FREE}"),
    errno.EIO: (True, f"the device reports an input/output error: wait a while or {_ELSEWHERE}"),
    errno.ESTALE: (True, f"the network file system lost the file: {_WAIT}"),
    errno.ETIMEDOUT: (True, f"the file server does not answer: {_WAIT}"),
    errno.ENOTCONN: (True, f"the file system is not connected: {_WAIT}"),
    errno.ECONNRESET: (True, f"the file server broke the connection: {_WAIT}"),
    errno.ECONNREFUSED: (True, f"the file server refuses connections: {_WAIT}"),
    errno.ECONNABORTED: (True, f"the file server broke the connection: {_WAIT}"),
    errno.EHOSTDOWN: (True, f"the file server is down: {_WAIT}"),
    errno.EHOSTUNREACH: (True, f"the file server can't be reached: {_WAIT}"),
    errno.ENETUNREACH: (True, f"the file server can't be reached: {_WAIT}"),
    errno.ENETDOWN: (True, f"the network is down: {_WAIT}"),
    errno.ESHUTDOWN: (True, f"the file server broke the connection: {_WAIT}"),
    errno.EREMOTEIO: (True, f"the file server reports an input/output error: {_WAIT}"),
    errno.ENXIO: (True, f"the device is not there: {_WAIT}"),
    errno.ENODEV: (True, f"the device is not there: {_WAIT}"),
    errno.EBUSY: (True, "the device is busy: wait a while"),
    errno.EAGAIN: (True, "the file system is busy: wait a while"),
    errno.EINTR: (True, "the file system was interrupted: wait a while"),
    errno.ETXTBSY: (True, "another program holds the file: wait a while"),
    errno.ENOLCK: (True, "the file system has no locks left: wait a while"),
    errno.ENOMEM: (True, "the machine has too little memory: wait until other programs have ended"),
    errno.ENFILE: (True, "this machine has too many open files: wait until other programs have ended"),
    errno.EMFILE: (True, "this process may not open more files: raise the limit (ulimit -n)"),
    errno.EROFS: (True, f"the file system is read-only: wait until it can be written again or {_ELSEWHERE}"),
    errno.ENOENT: (True, "the folder is gone: put it back, or launch again for a new one"),
    errno.EFBIG: (False, "the file would be larger than this system allows: raise the limit (ulimit -f)"),
    errno.EACCES: (False, f"permission is denied: {_ELSEWHERE}"),
    errno.EPERM: (False, f"permission is denied: {_ELSEWHERE}"),
    errno.ENAMETOOLONG: (False, "the name is longer than the file system takes: choose a shorter one"),
    errno.ELOOP: (False, f"its links lead in a circle: {_ELSEWHERE}"),
    errno.EISDIR: (False, "a folder is in the way: move it away"),
    errno.ENOTDIR: (False, f"a file is in the way where a folder must be: move it away or {_ELSEWHERE}"),
    errno.EEXIST: (False, "something of that name is in the way: move it away"),
    errno.EXDEV: (False, f"its folder lies on two file systems: {_ELSEWHERE}"),
    errno.EMLINK: (False, f"the file system takes no more links: {_ELSEWHERE}"),
    errno.EINVAL: (False, f"the file system does not take it: {_ELSEWHERE}"),
    errno.EOPNOTSUPP: (False, f"the file system can't do that: {_ELSEWHERE}"),
}
"""Meaning of each error of the system: whether the same work may succeed later, and a clause with the way on."""


def fault(
    error: OSError, path: Path | str | None = None, doing: str = "write", elsewhere: str = _ELSEWHERE
) -> StorageFault:
    """The error that says in a sentence what `error` means for `path` (by default the file that it names itself); `elsewhere`: the way to
    another folder."""
    number = error.errno or 0
    name = errno.errorcode.get(number, type(error).__name__)
    words = error.strerror or str(error) or "no reason given"
    passing, clause = _FAULTS.get(number, (False, f"{words} ({name}): {_ELSEWHERE}"))
    clause = clause.replace(_ELSEWHERE, elsewhere)
    what = path if path is not None else error.filename
    what = os.fsdecode(what) if isinstance(what, str | bytes | os.PathLike) else "a file"
    return StorageFault(
        f"can't {doing} {what}: {clause}, then type the same command again; earlier files are intact.",
        number=number,
        passing=passing,
    )


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a full disk, and of a quota that is used up."""
_FULL_BYTES = 2**20
"""A file system with less room than this is taken for full."""


def is_full(folder: Path) -> bool:
    """True if the file system of `folder` has no room; nothing is known of a quota."""
    with suppress(OSError):
        room = os.statvfs(folder)
        return room.f_bavail * room.f_frsize < _FULL_BYTES
    return False


def with_retries(work: Callable[[], T], seconds: float, say: Callable[[UserError], object]) -> T:
    """Do `work`; where a fault that may pass keeps it from its end (a full disk, or something that another process holds), `say` that and
    do it again after a pause, which doubles up to a minute.

    Raises any other error, and one that has lasted for `seconds`.
    """
    first = last = -math.inf
    pause = 0.0
    while True:
        try:
            return work()
        except (StorageFault, BusyError) as error:
            now = time.monotonic()
            if now - last > _APART_SECONDS:  # all was well since the one before
                first, pause = now, PAUSES[0]
            if (isinstance(error, StorageFault) and not error.passing) or now - first >= seconds:
                raise
            say(error)
            time.sleep(min(pause, first + seconds - now))
            last, pause = time.monotonic(), min(2 * pause, PAUSES[1])


def remove_leftovers(folder: Path, *, mine: bool = False) -> int:
    """Remove the half-written files that processes which are dead left in `folder`. Returns how many there were.

    `mine`: nobody else writes there, as the caller holds its lock. Otherwise a file stays while its writer may still live: a process
    of this machine does as long as its number is in use, one of another machine for a day. No error of the file system is raised.
    """
    removed = 0
    try:
        with os.scandir(folder) as entries:
            found = [(entry.path, match) for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    except OSError:
        return 0
    for path, match in found:
        with suppress(OSError):
            if mine or _writer_is_dead(path, match["host"], int(match["pid"])):
                Path(path).unlink()
                removed += 1
    return removed


def remove_leftovers_once(folder: Path) -> None:
    """Remove what dead processes left half-written in `folder`, at this process's first write into it."""
    key = (os.getpid(), os.fspath(folder))
    if key not in _cleared:
        _cleared.add(key)
        remove_leftovers(folder)


def temporary_name(name: str) -> str:
    """A name for the file that is to take the place of `name`: it tells its writer."""
    return f".{name}.{_host()}.{os.getpid()}.{os.urandom(3).hex()}.tmp"


def _writer_is_dead(path: str, host: str | None, pid: int) -> bool:
    if host == _host():  # whatever the clock of the file server says
        return not exists(pid)
    return time.time() - Path(path).stat().st_mtime > _LEFTOVER_SECONDS


def _host() -> str:
    """A short name, for names of files, of this machine and of its numbering of processes: containers have numberings of their own."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (the link leads nowhere)
    except OSError:
        numbering = ""
    return f"{zlib.crc32(os.fsencode(os.uname().nodename) + numbering.encode()):08x}"


_cleared: set[tuple[int, str]] = set()
"""Folders in which a process has removed the leftovers of others."""


_LEFTOVER_SECONDS = 86_400.0
"""A half-written file of another machine is taken for abandoned after this long."""
_TEMPORARY = re.compile(r"\..+?(?:\.(?P<host>[0-9a-f]{8}))?\.(?P<pid>\d{1,9})\.[0-9a-f]{6}\.tmp", re.DOTALL)
