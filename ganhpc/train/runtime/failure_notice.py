"""Notice of a failure to the processes of a run on other machines, through the store where all of them have met.

A process that fails closes its connections, and those on other machines see no more than that: torchrun ends those of its own machine only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import State

if TYPE_CHECKING:
    from torch.distributed import TCPStore

_KEY = "ganhpc/failure"
_ANSWER = timedelta(seconds=2)
"""Longest wait for the store: the machine that keeps it may be gone."""


def give(words: LastWords, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell the others of this process's failure, unless another one has told of its own before. Returns whether there is a store on which
    they can read it. No error is raised. `environ`: torchrun's variables, which torchrun itself has not."""
    with suppress(Exception):
        if store := _store(environ):
            store.compare_set(_KEY, "", json.dumps(asdict(words)))  # an empty text means: where there is none
            return True
    return False


def found(patience: float = 0.0, given_up: Callable[[], bool] = lambda: False) -> LastWords | None:
    """The words of the first process that failed; None where none has told of it, or the store does not answer.

    `patience`: seconds to wait for them on several machines, unless `given_up`. Of a process that was killed, its torchrun tells a moment later.
    """
    with suppress(Exception):
        store, end = _store(os.environ), time.monotonic() + patience
        while store and not store.check([_KEY]) and time.monotonic() < end and not given_up():
            time.sleep(0.05)
        if store and store.check([_KEY]):
            tree = json.loads(store.get(_KEY))
            return LastWords(int(tree["rank"]), State(tree["state"]), str(tree["reason"]), int(tree["code"]))
    return None


def _store(environ: Mapping[str, str]) -> TCPStore | None:
    """The store, by torchrun's variables; None where all processes are on one machine."""
    if int(environ.get("WORLD_SIZE", "1")) <= int(environ.get("LOCAL_WORLD_SIZE", environ.get("WORLD_SIZE", "1"))):
        return None
    from torch.distributed import TCPStore

    return TCPStore(environ["MASTER_ADDR"], int(environ["MASTER_PORT"]), timeout=_ANSWER, wait_for_workers=False)
