"""The planner: runs with time to go, a policy, the jobs there are and the clock -> slots, each with its reasons.

`plan` is a pure function. All arithmetic is on UTC instants; edges come from the site's wall clock (ganhpc.launch.policy.calendar).
The planner lays the runs one after another in the order given, as early as the rules allow, and cuts a run wherever a slot
must end; the next slot resumes it. What does not fit comes back as an explicit remainder.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.planning_window import Window, tonight
from ganhpc.launch.planner.submission_modes import Draft, choose_modes, deadlines
from ganhpc.launch.policy.calendar import seconds_of
from ganhpc.launch.policy.constraints import Constraints, ExistingJob, FreeInterval
from ganhpc.launch.policy.policy import Policy, format_seconds


@dataclass(frozen=True)
class Work:
    """A run with `seconds` still to go; its next segment is number `segment`."""

    run: str
    seconds: float
    segment: int = 1
    cores: int | None = None
    """Cores that its jobs hold, for the day quota; None: unknown, counted as the whole cluster."""
    ready: dt.datetime | None = None
    """When its jobs that wait or run already are likely to have ended; None: there are none, or now."""
    after: str = ""
    """The last of those jobs, by its id."""


@dataclass(frozen=True)
class Overhead:
    """Seconds that every segment spends besides its run's own time: to start up, and to save before it ends."""

    startup: int = 0
    save: int = 0

    @property
    def seconds(self) -> int:
        return self.startup + self.save


@dataclass(frozen=True)
class Margins:
    """Seconds that a plan keeps in hand: a slot is planned only where a job of `shortest` that starts up to `late` late still ends in
    time; the last job of a run may ask for `startup` beyond its slot, where no rule is in the way."""

    shortest: int = 0
    late: int = 0
    startup: int = 0


@dataclass(frozen=True)
class Slot:
    """One job: a segment of a run from `start` to `end` (zone-aware)."""

    run: str
    segment: int
    start: dt.datetime
    end: dt.datetime
    kind: str
    """now, reservation, begin (not before `start`), chain (once the job before it has ended), or queue (this machine)."""
    reason: str
    """A sentence: why it starts and ends where it does."""
    deadline: dt.datetime
    """If it starts late, the moment by which it must have ended all the same: an edge, or the next fixed job."""
    after: str = ""
    """For a chain behind a job that is no part of the plan: that job's id; empty: the plan's previous slot."""
    work: int = 0
    """Seconds of the run's time that it does: its length without the overhead."""
    room: int = 0
    """Seconds that its job may ask for: its length, and for the last job of a run up to `startup` more where the rules have them."""

    @property
    def seconds(self) -> int:
        """Real length (a difference of two local times is wrong on the nights when the clock changes)."""
        return round(self.end.timestamp() - self.start.timestamp())

    @property
    def times(self) -> str:
        """Its times of day, with the names of summer and winter time where the clock changes in between."""
        form = "%H:%M:%S" if self.start.utcoffset() == self.end.utcoffset() else "%H:%M:%S %Z"
        return f"{self.start:{form}} - {self.end:{form}}"

    def to_json(self) -> dict[str, Any]:
        moments = {"start": self.start.isoformat(), "end": self.end.isoformat()}
        return {"run": self.run, "segment": self.segment, **moments, "kind": self.kind, "reason": self.reason}


