"""Daemons that are started, found again after any crash, and surely ended."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.clusters.machine import ClusterError, wait_until

MARK = "GANHPC_CLUSTER"  # in the environment of every daemon we start, and so of their children


_started: list[subprocess.Popen[bytes]] = []  # kept so that dead ones are collected and leave no zombies


def start(name: str, cmd: Sequence[str | Path], log: Path, user: str = "root", **env: str) -> None:
    """Start a daemon in a session of its own, marked so that it and its children are found again."""
    who = pwd.getpwnam(user)
    with log.open("ab") as out:
        daemon = subprocess.Popen(
            [str(word) for word in cmd],
            user=who.pw_uid,
            group=who.pw_gid,
            extra_groups=os.getgrouplist(who.pw_name, who.pw_gid),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": who.pw_dir, "LANG": "C", MARK: name} | env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(daemon)


class Process:
    """One live process as /proc shows it; every field is empty once it has gone."""

    def __init__(self, pid: int):
        self.pid, folder = pid, Path(f"/proc/{pid}")
        self.env: dict[str, str] = {}
        self.exe = self.cwd = self.command = ""
        self.uid = self.parent = -1
        with contextlib.suppress(OSError):
            self.uid = folder.stat().st_uid
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            self.alive, self.parent = stat[0] not in "ZX", int(stat[1])
            self.exe, self.cwd = str((folder / "exe").readlink()), str((folder / "cwd").readlink())
            self.command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            self.env = dict(word.split("=", 1) for word in words if "=" in word)

    alive = False


def processes() -> list[Process]:
    found = [Process(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for process in found if process.alive]


def belonging(name: str, also: Callable[[Process], bool]) -> list[Process]:
    """All processes of a cluster: marked ones, those `also` recognises, and the descendants of either."""
    everyone = processes()
    ours = {p.pid for p in everyone if p.env.get(MARK) == name or also(p)}
    while grown := {p.pid for p in everyone if p.parent in ours} - ours:
        ours |= grown
    keep = {os.getpid(), *ancestors(everyone)}
    return [p for p in everyone if p.pid in ours - keep]


def ancestors(everyone: Sequence[Process]) -> Iterator[int]:
    """The parents of this very process, which must never be ended."""
    parents, pid = {p.pid: p.parent for p in everyone}, os.getpid()
    while pid := parents.get(pid, 0):
        yield pid


def end(name: str, also: Callable[[Process], bool], grace: float = 0) -> None:
    """End every process of a cluster: TERM and `grace` seconds first if asked, then KILL until none is left."""
    left = belonging(name, also)
    if grace:
        send(left, signal.SIGTERM)
        with contextlib.suppress(ClusterError):
            wait_until(lambda: not belonging(name, also), grace, "a quiet end")
    limit = time.monotonic() + 60
    while left := belonging(name, also):  # again and again: a process may have forked since it was listed
        if time.monotonic() > limit:
            raise ClusterError(f"processes {[p.pid for p in left]} of {name} can't be ended")
        send(left, signal.SIGKILL)
        time.sleep(0.05)
    collect()


def send(targets: Iterable[Process], number: int) -> None:
    for process in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def collect() -> None:
    """Take note of our own daemons that have ended."""
    _started[:] = [daemon for daemon in _started if daemon.poll() is None]
