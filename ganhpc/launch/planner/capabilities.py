"""Abilities of schedulers, as planners know them."""

from __future__ import annotations

from typing import NamedTuple


class Capabilities(NamedTuple):
    """Abilities of a scheduler for a planner."""

    name: str
    reservations: bool = False
    """Advance reservations: a job at a fixed time (OAR -r)."""
    begin: bool = False
    """A job that starts not before a time (Slurm --begin, OAR 2.5 -t postpone)."""
    queue: bool = False
    """A queue on this machine, run in order."""
    hours: str = ""
    """night or day: jobs of the type that was typed run then only (OAR -t night, -t day); empty: at any time."""


QUEUE = Capabilities("local", queue=True)
"""A queue that runs jobs in order and can do nothing else, as this machine's does."""
