"""Floating-point operations of training steps, counted while one of them is made; and what a pass through the images did and took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ganhpc.runs.network_description import Operations
from ganhpc.runs.progress import Progress
from ganhpc.train.flops import Call
from ganhpc.train.flops.counters import StepCounter

_JUMP = 3.0
"""A learning rate that changes by this factor in one step has jumped."""


@dataclass(frozen=True)
class _PassWork:
    """One pass through the training images: seconds of its steps (evaluation left out), and operations where they were counted."""

    seconds: float
    ops: float | None

    def figures(self) -> dict[str, float]:
        """For files."""
        found = {"epoch_seconds": round(self.seconds, 4)}
        if self.ops is not None and self.seconds > 0:
            found |= {"epoch_ops": self.ops, "ops_per_second": self.ops / self.seconds}
        return found


class StepWork:
    """Counts the operations of one step after every `begin`, as it is made: the step itself computes what it would without.

    The second step is counted: in the first one, optimizers have no momentum yet. Steps that are replayed on a GPU execute no operators
    to be seen: there the very first is counted, made past what records them, whose own first step must settle what is compiled.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self.ops_of_a_step: float | None = None
        self._known = True

    def begin(self, step: Callable[[Any], Any], ordinary: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
        """`step`, of which one call will be counted. `ordinary`: the step without the replays that `step` makes (None: it makes none)."""
        which, to_count = (2, step) if ordinary is None else (1, ordinary)
        self.ops_of_a_step = None
        made = 0

        def counted(batch: Any) -> Any:
            nonlocal made
            made += 1
            if made != which:
                return step(batch)
            counter = _TolerantStepCounter()
            with torch.compiler.set_stance("force_eager"), counter:
                figures = to_count(batch)
            if not counter.failed:
                self.ops_of_a_step = float(counter.ops.total * self._processes)
            return figures

        return counted

    def of_the_pass(self, done: Progress) -> dict[str, float]:
        """Figures of the steps since the last pass; none where an older checkpoint did not say when they began. Begins the next one."""
        steps, seconds, known = done.step - done.pass_step, done.step_seconds - done.pass_seconds, done.pass_step >= 0
        done.pass_step, done.pass_seconds = done.step, done.step_seconds
        return self.of(steps, seconds).figures() if known and steps else {}

    def of(self, steps: int, seconds: float) -> _PassWork:
        """The work of `steps` steps of the present stage, which took `seconds`."""
        each = self.ops_of_a_step
        return _PassWork(seconds, None if each is None else each * steps)


def jumped(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """True if a learning rate has left one level for another, and did not slide there."""
    return any(
        rate > _JUMP * was or was > _JUMP * rate for was, rate in zip(before.values(), now.values(), strict=False)
    )


def turned(earlier: Mapping[str, float], before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """True if a learning rate rose up to the step before and rises no more: the top of a slope."""
    return any(
        was < top >= rate for was, top, rate in zip(earlier.values(), before.values(), now.values(), strict=False)
    )


class _TolerantStepCounter(StepCounter):
    """A training is not lost to an operator that can't be counted."""

    failed = False

    def counted(self, call: Call) -> Operations | None:
        try:
            return super().counted(call)
        except Exception:
            self.failed = True
            return None
