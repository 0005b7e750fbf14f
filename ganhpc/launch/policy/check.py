"""Check of one job against the policy: every rule in its way, and the nearest job that would pass."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ganhpc.launch.policy.calendar import seconds_of
from ganhpc.launch.policy.constraints import Constraints, ExistingJob, FreeInterval
from ganhpc.launch.policy.policy import Policy, format_seconds

_SEARCHED = 14 * 86_400
"""Seconds around the request in which the nearest one that passes is looked for."""


@dataclass(frozen=True)
class Request:
    """One job that someone wants: its start (zone-aware), walltime in seconds, cores (None: unknown) and kind."""

    start: dt.datetime
    seconds: int
    cores: int | None = None
    reservation: bool = False


@dataclass(frozen=True)
class _Violation:
    """A rule that a request breaks, in words, and the nearest request that breaks none (None: there is none near)."""

    rule: str
    sentence: str
    nearest: Request | None = None

    def __str__(self) -> str:
        if self.nearest is None:
            return f"{self.sentence}; no request within two weeks of it would pass."
        start = f"{self.nearest.start:%a %d %b %H:%M:%S}".removesuffix(":00")
        how = "" if not self.nearest.reservation else " as a reservation"
        return f"{self.sentence}; the nearest request that passes starts on {start} for {format_seconds(self.nearest.seconds)}{how}."


def check(
    request: Request, policy: Policy, tz: dt.tzinfo, now: dt.datetime, busy: Iterable[ExistingJob] = ()
) -> list[_Violation]:
    """Every rule that `request`, submitted at `now` beside the jobs in `busy`, breaks; empty: it may be submitted."""
    constraints = Constraints(policy, tz, now, busy)
    broken = list(rules_broken(request, constraints))
    if not broken:
        return []
    best = _nearest_request(request, constraints)
    return [_Violation(rule, sentence, best) for rule, sentence in broken]


def rules_broken(request: Request, constraints: Constraints) -> Iterator[tuple[str, str]]:
    """The broken rules and a sentence on each, without its full stop."""
    policy, at = constraints.policy, constraints.calendar.format_instant
    start, length = seconds_of(request.start), format_seconds(request.seconds)
    end = start + request.seconds
    if request.seconds <= 0:
        yield "length", f"a job of {request.seconds} s has no length"
        return
    if start < constraints.now:
        yield "past", f"a start on {at(start)} is in the past (now is {at(constraints.now)})"
    if policy.max_job is not None and request.seconds > policy.max_job:
        yield (
            "max_job",
            f"a job of {length} is longer than the {format_seconds(policy.max_job)} that policy {policy.name} allows",
        )
    for block in constraints.blocks(start, end):
        if block.start < end and start < block.end:
            yield (
                block.rule,
                f"a job from {at(start)} to {at(end)} {_blocked(block.rule, block.opens, block.closes, policy)}",
            )
    yield from _over_allowance(request, constraints, start, end)
    if not constraints.submitted_left:
        yield (
            "max_submitted",
            f"policy {policy.name} allows {policy.max_submitted} submitted jobs at a time, and there are {constraints.submitted}: wait until one has ended",
        )
    if request.reservation and not constraints.reservations_left:
        most = policy.max_reservations
        yield (
            "max_reservations",
            f"policy {policy.name} allows {most} waiting advance reservations, and there are that many",
        )


def _blocked(rule: str, opens: str, closes: str, policy: Policy) -> str:
    if rule == "edge":
        return f"crosses an edge of policy {policy.name}: it must end {closes} or start {opens}"
    return f"would make more than {policy.max_jobs} at a time (policy {policy.name}): end {closes} or start {opens}"


def _over_allowance(request: Request, constraints: Constraints, start: int, end: int) -> Iterator[tuple[str, str]]:
    if (room := constraints.allowed(start, end, request.cores)) is not None:
        yield (
            room.rule,
            f"a job from {constraints.calendar.format_instant(start)} to {constraints.calendar.format_instant(end)} must end {room.closes}",
        )


def _nearest_request(request: Request, constraints: Constraints) -> Request | None:
    """The request that passes every rule with the fewest seconds changed, of start and length together.

    It has at least the policy's shortest slot. Of two that are equally near, the longer.
    """
    start = seconds_of(request.start)
    ranked = sorted(
        (abs(begin - start) + abs(length - request.seconds), -length, begin)
        for begin, length in _candidates(request, constraints, start)
    )
    for _, length, begin in ranked:
        reservation = request.reservation and constraints.reservations_left > 0
        near = dataclasses.replace(
            request, start=constraints.calendar.local(begin), seconds=-length, reservation=reservation
        )
        # How many jobs there are does not hang on the request.
        if all(rule == "max_submitted" for rule, _ in rules_broken(near, constraints)):
            return near
    return None


def _candidates(request: Request, constraints: Constraints, start: int) -> Iterator[tuple[int, int]]:
    """Starts and lengths that touch the request or the sides of the free time around it."""
    least = max(1, min(constraints.policy.min_slot, request.seconds, constraints.policy.max_job or request.seconds))
    wanted = min(request.seconds, constraints.policy.max_job or request.seconds) if request.seconds > 0 else least
    first = max(constraints.now, start - _SEARCHED)
    for span in constraints.spans(first, max(first, start) + _SEARCHED):
        begins = {min(max(start, span.start), span.end - least), span.end - wanted, span.start}
        for begin in begins:
            yield from _fitting(max(begin, span.start), span, constraints, request.cores, wanted, least)


def _fitting(
    begin: int, span: FreeInterval, constraints: Constraints, cores: int | None, wanted: int, least: int
) -> Iterator[tuple[int, int]]:
    """The longest job up to `wanted` from `begin`, or from the first moment after it when a quota is no longer in its way."""
    while begin + least <= span.end:
        room = constraints.longest(begin, span, cores)
        if room.end - begin >= least:
            yield begin, min(wanted, room.end - begin)
            return
        if room.resume is None:
            return
        begin = room.resume
