"""Python starts with this where PYTHONPATH names its folder: one function of a program does something else for a test when it is called.

HOOK_AT: "module:function" or "module:Class.method"; HOOK_DO: names of _ACTIONS below or signals, with commas; HOOK_RANK: the only rank that does so;
HOOK_AFTER: so many calls go through first; HOOK_MARK: a file that is made once the function does something else; HOOK_WORD: only in processes
with this text in their command line.
"""

import errno
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path


def _wait() -> None:
    """As work of a library that takes two minutes and hears nothing."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        time.sleep(5)


def _work() -> None:
    """As work of six seconds that can't be interrupted without a loss."""
    time.sleep(6)


def _hold() -> None:
    """Until the test has made a file beside HOOK_MARK: a training goes no further before that, on however quick a machine."""
    end = time.monotonic() + 240
    while time.monotonic() < end and not Path(os.environ["HOOK_MARK"] + ".go").exists():
        time.sleep(0.02)


def _late() -> None:
    """After the others, which wait for this process then."""
    time.sleep(2)


def _refuse() -> None:
    from ganhpc.core.errors import UserError

    raise UserError("this rank can't: the hook refuses.")


def _crash() -> None:
    raise RuntimeError("the hook crashes")


def _leave() -> None:
    """As a library that ends the process without a word."""
    os._exit(5)


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_ACTIONS = {
    "wait": _wait,
    "work": _work,
    "hold": _hold,
    "late": _late,
    "refuse": _refuse,
    "crash": _crash,
    "leave": _leave,
    "full": _full,
}


def _do(words: str) -> None:
    """Actions of _ACTIONS, one after the other; or, by a name such as SIGTERM, a signal to this process."""
    for word in words.split(","):
        if word.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[word])
        else:
            _ACTIONS[word]()


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.busy = module, name, False

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        del path, target
        if fullname != self.module or self.busy:
            return None
        self.busy = True
        spec = importlib.util.find_spec(fullname)
        self.busy = False
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            execute(module)
            _wrap(module, self.name)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _wrap(module, name):  # type: ignore[no-untyped-def]
    owner = module
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    real, rank = getattr(owner, last), os.environ.get("RANK", "0")
    through = int(os.environ.get("HOOK_AFTER", "0"))

    def hooked(*args, **named):  # type: ignore[no-untyped-def]
        nonlocal through
        through -= 1
        if through < 0 and rank == os.environ.get("HOOK_RANK", rank):
            Path(os.environ["HOOK_MARK"]).touch()
            _do(os.environ["HOOK_DO"])
        return real(*args, **named)

    setattr(owner, last, hooked)


if os.environ.get("HOOK_AT") and any(os.environ.get("HOOK_WORD", "") in word for word in sys.orig_argv):
    sys.meta_path.insert(0, _Finder(*os.environ["HOOK_AT"].split(":")))
