"""Names of the jobs and processes that own files of a run, so that no deadline and no stop request holds after its owner."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from ganhpc.core.digests import short_digest
from ganhpc.core.process_numbers import HIDDEN, born

OWNER = "GANHPC_OWNER"
"""Environment variable in which whoever starts a trainer gives its own name to it."""

_PROCESS = re.compile(r"process ([0-9]{1,10}) born ([0-9]{1,20}) in boot (\S+) on (\S+?)(?: \((\w+)\))?")


def process(pid: int) -> str:
    """The name of a process of this machine; no other process has it, not even after a restart of the machine."""
    installed = f" ({machine()})" if machine() else ""
    return f"process {pid} born {born(pid) or 0} in boot {_boot()}/{numbering()} on {os.uname().nodename}{installed}"


def machine() -> str:
    """A short name of this installation beside its host's name, which two machines may share; empty where it has none."""
    try:
        return short_digest(Path("/etc/machine-id").read_bytes().strip() or b"\0", 8)
    except OSError:
        return ""


def is_here(host: str | None, installation: str | None) -> bool:
    """True if these are this machine's; a file of an older version, or a machine without, tells no installation."""
    return host == os.uname().nodename and (not installation or not machine() or installation == machine())


def mine() -> str:
    """The name of whoever started this trainer; where it gave none, of the trainer itself, or of the torchrun above it."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return os.environ.get(OWNER) or process(os.getpid() if alone else os.getppid())


def is_over(name: str) -> bool:
    """True if the owner is known to exist no more. Of jobs, and of processes on other machines or in other containers, nothing is known."""
    found = _PROCESS.fullmatch(name)
    if found is None or not is_here(found[4], found[5]):
        return False
    boot, _, its_numbering = found[3].partition("/")
    if (now := _boot()) == _UNKNOWN:  # /proc can't be read, or too many files are open: nothing is known
        return False
    if boot != now:
        return True
    # Containers of one machine share its boot, and often the host's name: a number means nothing in another's numbering. Of a number that
    # /proc hides, nobody can say whose it is by now.
    return its_numbering == numbering() and born(int(found[1])) not in (found[2], HIDDEN)


def is_alive_here(name: str) -> bool:
    """True if the name is that of a process which lives where this one can see it (/proc may hide another user's)."""
    found = _PROCESS.fullmatch(name)
    if found is None or not is_here(found[4], found[5]):
        return False
    return found[3] == f"{_boot()}/{numbering()}" and found[2] == born(int(found[1]))


def command_of(pid: int) -> bytes:
    """The words of a process's command line, a zero byte after each. Raises OSError where there is no such process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def began() -> float:
    """When this process began, in seconds since 1970: before Python started, which may take a while on a busy frontend."""
    now, since_boot = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = born(os.getpid()) or ""
    age = since_boot - int(ticks if ticks.isdecimal() else 0) / os.sysconf("SC_CLK_TCK")
    return now - age if 0 < age < since_boot else now


_UNKNOWN = "unknown"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _UNKNOWN


def numbering() -> str:
    """The namespace in which this process's numbers of processes count."""
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return _UNKNOWN
