"""The time that a plan may use: tonight, or from now on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ganhpc.launch.policy.calendar import ONE_DAY, Calendar, seconds_of
from ganhpc.launch.policy.policy import Policy

LOOKED_AHEAD = 7 * 86_400
"""Seconds ahead in which the next edge is looked for, to be named."""


@dataclass(frozen=True)
class Window:
    """The time that a plan may use, [start, end)."""

    start: dt.datetime
    end: dt.datetime
    opens: str = "when the window opens"
    closes: str = "when the window closes"
    opens_now: str = "now"
    """Reason of a slot that starts at the present moment."""


def tonight(policy: Policy, tz: dt.tzinfo, now: dt.datetime, edge_pair: bool = False) -> Window:
    """The night at hand: from the evening edge (19:01), or now if the night has begun, to the next morning (8:59).

    It ends on the next morning even where no working day follows; a window of one's own may go on through a weekend.
    `edge_pair` adds one slot just after the morning edge, for the reservation that starts at 9:01.
    """
    calendar, moment = Calendar(policy, tz), seconds_of(now)
    date = calendar.local(moment).date()
    if moment + max(1, policy.min_slot) > calendar.at(date, policy.day_start) - policy.end_before_edge:
        date += ONE_DAY
    evening = calendar.at(date - ONE_DAY, policy.day_end) + policy.start_after_edge
    morning = calendar.at(date, policy.day_start)
    start, opens_now = _start_of_night(calendar, evening, moment)
    end, closes = morning - policy.end_before_edge, "when the night ends"
    if any(edge.instant == morning for edge in calendar.edges(morning, morning, moment)):
        if edge_pair and policy.max_job is not None:
            end = morning + policy.start_after_edge + policy.max_job
    elif policy.edges:
        day = calendar.holiday(date) or f"{date:%A}"
        closes += f" (no edge on {date:%a %d %b}, {day}: --until can go on)"
    return Window(calendar.local(start), calendar.local(end), "when the night begins", closes, opens_now)


def _start_of_night(calendar: Calendar, evening: int, moment: int) -> tuple[int, str]:
    """When the night whose evening is given begins, and why at once. On a day without work and without an edge to come, it has begun."""
    today = calendar.local(moment).date()
    if moment >= evening:
        return moment, "now"
    if not calendar.policy.edges or calendar.working(today) or any(calendar.edges(moment, evening, moment)):
        return evening, "now"
    day = calendar.holiday(today) or f"{today:%A}"
    following = next(calendar.edges(evening, evening + LOOKED_AHEAD, moment), None)
    before = f" before {calendar.format_edge(following)}" if following else ""
    return moment, f"at once ({day}: no edge comes{before})"


def from_now(tz: dt.tzinfo, now: dt.datetime, days: int = 14) -> Window:
    """The window of a chain that starts as soon as the rules allow."""
    start = dt.datetime.fromtimestamp(seconds_of(now), tz)
    return Window(start, dt.datetime.fromtimestamp(seconds_of(now) + days * 86_400, tz), "now")
