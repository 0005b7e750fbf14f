"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Stopped(Exception):
    """The loop ended before the run was done, with a checkpoint."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Progress:
    """Where a run stands: all that a resumed loop must know beside weights and random states."""

    step: int = 0
    schedule: float = 0.0
    first: float = -1.0
    """What the clock showed at the first step."""
    evaluated: int = -1
    """The step of the last evaluation."""
    finished: bool = False
    """Training is over; the last evaluation may still be due."""
    ended_by: str = ""
    epochs_planned: float = 0.0
    step_seconds: float = 0.0
    """Seconds spent in training steps alone."""
    segments: int = 0
    lost_seconds: float = 0.0
    """Training time that kills threw away."""
    startup_seconds: float = 0.0
    """Seconds before the clock, over all segments: loading, building, restoring."""
    stage: int = 0
    """The stage of the training (see `ganhpc/stages.py`), from 0; and where it began: step, seconds of steps, schedule."""
    stage_step: int = 0
    stage_seconds: float = 0.0
    stage_schedule: float = 0.0
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The stages that are over."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """The evaluations: epoch, step, seconds and figures."""
