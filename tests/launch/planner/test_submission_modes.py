"""The kind of each slot and its deadline, from drafts that are written by hand."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from ganhpc.launch.planner.capabilities import QUEUE, Capabilities
from ganhpc.launch.planner.submission_modes import Draft, choose_modes, deadlines
from ganhpc.launch.policy.calendar import Edge, parse_instant, seconds_of
from ganhpc.launch.policy.constraints import NEVER, Constraints, FreeInterval
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm

PARIS = ZoneInfo("Europe/Paris")
NOW = parse_instant("2026-11-23T20:00", PARIS)
T = seconds_of(NOW)
HOUR = 3600
OAR, OAR3, SLURM = Oar.able, Capabilities("oar", reservations=True), Slurm.able


def constraints(reservations: int = 2, edges: tuple[dt.time, ...] = (dt.time(9),)) -> Constraints:
    return Constraints(Policy("p", edges=edges, max_reservations=reservations), PARIS, NOW)


def draft(start: int, end: int, *, first: bool = False, span: FreeInterval | None = None) -> Draft:
    """A slot from `start` to `end`, seconds after now."""
    whole = span or FreeInterval(T, T + 100 * HOUR, "", "")
    return Draft("run", 1, T + start, T + end, end - start, "", "", whole, T + end, first)


def span(
    start: int, end: int, *, opened: int | None = None, closed: int | None = None, after: str = ""
) -> FreeInterval:
    """Free time, with the edges `opened` and `closed` seconds after now on its sides."""

    def edge(at: int | None) -> Edge | None:
        return None if at is None else Edge(T + at, dt.time(9), NOW.date())

    return FreeInterval(T + start, T + end, "", "", edge(opened), edge(closed), after)


CHAIN = [draft(0, HOUR, first=True), draft(HOUR, 2 * HOUR), draft(2 * HOUR, 3 * HOUR)]


def test_a_queue_on_this_machine_has_one_kind() -> None:
    assert choose_modes(CHAIN, constraints(), QUEUE) == ["queue"] * 3


def test_without_reservations_the_first_of_a_span_begins_and_the_others_follow() -> None:
    assert choose_modes(CHAIN, constraints(), SLURM) == ["now", "chain", "chain"]
    later = [draft(1, HOUR, first=True), draft(HOUR, 2 * HOUR)]
    assert choose_modes(later, constraints(), SLURM) == ["begin", "chain"]
    assert choose_modes([draft(0, HOUR)], constraints(), SLURM) == ["now"]


def test_behind_a_job_that_is_there_a_chain_does_unless_an_edge_comes_between() -> None:
    behind = span(HOUR, 10 * HOUR, after="7")
    assert choose_modes([draft(HOUR, 2 * HOUR, first=True, span=behind)], constraints(), SLURM) == ["chain"]
    crossing = [draft(14 * HOUR, 15 * HOUR, first=True, span=span(14 * HOUR, 20 * HOUR, after="7"))]  # 9:00 on the way
    assert choose_modes(crossing, constraints(), SLURM) == ["begin"]
    assert choose_modes(crossing, constraints(edges=()), SLURM) == ["chain"]
    assert choose_modes([draft(13 * HOUR, 14 * HOUR, first=True, span=behind)], constraints(), SLURM) == ["begin"], (
        "at 9:00"
    )


def test_without_start_times_what_no_chain_holds_back_has_the_reservation_first() -> None:
    """Behind a job that is there a chain does, so that the reservation is left for the slot that an edge separates from now."""
    waits = draft(HOUR, 2 * HOUR, first=True, span=span(HOUR, 10 * HOUR, after="7"))
    crosses = draft(14 * HOUR, 15 * HOUR, first=True, span=span(14 * HOUR, 20 * HOUR, after="7"))
    assert choose_modes([waits], constraints(), OAR3) == ["chain"]
    assert choose_modes([crosses], constraints(), OAR3) == ["reservation"]
    assert choose_modes([waits, crosses], constraints(reservations=1), OAR3) == ["chain", "reservation"]


def pair() -> list[Draft]:
    """Now, in a chain up to an edge, and from that edge on in a chain."""
    before, after = span(0, 13 * HOUR, closed=13 * HOUR), span(13 * HOUR, 20 * HOUR, opened=13 * HOUR)
    return [
        draft(0, HOUR, first=True, span=before),
        draft(HOUR, 12 * HOUR, span=before),
        draft(12 * HOUR, 13 * HOUR, span=before),
        draft(13 * HOUR, 14 * HOUR, first=True, span=after),
        draft(14 * HOUR, 15 * HOUR, span=after),
    ]


@pytest.mark.parametrize(
    ("left", "modes"),
    [
        (0, ["now", "chain", "chain", "begin", "chain"]),
        (1, ["now", "chain", "reservation", "begin", "chain"]),
        (2, ["now", "chain", "reservation", "reservation", "chain"]),
        (3, ["now", "chain", "reservation", "reservation", "reservation"]),
        (4, ["now", "chain", "reservation", "reservation", "reservation"]),
    ],
)
def test_reservations_go_to_the_two_around_an_edge_then_to_what_is_right_behind(left: int, modes: list[str]) -> None:
    assert choose_modes(pair(), constraints(left), OAR) == modes


def test_what_cannot_be_held_back_otherwise_comes_before_the_pair() -> None:
    assert choose_modes(pair(), constraints(1), OAR3) == ["now", "chain", "chain", "reservation", "chain"]
    assert choose_modes(pair(), constraints(2), OAR3) == ["now", "chain", "reservation", "reservation", "chain"]


def test_a_slot_that_touches_an_edge_comes_before_none_and_behind_a_pair() -> None:
    lone = [draft(HOUR, 2 * HOUR, first=True, span=span(HOUR, 3 * HOUR, opened=HOUR)), *pair()[1:]]
    assert choose_modes(lone, constraints(2), OAR) == ["begin", "chain", "reservation", "reservation", "chain"]
    assert choose_modes(lone[:2], constraints(1), OAR) == ["reservation", "chain"]
    closing = [draft(0, HOUR, first=True), draft(HOUR, 2 * HOUR, span=span(0, 2 * HOUR, closed=2 * HOUR))]
    assert choose_modes(closing, constraints(1), OAR) == ["now", "reservation"]
    short_of = [draft(0, HOUR, first=True), draft(HOUR, 2 * HOUR - 1, span=span(0, 2 * HOUR, closed=2 * HOUR))]
    assert choose_modes(short_of, constraints(1), OAR) == ["now", "chain"], "it ends before the edge's time"
    assert choose_modes(CHAIN, constraints(2), OAR) == ["now", "chain", "chain"], "none touches an edge"


def test_two_edges_are_no_pair() -> None:
    before, after = span(0, 13 * HOUR, closed=13 * HOUR), span(14 * HOUR, 20 * HOUR, opened=14 * HOUR)
    lone = span(HOUR, 2 * HOUR, opened=HOUR)
    apart = [
        draft(HOUR, 2 * HOUR, first=True, span=lone),
        draft(12 * HOUR, 13 * HOUR, span=before),
        draft(14 * HOUR, 15 * HOUR, first=True, span=after),
    ]
    assert choose_modes(apart, constraints(1), OAR) == ["reservation", "chain", "begin"], "in the order of their starts"


def test_nothing_is_fixed_right_behind_a_slot_that_a_late_start_would_leave_without_time() -> None:
    slots = [draft(0, HOUR, first=True), draft(HOUR, HOUR + 149), draft(2 * HOUR, 3 * HOUR, span=span(0, 3 * HOUR, closed=3 * HOUR))]  # fmt: skip
    assert choose_modes(slots, constraints(1), OAR, 150) == ["now", "chain", "chain"]
    assert choose_modes(slots, constraints(1), OAR, 149) == ["now", "chain", "reservation"]
    first = [*slots[:2], draft(2 * HOUR, 3 * HOUR, first=True, span=span(2 * HOUR, 3 * HOUR, closed=3 * HOUR))]
    assert choose_modes(first, constraints(1), OAR, 150) == ["now", "chain", "reservation"], "it is held back by itself"


def test_a_job_has_until_its_free_time_ends_or_the_next_fixed_one_comes() -> None:
    modes = ["now", "chain", "reservation", "reservation", "chain"]
    ends = [end - T for end in deadlines(pair(), modes, 61)]
    assert ends == [12 * HOUR - 61, 12 * HOUR - 61, 13 * HOUR, 14 * HOUR, 20 * HOUR]
    ends = [end - T for end in deadlines(pair(), ["now", "chain", "chain", "begin", "chain"], 61)]
    assert ends == [13 * HOUR - 61, 13 * HOUR - 61, 13 * HOUR - 61, 20 * HOUR, 20 * HOUR]
    assert [end - T for end in deadlines(pair(), ["now", "chain", "chain", "chain", "chain"], 61)] == [13 * HOUR] * 3 + [20 * HOUR] * 2  # fmt: skip
    assert deadlines([], [], 61) == []
    endless = [draft(0, HOUR, span=FreeInterval(T, NEVER + 5, "", ""))]
    assert deadlines(endless, ["now"], 0) == [NEVER]


def test_of_two_pairs_the_earlier_is_reserved() -> None:
    def moved(slot: Draft) -> Draft:
        day = 24 * HOUR
        opened, closed = (edge and edge.instant - T + day for edge in (slot.span.edge_before, slot.span.edge_after))
        later = span(slot.span.start - T + day, slot.span.end - T + day, opened=opened, closed=closed)
        return draft(slot.start - T + day, slot.end - T + day, first=slot.first, span=later)

    slots = [*pair()[1:4], *(moved(slot) for slot in pair()[1:4])]
    assert choose_modes(slots, constraints(2), OAR) == [
        "chain",
        "reservation",
        "reservation",
        "chain",
        "chain",
        "begin",
    ]
    assert choose_modes(slots, constraints(4), OAR)[4:] == ["reservation", "reservation"]
    # Where the first of all is the one before the edge.
    slots = [*pair()[2:4], *(moved(slot) for slot in pair()[1:4])]
    assert choose_modes(slots, constraints(2), OAR)[:2] == ["reservation", "reservation"]
