"""Processes below a program: all of them are found, told and ended, daemons too.

The runner adopts orphans (PR_SET_CHILD_SUBREAPER), and every process carries a mark in its environment. A guardian, a process in a session
of its own, ends the marked ones, and those that it has seen below the runner, where the runner itself is killed.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ganhpc.runs.trainer_processes import children

MARK = "GANHPC_MARK"
"""Variable with a random text, by which the processes of one program are known."""
_PR_SET_CHILD_SUBREAPER = 36
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox"}
_WRAPPERS = {"accelerate", "conda", "time", "xargs"}
"""Programs that pass no signal on either."""
_MAKES = {"make", "gmake"}
"""Programs that pass SIGTERM on, and no other signal."""
_INITS = {"tini", "dumb-init", "catatonit"}
"""Programs that wait for signals and pass them on. While they wait, the kernel does not tell that they block them."""
_MASKS = ("SigBlk", "SigIgn", "SigCgt")
"""Lines of /proc/PID/status: the signals that a process blocks, since another thread or a file descriptor of it takes them, those that it
ignores, and those that it has handlers of."""
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.5


def adopt_orphans() -> None:
    """Let orphans below this process become its children, instead of those of the machine's first process."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parents() -> dict[int, tuple[int, str]]:
    """The parent and the state of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                words = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                found[int(name)] = (int(words[1]), words[0].decode())
    return found


def below(root: int) -> dict[int, list[int]]:
    """The living processes below `root`, each with its children; `root` first."""
    children: dict[int, list[int]] = {}
    for pid, (parent, state) in _parents().items():
        if state not in ("Z", "X"):
            children.setdefault(parent, []).append(pid)
    found: dict[int, list[int]] = {}
    todo = [root]
    while todo:
        pid = todo.pop()
        if pid not in found:
            found[pid] = sorted(children.get(pid, []))
            todo += found[pid]
    return found


def _marked(mark: str) -> list[int]:
    """The living processes whose environment has the mark."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for pid, (_, state) in _parents().items():
        if state not in ("Z", "X") and pid != os.getpid():
            with suppress(OSError):
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
    return found


def listeners(root: int, number: int, through: int = 0) -> list[int]:
    """The processes that the signal `number` to the program `root` is for: itself, and the programs below one that passes it to nobody.

    `through`: levels of processes of ours that are above the program.
    """
    tree, found, todo = below(root), [], [root]
    for _ in range(through):
        todo = [child for pid in todo for child in tree.get(pid, [])]
    while todo:
        pid = todo.pop()
        found.append(pid)
        if _passes_nothing_on(pid, number):
            todo += tree.get(pid, [])
    return found


def _passes_nothing_on(pid: int, number: int) -> bool:
    """True if the process dies of the signal, or runs a shell or a wrapper: by its own name, or by the program that it runs, since a script
    (./run.sh) gives the process its name."""
    names = set()
    with suppress(OSError):
        names.add(Path(f"/proc/{pid}/comm").read_text(errors="replace").strip())
    with suppress(OSError):
        names.add(Path(os.readlink(f"/proc/{pid}/exe")).name)  # noqa: PTH115 (a path object would look for the file)
    silent = _SHELLS | _WRAPPERS | (_MAKES if number != signal.SIGTERM else set())
    if any(re.sub(r"[0-9.-]+$", "", name) in silent for name in names):
        return True
    return not names & _INITS and not _has_handler(pid, number)


def _has_handler(pid: int, number: int) -> bool:
    """True if the process has a handler of the signal, blocks it or ignores it; also where nobody says."""
    with suppress(OSError, ValueError, KeyError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        masks = {name: int(mask, 16) for name, _, mask in (line.partition(":") for line in lines) if name in _MASKS}
        return any(masks[name] >> (number - 1) & 1 for name in _MASKS)
    return True


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that still lives."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def wake(pids: list[int]) -> None:
    """Let those go on that were suspended (SIGSTOP): they would hear no other signal than SIGKILL."""
    parents = _parents()
    send([pid for pid in pids if parents.get(pid, (0, ""))[1] == "T"], signal.SIGCONT)


def reap(but: frozenset[int] = frozenset()) -> None:
    """Take the exit codes of adopted processes, which nobody asks for; not those of `but`."""
    with suppress(ChildProcessError):
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return  # none has ended: this is asked ten times a second, and a node has thousands of processes to look through
    for pid, (parent, state) in _parents().items():
        if parent == os.getpid() and state == "Z" and pid not in but:
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def end_all(mark: str, but: frozenset[int] = frozenset(), asked_for: frozenset[int] = frozenset()) -> int:
    """End every process below this one, and every marked one; returns how many there were. `but`: the guardian. `asked_for`: those whose exit
    codes are left to the caller."""
    ended: set[int] = set()
    patience = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < patience:
        living = {pid for pid in below(os.getpid()) if pid != os.getpid()} | set(_marked(mark))
        living -= but
        if not living:
            break
        ended |= living
        send(sorted(living), signal.SIGKILL)
        time.sleep(0.02)
        reap(but | asked_for)
    return len(ended)


class Guardian:
    """A small process that ends the marked ones once its starter is no more. Made before any thread, and before any lock is held."""

    def __init__(self, mark: str) -> None:
        read, self._write = os.pipe()
        root = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _guard(read, mark, root)
        os.close(read)

    def dismiss(self) -> None:
        """Let it look once more, and end."""
        os.close(self._write)
        with suppress(OSError):
            os.waitpid(self.pid, 0)


def _guard(read: int, mark: str, root: int) -> None:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, read)
        os.closerange(read + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 2**16 else 2**16)
        os.chdir("/")
        _end_known(*_known_at_the_end(read, root))
        end_all(mark)
    finally:
        os._exit(0)


def _known_at_the_end(read: int, root: int) -> tuple[set[Process], int]:
    """Wait until the pipe's other end is closed; returns the processes that were below `root` at the last looks, and its session: some may
    have emptied their environment, and with it the mark."""
    known: set[Process] = set()
    before = Process.of(root)
    while not select.select([read], [], [], _LOOK_SECONDS)[0]:
        known = {each for each in known if Process.of(each.pid) == each}
        known |= {found for pid in _children_below(root) if pid != os.getpid() and (found := Process.of(pid))}
    return known, before.session if before else 0


def _end_known(known: set[Process], but: int) -> None:
    """End those that still live, whatever is below them, and the rest of their sessions; not those of the session `but`."""
    sessions = {each.session for each in known} - {but, 0}
    for pid in _parents():
        now = Process.of(pid)
        if now and pid != os.getpid() and (now in known or now.session in sessions):
            send([*_children_below(pid), pid], signal.SIGKILL)


class Process(NamedTuple):
    """A process, told apart from a later one with its number."""

    pid: int
    begun: int
    session: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The living process with that number."""
        with suppress(OSError, IndexError, ValueError):
            words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if words[0] not in (b"Z", b"X"):
                return cls(pid, int(words[19]), int(words[3]))
        return None


def _children_below(root: int) -> list[int]:
    """The processes below `root`, by the kernel's lists of children: a look at these alone, not at all of the machine."""
    found, todo = [], children(root)
    while todo:
        found.append(todo.pop())
        todo += children(found[-1])
    return found
