"""Number of nights that some runs take under a policy, found by planning one night after another. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.planner import Margins, Work, plan
from ganhpc.launch.planner.planning_window import tonight
from ganhpc.launch.policy.policy import Policy

MOST = 60
"""Nights that are planned, at most."""

_WEEK = 7


@dataclass(frozen=True)
class Nights:
    """Result of planning one night after another."""

    count: int
    """Nights with a slot."""
    start: dt.datetime
    """When the first slot starts."""
    end: dt.datetime
    """When the last slot planned ends."""
    left: int
    """Seconds that have no place in them: more than `MOST` nights are not planned."""


def nights(
    works: Sequence[Work],
    policy: Policy,
    now: dt.datetime,
    tz: dt.tzinfo,
    able: Capabilities = QUEUE,
    margins: Margins | None = None,
) -> Nights | None:
    """The nights that `works` fill, one job after another, planned with `margins`; None where not even one slot fits into a night."""
    moment, rest, count, empty, kept = now, list(works), 0, 0, margins or Margins()
    first = last = None
    for _ in range(MOST):
        laid = plan(rest, policy, (), moment, tz, tonight(policy, tz, moment), able, margins=kept)
        if laid.slots:
            count, empty = count + 1, 0
            first, last = first or laid.slots[0].start, laid.slots[-1].end
        else:
            empty += 1
            if empty > _WEEK:
                break  # No night of a whole week had a place, and the next week is like it.
        rest = [Work(left.run, left.seconds) for left in laid.remaining]
        if not rest:
            break
        moment = laid.window.end
    if first is None or last is None:
        return None
    return Nights(count, first, last, round(sum(work.seconds for work in rest)))
