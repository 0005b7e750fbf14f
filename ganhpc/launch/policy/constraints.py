"""Constraints of a policy on one user's jobs around the existing ones: free time, the longest job, refusals."""

from __future__ import annotations

import datetime as dt
import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ganhpc.launch.policy.calendar import Calendar, Edge, Period, seconds_of
from ganhpc.launch.policy.policy import Policy, format_seconds

NEVER = 2**53
"""The instant after all others."""
UNKNOWN_END_SECONDS = 31 * 86_400
"""Seconds for which a job of unknown end is taken to use the day quota."""


@dataclass(frozen=True)
class ExistingJob:
    """A job of the same user that waits, runs or ended earlier today (which counts for the day quota).

    A waiting job without a known start: give now. `end` None: unknown.
    """

    start: dt.datetime
    end: dt.datetime | None = None
    job: str = ""
    """The scheduler's job id."""
    reservation: bool = False
    """An advance reservation; it counts among the waiting ones until it starts."""
    cores: int | None = None
    """Cores that it holds; None: unknown, counted as the whole cluster."""
    count: int = 1
    """Jobs that `max_submitted` counts it as."""
    since: dt.datetime | None = None
    """Of one that waits: from when on its place is kept free, where `start` is only likely; None: from `start` on."""

    @property
    def begins(self) -> int:
        """Its start in whole UTC seconds, rounded down (never later than it)."""
        return math.floor(self.start.timestamp())

    @property
    def takes_place(self) -> int:
        """From when on nothing else may have its place, as `begins` is rounded."""
        return min(self.begins, math.floor(self.since.timestamp())) if self.since else self.begins

    @property
    def called(self) -> str:
        return f"job {self.job}" if self.job else "another job"


class BlockedInterval(NamedTuple):
    """Time that no job may touch: [start, end]; a block of no length may not be crossed."""

    start: int
    end: int
    rule: str
    opens: str
    """Reason of a slot that starts at its end: '1m after the 19:00 edge of Mon 23 Nov'."""
    closes: str
    """Reason of a slot that ends at its start."""
    edge: Edge | None = None
    job: str = ""


@dataclass(frozen=True)
class FreeInterval:
    """Free time [start, end) between two blocks, with the reason and the edge (if it is one) on each side."""

    start: int
    end: int
    opens: str
    closes: str
    edge_before: Edge | None = None
    edge_after: Edge | None = None
    after: str = ""
    """The job that must end before the span begins, by its id."""


class MaxJob(NamedTuple):
    """Limit of one job: its latest end, why, and where to look again (and why there) if that is too little."""

    end: int
    closes: str
    rule: str = ""
    resume: int | None = None
    reopens: str = ""


