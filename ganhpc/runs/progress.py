"""Progress of a run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import parse_json
from ganhpc.runs.run_files import is_count, is_number

_UNKNOWN = ("first", "evaluated", "pass_step")
"""Fields that are -1 where nothing is known yet."""


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
        if not isinstance(text, str):
            raise TypeError(f"progress is of the type {type(text).__name__}")
        made = cls(**parse_json(text))
        for each in dataclasses.fields(cls):
            value, kind = getattr(made, each.name), type(getattr(cls(), each.name))
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TypeError(f"{each.name} is {value!r:.40}")
            known = is_count(value) if kind is int else is_number(value) and value >= 0
            if kind in (int, float) and not known and not (value == -1 and each.name in _UNKNOWN):
                raise ValueError(f"{each.name} is {value!r:.40}")
        made._check()
        return made

    def _check(self) -> None:
        """Raise ValueError where the fields contradict one another, or their lists hold what no evaluation and no stage has left."""
        if max(self.evaluated, self.pass_step, self.stage_step) > self.step:
            raise ValueError(f"it is about steps behind step {self.step}")
        if max(self.schedule, self.stage_schedule) > 1.000001:
            raise ValueError("it is behind the end of its schedule")
        for point in self.curve:
            if not isinstance(point, dict) or not is_count(point.get("step")) or not is_count(point.get("stage", 0)):
                raise ValueError("its curve has a point that is none")
        for stage in self.earlier:
            if not isinstance(stage, dict) or not isinstance(stage.get("name"), str):
                raise ValueError("it has a stage that is none")
            if not all(value is None or is_number(value) for key, value in stage.items() if key != "name"):
                raise ValueError("it has a stage whose figures are no numbers")
