"""How a fake command begins, refuses and ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tests.clusters.fake_oar import simulate
from tests.clusters.fake_oar.state import State, folder, opened


class Refused(Exception):
    """The command ends with `code` and says why on standard error."""

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code = code


class NotImitated(Exception):
    """The real command does this and the fake does not: a test that comes here needs the real one."""


def complain(text: str) -> None:
    sys.stderr.write(text if text.endswith("\n") else f"{text}\n")


def run(name: str, main: Callable[[State, list[str]], int]) -> int:
    """Play a command: first the trouble that the test has ordered, then time that has passed, then the command."""
    with opened(folder()) as state:
        trouble = state.setting("trouble").get(name, "")
        if not trouble or trouble == "noise":
            if trouble:
                print("*** maintenance on Thursday: see https://intranet.example/ ***")
            simulate.settle(state)
            code = _try(state, main)
            simulate.settle(state)
            return code
    if trouble == "hang":  # outside the lock, so that other commands still answer
        time.sleep(600)
    complain(f"DBI connect('database=oar') failed: {trouble}")
    return 1


def _try(state: State, main: Callable[[State, list[str]], int]) -> int:
    try:
        return main(state, sys.argv[1:])
    except Refused as refusal:
        complain(str(refusal))
        return refusal.code
    except NotImitated as missing:
        complain(f"the fake OAR does not imitate {missing}: use the real one of tests/clusters/oar.py")
        return 99
