"""Progress of a run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from ganhpc.core.errors import UserError


class Stopped(Exception):
    """The loop ended before the run was done, with a checkpoint."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Failed(UserError):
    """The training itself failed, in a way that more training won't fix."""

    exit_code = 4


class NonFinite(Failed):
    """A training figure stopped being a number."""


class Untrained(UserError):
    """The time of a run does not hold a training step."""


def finite(value: float) -> float | None:
    """`value`, or None where it is no number that JSON has."""
    return value if math.isfinite(value) else None


@dataclass
class Progress:
    """Progress of a run: all that a resumed loop must know beside weights and random states."""

    step: int = 0
    schedule: float = 0.0
    first: float = -1.0
    """Clock at the first step."""
    evaluated: int = -1
    """The step of the last evaluation."""
    finished: bool = False
    """Training is over; the last evaluation may still be due."""
    ended_by: str = ""
    epochs_planned: float = 0.0
    step_seconds: float = 0.0
    """Seconds spent in training steps alone."""
    pass_step: int = -1
    """Where the present pass through the images began: step, seconds of steps; -1 where an older checkpoint did not say."""
    pass_seconds: float = 0.0
    segments: int = 0
    lost_seconds: float = 0.0
    """Training time that kills threw away."""
    startup_seconds: float = 0.0
    """Seconds before the clock, over all segments: loading, building, restoring."""
    stage: int = 0
    """The stage of the training (see `ganhpc/train/loop/stages.py`), from 0; and where it began: step, seconds of steps, schedule."""
    stage_step: int = 0
    stage_seconds: float = 0.0
    stage_schedule: float = 0.0
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The stages that are over."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """The evaluations: epoch, step, seconds and figures."""

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """The progress that a checkpoint holds. Raises TypeError or ValueError where a field holds what it can't be."""
        made = cls(**json.loads(text))
        for each in dataclasses.fields(cls):
            value, kind = getattr(made, each.name), type(getattr(cls(), each.name))
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TypeError(f"{each.name} is {value!r}")
            if kind is float and not math.isfinite(value):
                raise ValueError(f"{each.name} is {value!r}")
        return made