@dataclass(frozen=True)
class Remainder:
    """Seconds of a run that the plan has no place for, and why."""

    run: str
    seconds: int
    reason: str
    later: bool = False
    """True if the same command submits it later, once jobs that are submitted now have ended."""

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "seconds": self.seconds, "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    """Slots in order, what is left of each run, and the window they were laid in."""

    slots: tuple[Slot, ...]
    remaining: tuple[Remainder, ...]
    window: Window

    def to_json(self) -> dict[str, Any]:
        """{"slots": [{"run", "segment", "start", "end", "kind", "reason"}], "remaining": [{"run", "seconds", "reason"}]}"""
        return {
            "slots": [slot.to_json() for slot in self.slots],
            "remaining": [left.to_json() for left in self.remaining],
        }


def plan(
    runs: Sequence[Work],
    policy: Policy,
    busy: Iterable[ExistingJob],
    now: dt.datetime,
    tz: dt.tzinfo,
    window: Window | None = None,
    scheduler: Capabilities = QUEUE,
    overhead: Overhead = Overhead(),
    margins: Margins = Margins(),
) -> Plan:
    """Lay `runs` one after another inside `window` (default: tonight) under `policy`, around the jobs in `busy`.

    `now` is when the jobs are submitted; nothing is planned before it. `scheduler` decides the kinds of slots.
    Raises UserError where the window is empty.
    """
    constraints = Constraints(policy, tz, now, busy, scheduler.hours)
    if window is None:
        window = tonight(policy, tz, now, edge_pair=scheduler.reservations and constraints.reservations_left >= 2)
    filler = _Filler(constraints, window, scheduler, overhead, runs, margins)
    filler.fill()
    return Plan(
        _slots(filler.drafts, constraints, scheduler, margins.shortest + margins.late),
        tuple(filler.remainders()),
        window,
    )


class _Filler:
    """Lays the runs into the free spans of the window, from the left."""

    def __init__(
        self,
        constraints: Constraints,
        window: Window,
        able: Capabilities,
        overhead: Overhead,
        runs: Sequence[Work],
        margins: Margins,
    ):
        """
        Args:
            constraints: the rules for the jobs of this user, beside those there are.
            window: the time that the plan may use.
            able: abilities of the scheduler.
            overhead: seconds that each segment spends besides its run's own time.
            runs: the runs, in the order in which they are laid.
            margins: seconds that the plan keeps in hand.

        Raises UserError where the window is empty.
        """
        self.constraints, self.window, self.able = constraints, window, able
        self.start, self.end = max(seconds_of(window.start), constraints.now), int(window.end.timestamp())
        if self.start >= self.end:
            raise UserError(
                f"the window from {constraints.calendar.format_instant(self.start)} to {constraints.calendar.format_instant(self.end)} is empty: "
                "give an end that is later (--until)."
            )
        self.overhead = overhead.seconds
        policy = constraints.policy
        self.least = max(min(policy.min_slot, policy.max_job or policy.min_slot), self.overhead + 1, margins.shortest)
        self.margins = margins
        # What comes next may need the gap before it, where it has a fixed start.
        self.tail = margins.shortest + margins.late + (policy.gap if margins.late else 0)
        self.queue = deque((work, math.ceil(work.seconds), work.segment) for work in runs if work.seconds > 0)
        self.drafts: list[Draft] = []
        self.pins_left = constraints.reservations_left if able.reservations and not able.begin else None
        self.stopped = ""
        self.jobs_left = constraints.submitted_left

    def fill(self) -> None:
        opens = self.window.opens_now if self.start == self.constraints.now else self.window.opens
        for span in self.constraints.spans(self.start, self.end, opens, self.window.closes):
            if not self.queue or self.stopped:
                return
            rest: FreeInterval | None = span
            while rest is not None and self.queue and not self.stopped:
                begun, rest = rest.start, self._fill_span(rest)
                assert rest is None or rest.start > begun, "time goes on"

    def _fill_span(self, span: FreeInterval) -> FreeInterval | None:
        """Slots one behind another; the first is pinned to the span's start, the others follow it by the gap.

        Gives the rest of the span where a quota or limit leaves a hole in it.
        """
        cursor, opens, first = self._earliest(span.start), span.opens, True
        gap = self.constraints.policy.gap
        while self.queue:
            work, left, segment = self.queue[0]
            if len(self.drafts) >= self.jobs_left:
                self.stopped = self._why_no_more()
                break
            if work.ready and segment == work.segment and cursor < (ready := seconds_of(work.ready) + gap):
                cursor, opens, span = ready, f"behind its job {work.after}", dataclasses.replace(span, after=work.after)
            if span.end - cursor < max(self.least, self.tail):
                break
            room = self.constraints.longest(cursor, span, work.cores)
            if room.end - cursor < self.least:
                if room.resume is None:
                    break
                return dataclasses.replace(span, start=room.resume, opens=room.reopens, edge_before=None, after="")
            if first and not self._pin(cursor):
                break
            end, latest, closes = room.end, room.end, room.closes
            if cursor + self.overhead + left <= end:
                end, closes = cursor + self.overhead + left, "with its run"
                latest = min(end + self.margins.startup, room.end)
            done = end - cursor - self.overhead
            self._take(Draft(work.run, segment, cursor, end, done, opens, closes, span, latest, first), left, work)
            cursor, first = end + gap, False
            opens = f"{format_seconds(gap)} after the slot before it" if gap else "when the slot before it ends"
        return None

    def _earliest(self, start: int) -> int:
        return max(start, self.drafts[-1].end + self.constraints.policy.gap) if self.drafts else start

    def _pin(self, start: int) -> bool:
        """True if the scheduler can hold a job back until `start` (OAR 3 can do so by advance reservations only)."""
        if self.pins_left is None or start <= self.constraints.now:
            return True
        if not self.pins_left:
            most = self.constraints.policy.max_reservations
            self.stopped = (
                f"{self.able.name} can hold a job back until {self.constraints.calendar.format_instant(start)} by an advance reservation only, "
                f"and all {most} that policy {self.constraints.policy.name} allows are taken"
            )
            return False
        self.pins_left -= 1
        return True

    def _take(self, draft: Draft, left: int, work: Work) -> None:
        self.constraints.use(draft.start, draft.latest, work.cores)
        self.drafts.append(draft)
        self.queue.popleft()
        if left > draft.work:
            self.queue.appendleft((work, left - draft.work, draft.segment + 1))

    def remainders(self) -> Iterable[Remainder]:
        """The rest of each run, with the reason."""
        reason = self.stopped or self._why_full()
        later = len(self.drafts) >= self.jobs_left
        return (Remainder(work.run, left, f"{reason}.", later) for work, left, _ in self.queue)

    def _why_no_more(self) -> str:
        policy = self.constraints.policy
        return (
            f"policy {policy.name} allows {policy.max_submitted} submitted jobs at a time (max_submitted): the same command "
            "submits the rest once some have ended"
        )

    def _why_full(self) -> str:
        policy, at = self.constraints.policy, self.constraints.calendar.format_instant
        if policy.max_job is not None and policy.max_job <= self.overhead:
            most, lost = format_seconds(policy.max_job), format_seconds(self.overhead)
            return f"a job of at most {most} has no time for its run besides the {lost} to start up and save"
        if policy.max_job is not None and policy.max_job < self.margins.shortest:
            return f"a job of at most {format_seconds(policy.max_job)} is shorter than the {format_seconds(self.margins.shortest)} that every job is given"
        if held := self.constraints.held_at(self.end):
            return f"{held}, and policy {policy.name} allows {policy.max_jobs} at a time"
        return f"no more fits between {at(self.start)} and {at(self.end)}"


def _slots(drafts: list[Draft], constraints: Constraints, able: Capabilities, short: int) -> tuple[Slot, ...]:
    local = constraints.calendar.local
    modes = choose_modes(drafts, constraints, able, short)
    ends = deadlines(drafts, modes, constraints.policy.gap)
    return tuple(
        Slot(
            draft.run,
            draft.segment,
            local(draft.start),
            local(draft.end),
            kind,
            f"It starts {draft.opens} and ends {draft.closes}.",
            local(deadline),
            draft.span.after if kind == "chain" and draft.first else "",
            draft.work,
            draft.latest - draft.start,
        )
        for draft, kind, deadline in zip(drafts, modes, ends, strict=True)
    )
