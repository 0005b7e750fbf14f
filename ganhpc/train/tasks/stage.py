"""A stage of a training: a share of one budget, such as a teacher's before its student's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """`name` of what is trained; `end`: the share of the whole training, in (0, 1], at which the stage ends."""

    name: str
    end: float


WHOLE = (Stage("", 1.0),)
"""The stages of a training that has only one."""


def within(stages: tuple[Stage, ...], number: int, begun: float, schedule: float) -> float:
    """Progress of stage `number`, in [0, 1], at `schedule` of the whole training; it began at `begun`."""
    end = stages[number].end
    return min(1.0, (schedule - begun) / (end - begun)) if end > begun else 1.0
