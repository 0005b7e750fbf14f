"""Faults at the k-th file operation of a process. Python loads this file by itself where its folder is on PYTHONPATH.

GANHPC_FAULT holds JSON: {"roots": [folder, ..], "program": text, "at": k, "act": act, "log": file, "fired": file}. Operations on files
below `roots` are counted in processes whose command line holds `program`. At the k-th the process is killed before it ("kill"), behind
it ("after") or with half of a write done ("half"); or the operation fails with an errno ("ENOSPC"), with "ENOSPC+" it and all that
follow, as on a disk that is full. Operations are appended to `log`; `fired` is made by the one process that meets the fault.
Operations that only read are counted for an errno alone ("reads": true): to be killed there is to be killed before the next write.
"""

# ruff: noqa: PTH100, PTH115 (os itself is what is counted here)
from __future__ import annotations

import builtins
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

VARIABLE = "GANHPC_FAULT"
LOOK = "look"
"""The name of every operation that only reads."""
_real_open, _real_os_open = io.open, os.open
_write, _kill = os.write, os.kill


class Fault:
    """The fault of this process, and its count."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.roots = [os.path.abspath(root) for root in tree["roots"]]
        self.at, self.act = int(tree["at"]), str(tree["act"])
        self.reads = bool(tree.get("reads"))
        self.log, self.fired = tree.get("log"), tree["fired"]
        self.count = 0

    def meets(self, name: str, path: Any) -> str:
        """Count an operation on `path`; returns the act where it is this one's turn, else an empty text."""
        where = self.ours(path)
        if where is None:
            return ""
        self.count += 1
        if self.log:
            _append(self.log, f"{self.count} {name} {where!a}\n")
        sticky = self.act.endswith("+")
        if self.at and (self.count == self.at or (sticky and self.count > self.at)) and (sticky or self._is_first()):
            _append(self.fired, f"{name} {where!a}\n")
            return self.act.rstrip("+")
        return ""

    def ours(self, path: Any) -> str | None:
        """The whole path of a file below the roots, which may be given by its number; None for any other."""
        try:
            path = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path
            text = os.path.abspath(os.fsdecode(path))
        except (OSError, TypeError, ValueError):
            return None
        return text if any(text == root or text.startswith(root + os.sep) for root in self.roots) else None

    def _is_first(self) -> bool:
        try:
            os.close(_real_os_open(self.fired, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True


def _append(path: str, line: str) -> None:
    handle = _real_os_open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _write(handle, line.encode())
    os.close(handle)


def _die() -> None:
    _kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def _error(name: str, path: Any) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), path if isinstance(path, str | bytes) else None)


def _around(fault: Fault, name: str, real: Callable[..., Any], place: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, counted; `place` gives the path of a call, or None where the call does not count."""

    def counted(*args: Any, **kwargs: Any) -> Any:
        path = place(*args, **kwargs)
        act = fault.meets(name, path) if path is not None else ""
        if not act:
            return real(*args, **kwargs)
        if act == "after":
            real(*args, **kwargs)
        elif act == "half" and name in ("write", "pwrite"):
            data = memoryview(args[1])
            real(args[0], data[: len(data) // 2], *args[2:])
        if act in ("kill", "after", "half"):
            _die()
        raise _error(act, path)

    return counted


def _first(path: Any, *_: Any, **__: Any) -> Any:
    return path


def _second(_: Any, path: Any, *__: Any, **___: Any) -> Any:
    return path


def install(fault: Fault) -> None:
    """Count from now on."""
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    to_write = _around(fault, "open", os.open, _first)
    to_read = _around(fault, LOOK, os.open, _first) if fault.reads else os.open
    os.open = lambda path, flags, *more, **named: (to_write if flags & writing else to_read)(
        path, flags, *more, **named
    )  # type: ignore[assignment]
    for name in (
        "write",
        "pwrite",
        "fsync",
        "fdatasync",
        "ftruncate",
        "truncate",
        "unlink",
        "remove",
        "mkdir",
        "rmdir",
        "utime",
        "chmod",
    ):
        setattr(os, name, _around(fault, name, getattr(os, name), _first))
    for name in ("rename", "replace", "link", "symlink"):
        setattr(os, name, _around(fault, name, getattr(os, name), _second))
    if fault.reads:
        for name in ("scandir", "listdir"):
            setattr(os, name, _around(fault, LOOK, getattr(os, name), lambda path=".", *_: path))
    _count_files(fault)


def _count_files(fault: Fault) -> None:
    """Let io.open give files whose every write to the system is counted."""

    class Raw(io.FileIO):
        where: Any = None

        def write(self, data: Any) -> Any:
            act = fault.meets("write", self.where)
            if act in ("after", "half"):
                whole = memoryview(data).cast("B")
                super().write(whole if act == "after" else whole[: len(whole) // 2])
            if act in ("kill", "after", "half"):
                _die()
            if act:
                raise _error(act, self.where)
            return super().write(data)

    def counting(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
                 closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        writes = bool(set(mode) & set("wax+"))
        if not (writes or fault.reads) or fault.ours(file) is None or opener is not None:
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        where = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else file
        act = "" if isinstance(file, int) else fault.meets("open" if writes else LOOK, where)
        if act == "after":
            _real_open(file, mode.replace("t", "")).close()
        if act in ("kill", "half", "after"):
            _die()
        if act:
            raise _error(act, os.fspath(where))
        if not writes:
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd)
        raw = Raw(file, mode.replace("t", "").replace("b", ""), closefd=closefd)
        raw.where = where
        if buffering == 0:
            return raw
        file_of = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        if "b" in mode:
            return file_of
        text = io.TextIOWrapper(file_of, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
        text.mode = mode  # type: ignore[misc]
        return text

    io.open = builtins.open = counting  # type: ignore[assignment]


def start(program: str) -> Fault | None:
    """Install the fault that the environment asks for in this process, whose command line is `program`."""
    text = os.environ.get(VARIABLE)
    tree = json.loads(text) if text else None
    if not tree or tree["program"] not in program:
        return None
    fault = Fault(tree)
    install(fault)
    return fault


start(" ".join(sys.orig_argv))