class Constraints:
    """A policy at one moment: `now` is when jobs are submitted, `busy` are the jobs of the user that exist."""

    def __init__(
        self, policy: Policy, tz: dt.tzinfo, now: dt.datetime, busy: Iterable[ExistingJob] = (), hours: str = ""
    ):
        """`hours`: night or day where the jobs are of a type that the scheduler runs then only."""
        self.policy, self.hours = policy, hours
        self.calendar = Calendar(policy, tz)
        self.now = seconds_of(now)
        self.busy = sorted(busy, key=lambda job: (job.begins, job.job))
        self._used: dict[dt.date, int] = defaultdict(int)
        for job in self.busy if policy.day_quota else ():
            self._use(job.begins, min(self.end_of(job), self.now + UNKNOWN_END_SECONDS), job.cores)
        self._busy_blocks = list(self._blocks_of_jobs())

    def with_jobs(self, busy: Iterable[ExistingJob]) -> Constraints:
        """The same rules at the same moment beside other jobs."""
        return Constraints(self.policy, self.calendar.tz, self.calendar.local(self.now), busy, self.hours)

    def end_of(self, job: ExistingJob) -> int:
        """When a job has ended for certain: where unknown, one longest job from now on, or never."""
        if job.end is not None:
            return seconds_of(job.end)
        return max(seconds_of(job.start), self.now) + self.policy.max_job if self.policy.max_job else NEVER

    @property
    def reservations_left(self) -> int:
        """Advance reservations that the policy still allows."""
        waiting = sum(job.reservation and job.begins > self.now for job in self.busy)
        return max(0, self.policy.max_reservations - waiting)

    @property
    def submitted_left(self) -> float:
        """Jobs that may still be submitted."""
        if self.policy.max_submitted is None:
            return math.inf
        return max(0, self.policy.max_submitted - self.submitted)

    @property
    def submitted(self) -> int:
        """Jobs that wait or run."""
        return sum(job.count for job in self.busy if self.end_of(job) > self.now)

    def held_at(self, instant: int) -> str:
        """The job that may still hold the last place at `instant`, with its end, in words; empty where none does."""
        last = next((block for block in self._busy_blocks if block.start <= instant < block.end), None)
        if last is None:
            return ""
        if last.end >= NEVER:
            return f"job {last.job or '?'} has no known end"
        return (
            f"job {last.job or '?'} may last until {self.calendar.local(last.end - self.policy.gap):%a %d %b %Y %H:%M}"
        )

    # --- blocks and free time ---

    def blocks(self, start: int, end: int) -> Iterator[BlockedInterval]:
        """The blocks that touch [start, end], by their start."""
        jobs = (block for block in self._busy_blocks if block.end >= start and block.start <= end)
        of_hours = self._blocks_of_hours(start, end) if self.hours else iter(())
        return heapq.merge(self._blocks_of_edges(start, end), jobs, of_hours, key=lambda block: block.start)

    def _blocks_of_edges(self, start: int, end: int) -> Iterator[BlockedInterval]:
        before, after = self.policy.end_before_edge, self.policy.start_after_edge
        for edge in self.calendar.edges(start - after, end + before, self.now):
            name = self.calendar.format_edge(edge)
            opens = f"{format_seconds(after)} after {name}" if after else f"at {name}"
            closes = f"{format_seconds(before)} before {name}" if before else f"at {name}"
            yield BlockedInterval(edge.instant - before, edge.instant + after, "edge", opens, closes, edge)

    def _blocks_of_hours(self, start: int, end: int) -> Iterator[BlockedInterval]:
        """The days in which no job of type night runs, or the nights and weekends in which none of type day does."""
        for period in self.calendar.periods(start, end):
            if (period.kind == "day") == (self.hours == "night"):
                which = f"the {period.kind} of {period.date:%a %d %b}, in which no job of type {self.hours} runs"
                yield BlockedInterval(period.start, period.end, "type", f"after {which}", f"before {which}")

    def _blocks_of_jobs(self) -> Iterator[BlockedInterval]:
        """Where `max_jobs` jobs exist already, with the gap on both sides: one sweep over starts and ends."""
        if self.policy.max_jobs is None:
            return
        gap, there = self.policy.gap, 0
        first: tuple[int, ExistingJob] | None = None
        for instant, change, job in sorted(self._changes(gap), key=lambda change: change[:2]):
            there += change
            if first is None and there >= self.policy.max_jobs:
                first = (instant, job)
            elif first is not None and there < self.policy.max_jobs:
                yield self._block_of_jobs(*first, instant, job)
                first = None

    def _changes(self, gap: int) -> Iterator[tuple[int, int, ExistingJob]]:
        for job in self.busy:
            end = self.end_of(job)
            if end + gap > self.now:
                yield job.takes_place - gap, 1, job
                yield end + gap, -1, job

    def _block_of_jobs(self, start: int, first: ExistingJob, end: int, last: ExistingJob) -> BlockedInterval:
        gap = f"{format_seconds(self.policy.gap)} " if self.policy.gap else ""
        opens = f"{gap}after {last.called} ends" + (" (its end is not known)" if end >= NEVER else "")
        return BlockedInterval(start, end, "max_jobs", opens, f"{gap}before {first.called} starts", None, last.job)

    def spans(
        self, start: int, end: int, opens: str = "now", closes: str = "when the window closes"
    ) -> Iterator[FreeInterval]:
        """The free time in [start, end), in order; `opens` and `closes` are the reasons of its two ends."""
        before: BlockedInterval | None = None
        for block in self.blocks(start, end):
            if block.start > start:
                yield _span(start, block.start, before, block, opens, closes)
            if block.end >= start:
                start, before = block.end, block
            if start >= end:
                return
        yield _span(start, end, before, None, opens, closes)

    # --- how long a job may be ---

    def longest(self, start: int, span: FreeInterval, cores: int | None) -> MaxJob:
        """Limit of a job on `cores` that starts at `start`, inside `span`."""
        end, closes, rule = span.end, span.closes, ""
        if self.policy.max_job is not None and start + self.policy.max_job < span.end + (span.edge_after is None):
            most = format_seconds(self.policy.max_job)
            end, rule = start + self.policy.max_job, "max_job"
            closes = f"after {most}, the longest job that policy {self.policy.name} allows"
        return self.allowed(start, end, cores) or MaxJob(end, closes, rule)

    def allowed(self, start: int, end: int, cores: int | None) -> MaxJob | None:
        """Where the limits of nights and weekends and the day quota end a job earlier than `end`; None: nowhere."""
        if not (self.policy.night_limit or self.policy.weekend_limit or self.policy.day_quota):
            return None
        for period in self.calendar.periods(start, end):
            begin, (most_here, rule) = max(start, period.start), self._allowance(period, start, cores)
            if most_here is not None and begin + most_here < min(end, period.end):
                closes, reopens = (
                    self._allowance_reason(rule, period, most_here),
                    f"after the {period.kind} of {period.date:%a %d %b}",
                )
                return MaxJob(begin + most_here, closes, rule, period.end, reopens)
        return None

    def _allowance(self, period: Period, start: int, cores: int | None) -> tuple[int | None, str]:
        """The seconds of one period that a job which starts at `start` may take (None: all), and the rule."""
        if period.kind == "night":
            return self.policy.night_limit, "night_limit"
        if period.kind == "weekend":
            return self.policy.weekend_limit, "weekend_limit"
        if self.policy.day_quota is None:
            return None, ""
        left = max(0, self.policy.day_quota * (self.policy.cores or 1) - self._used[period.date]) // self._cores(cores)
        free = self.policy.quota_free_job if self._at_short_notice(start) and start >= period.start else 0
        return max(left, free), "day_quota"

    def _allowance_reason(self, rule: str, period: Period, most: int) -> str:
        date = f"{period.date:%a %d %b}"
        if rule == "day_quota":
            return f"where the day quota of {date} leaves off"
        return f"after {format_seconds(most)} of the {period.kind} of {date}, the most that policy {self.policy.name} allows a job"

    def _cores(self, cores: int | None) -> int:
        """The cores that count against the quota; the whole cluster where either number is unknown."""
        return cores if cores and self.policy.cores else self.policy.cores or 1

    def _at_short_notice(self, start: int) -> bool:
        return start - self.now < self.policy.quota_free_notice

    def use(self, start: int, end: int, cores: int | None) -> None:
        """Count a job that will be submitted now against the day quota."""
        free = self._at_short_notice(start) and end - start <= self.policy.quota_free_job
        if self.policy.day_quota is not None and not free:
            self._use(start, end, cores)

    def _use(self, start: int, end: int, cores: int | None) -> None:
        for period in self.calendar.periods(start, end):
            if period.kind == "day":
                self._used[period.date] += (min(end, period.end) - max(start, period.start)) * self._cores(cores)


def _span(
    start: int, end: int, before: BlockedInterval | None, after: BlockedInterval | None, opens: str, closes: str
) -> FreeInterval:
    return FreeInterval(
        start,
        end,
        before.opens if before else opens,
        after.closes if after else closes,
        before.edge if before else None,
        after.edge if after else None,
        before.job if before else "",
    )
