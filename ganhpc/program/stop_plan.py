"""Steps by which a program is told to stop: its signal once, then SIGTERM, then SIGKILL, all before its time is over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from ganhpc.runs.trainer_protocol import STOPPING_SHARE

_TERM_SECONDS, _KILL_SECONDS = 20.0, 8.0
"""Seconds before the end at which a program that still runs gets SIGTERM and SIGKILL."""
_ASKED_SECONDS = (20.0, 45.0)
"""The least and the most time that a program has from a request to stop, which comes without an end, to SIGTERM."""
_AFTER_TERM_SECONDS = 10.0


class Step(IntEnum):
    """Steps on the way to the end of a program."""

    RUN = 0
    ASK = 1
    TERM = 2
    KILL = 3


@dataclass(frozen=True)
class StopPlan:
    """The seconds before the end at which each step is due."""

    ask: float
    term: float
    kill: float

    @classmethod
    def make(cls, whole: float, before: float, took: float | None) -> StopPlan:
        """`whole`: seconds that this segment has; `before`: --stop-before; `took`: seconds that the program took to stop last time.

        Once a stop was measured, it counts instead of what was typed: half as much again, and what follows after. No more than a quarter
        of the segment is given to stopping.
        """
        kill = min(_KILL_SECONDS, whole / 20)
        term = min(_TERM_SECONDS, whole / 10)
        ask = before if took is None else 1.5 * took + term + 2.0
        return cls(max(term, min(ask, STOPPING_SHARE * whole)), term, kill)

    def step(self, left: float) -> Step:
        """The step that is due with `left` seconds to the end."""
        if not math.isfinite(left):
            return Step.RUN
        due = ((self.kill, Step.KILL), (self.term, Step.TERM), (self.ask, Step.ASK))
        return next((step for at, step in due if left <= at), Step.RUN)

    def after_request(self, waited: float, took: float | None, *, hurry: bool) -> Step:
        """The step that is due `waited` seconds after a request to stop; `hurry`: it was repeated."""
        least, most = _ASKED_SECONDS
        patience = 0.0 if hurry else min(most, max(least, 2 * (took or 0.0)))
        last = 3.0 if hurry else _AFTER_TERM_SECONDS
        return Step.KILL if waited > patience + last else Step.TERM if waited > patience else Step.ASK
