"""The thread of a trainer that hears stop requests while the main thread is busy, and ends the process where it does not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import NoReturn

_LOOK_SECONDS = 0.2


class Doing(Enum):
    """Activities of the main thread at a stop; each with the seconds that it gets to end by itself."""

    STARTING = 0.0
    """Imports, data, the choice of a network: the process is left at once, as an import that is interrupted can't be made again."""
    NOTHING_TO_LOSE = 2.0
    """Everything that was trained is saved, or nothing is trained yet: interrupted at once."""
    EVALUATION = 5.0
    """It can be interrupted, and a checkpoint is then made."""
    STEPS = 10.0
    """The loop hears the request itself, at the end of a step."""
    SAVING = 60.0


class Arrivals:
    """Signals as they arrive, also while the main thread is inside a library, where no handler of Python's can run."""

    def __init__(self) -> None:
        """In the main thread, once the handlers are set."""
        self._read, write = os.pipe()
        for handle in (self._read, write):
            os.set_blocking(handle, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def take(self) -> list[int]:
        """The numbers of those that arrived since the last look, of signals that have a handler."""
        try:
            return list(os.read(self._read, 4096))
        except BlockingIOError:
            return []


class Interrupted(BaseException):
    """Raised in the main thread where it can be interrupted. No `except Exception` holds it up."""


class StopWatch(threading.Thread):
    """Looks for a stop request; interrupts the main thread where that loses nothing, and ends the process where it does not end."""

    def __init__(
        self, asked: Callable[[], str | None], doing: Callable[[], Doing], leave: Callable[[str], NoReturn]
    ) -> None:
        """`asked`: the reason of a stop request; `doing`: what the main thread is at; `leave`: says what is kept, and ends the process."""
        super().__init__(name="stop watch", daemon=True)
        self._asked, self._doing, self._leave = asked, doing, leave
        self._over = threading.Event()
        self._interrupting = False
        self.reason: str | None = None
        self.hurry = False
        """A second request has come: nothing but a save is waited for any more, and that for a few seconds only."""

    def run(self) -> None:
        while self.reason is None:
            if self._over.wait(_LOOK_SECONDS):
                return
            self.reason = self._asked()
        since = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS if self._interrupting else 0):
            doing = self._doing()
            if not self._interrupting and doing in (Doing.NOTHING_TO_LOSE, Doing.EVALUATION):
                since, self._interrupting = time.monotonic(), True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            patience = min(doing.value, 3.0) if self.hurry else doing.value
            if time.monotonic() - since > patience and not self._over.is_set():
                self._leave(self.reason)
            time.sleep(_LOOK_SECONDS / 2)

    def note_signal(self) -> None:
        """In the main thread's signal handler: raise Interrupted where this watch has sent the signal."""
        if self._interrupting and not self._over.is_set():
            if self._doing() in (Doing.NOTHING_TO_LOSE, Doing.EVALUATION):
                raise Interrupted
        elif self.reason is not None:
            self.hurry = True

    def end(self) -> None:
        """The main thread ends by itself: no more interruptions."""
        self._over.set()


def leave_now(code: int) -> NoReturn:
    """End this process although its main thread does not answer."""
    os._exit(code)
