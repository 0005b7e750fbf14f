"""Submission modes: reservation, start time or chain for each slot of a plan, by the scheduler's abilities."""

from __future__ import annotations

from typing import NamedTuple

from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.policy.constraints import NEVER, Constraints, FreeInterval


class Draft(NamedTuple):
    """A slot before its kind is known; instants are UTC seconds."""

    run: str
    segment: int
    start: int
    end: int
    work: int
    opens: str
    closes: str
    span: FreeInterval
    latest: int
    """When a job from `start` on must have ended, by the rules on lengths and quotas: `end`, or somewhat later for a run's last one."""
    first: bool
    """True if it is the first of its span: pinned to the span's start rather than behind the slot before it."""

    @property
    def from_edge(self) -> int | None:
        """The edge that it starts just after, if any."""
        return self.span.edge_before.instant if self.first and self.span.edge_before else None

    @property
    def to_edge(self) -> int | None:
        """The edge that it ends just before, if any."""
        return self.span.edge_after.instant if self.span.edge_after and self.end == self.span.end else None


def choose_modes(drafts: list[Draft], constraints: Constraints, able: Capabilities, short: int = 0) -> list[str]:
    """The kind of each slot: queue, now, reservation, begin or chain. Nothing is fixed right behind a slot of less than `short` seconds
    that may start late: it would have no time left."""
    if able.queue:
        return ["queue"] * len(drafts)
    reserved = _reserved(drafts, constraints, able, short) if able.reservations else set()
    return ["reservation" if i in reserved else _unreserved(draft, constraints) for i, draft in enumerate(drafts)]


def _unreserved(draft: Draft, constraints: Constraints) -> str:
    if draft.start <= constraints.now:
        return "now"
    return "begin" if _pinned(draft, constraints) else "chain"


def _pinned(draft: Draft, constraints: Constraints) -> bool:
    """True if it must not start early: the first of a span, unless it waits for a job that no edge separates from now."""
    if not draft.first:
        return False
    return not draft.span.after or any(constraints.calendar.edges(constraints.now, draft.start, constraints.now))


def _reserved(drafts: list[Draft], constraints: Constraints, able: Capabilities, short: int) -> set[int]:
    """The slots that get the advance reservations which are left: first those that cannot be held back otherwise, then
    the two around an edge, then those that touch one, then those right behind a reserved one.

    No others: a slot behind a job that may start late is better off in a chain, where it doesn't cut that job short.
    """
    behind_short = {i + 1 for i, draft in enumerate(drafts) if draft.end - draft.start < short}
    ahead = [i for i, d in enumerate(drafts) if d.start > constraints.now and (d.first or i not in behind_short)]
    pairs = set()
    for i in range(1, len(drafts)):
        if drafts[i].from_edge is not None and drafts[i].from_edge == drafts[i - 1].to_edge:
            pairs |= {i - 1, i}

    def rank(i: int) -> tuple[bool, bool, bool]:
        draft = drafts[i]
        must = not able.begin and _pinned(draft, constraints)
        touches = draft.from_edge is not None or draft.to_edge is not None
        return not must, i not in pairs, not touches

    ranked = sorted(ahead, key=rank)
    reserved = {i for i in ranked[: constraints.reservations_left] if not all(rank(i))}
    for i in ahead:
        if len(reserved) < constraints.reservations_left and i - 1 in reserved:
            reserved.add(i)
    return reserved


def deadlines(drafts: list[Draft], modes: list[str], gap: int) -> list[int]:
    """The instant by which each job must have ended even if it starts late: a reservation keeps its end; another job has
    until its free time ends or the next job with a fixed start comes."""
    ends: list[int] = []
    fixed = NEVER
    for draft, kind in zip(reversed(drafts), reversed(modes), strict=True):
        ends.append(draft.end if kind == "reservation" else min(draft.span.end, fixed))
        if kind in ("reservation", "begin"):
            fixed = draft.start - gap
    return ends[::-1]
