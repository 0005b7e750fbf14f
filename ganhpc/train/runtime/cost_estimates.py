"""Running estimates of step, evaluation and checkpoint time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FINAL_MARGIN = 1.15
"""Factor of the last evaluation over what the others predict; the time for it is kept free (seen: 1.1 times, with mirrored images)."""

FIRST_SAVE = 0.05
"""Seconds that a save is taken to cost before there was one."""

MOST_UNEVEN = 2.0
"""The last evaluation is taken to cost at most so many times what it would at the mean pace, where the pace varies."""
_UNEVEN_MEMORY = 30.0
"""Seconds in which a change of pace is half forgotten."""
_UNEVEN_FROM = 0.1
"""Seconds of a block of steps from which on its pace tells of the machine."""
_MOST_AT_ONCE = 10.0
"""Times the mean that one look may count."""
SAVE_SHARE = 20
"""At the end of an epoch a checkpoint is made when at least this many times its cost has passed since the last."""
STOP_SECONDS = 5.0
"""Kept free before the end of a job, beside what is measured: file servers and the end of Python."""
WAIT_SECONDS = 300.0
"""Longest time for which rank 0 may work alone: half of what the others wait for it."""


@dataclass
class Estimate:
    """A running estimate of the seconds that one piece of work takes: the mean over about the last `memory` seconds of work."""

    memory: float = 5.0
    seconds: float | None = None
    _time: float = field(default=0.0, repr=False)
    _pieces: float = field(default=0.0, repr=False)
    _warm: bool = field(default=False, repr=False)

    @property
    def warm(self) -> bool:
        """True once the first piece no longer counts."""
        return self._warm

    def observe(self, total: float, n: int = 1) -> None:
        """Take in that `n` pieces took `total` seconds."""
        if self.seconds is not None and not self._warm:
            # The first piece paid for warming up (kernels chosen, memory mapped): from the second on it no longer counts.
            self._time = self._pieces = 0.0
            self._warm = True
        elif self.seconds:
            # A process that was held for minutes (SIGSTOP, a frozen control group) is not that slow; a pace that lasts is followed all the same.
            total = min(total, _MOST_AT_ONCE * n * self.seconds)
        fading = math.exp(-total / self.memory)
        self._time = self._time * fading + total
        self._pieces = self._pieces * fading + n
        self.seconds = self._time / self._pieces


@dataclass(frozen=True)
class Costs:
    """Seconds that the plan reckons with; measured, and guessed before the first measurement."""

    step: float
    evaluation: float
    final: float
    """The last evaluation, the last save, and what is drawn before them."""
    save: float


class CostEstimates:
    """Running estimates of the costs of a training loop, for its plan."""

    def __init__(self) -> None:
        self.save = Estimate()
        self.forget()

    def forget(self) -> None:
        """Steps and evaluations cost something else from now on."""
        self.step, self.evaluation = Estimate(), Estimate()
        self._step_then: float | None = None
        self._uneven = 1.0
        self._samples = 0.0

    def stepped(self, seconds: float, steps: int) -> None:
        """Take in that `steps` training steps took `seconds`."""
        self._uneven = 1 + (self._uneven - 1) * 0.5 ** (seconds / _UNEVEN_MEMORY)
        if self.step.warm and self.step.seconds and seconds >= _UNEVEN_FROM:
            self._uneven = min(MOST_UNEVEN, max(self._uneven, seconds / steps / self.step.seconds))
        self.step.observe(seconds, steps)
        self._step_then = self._step_then or self.step.seconds

    def evaluated(self, seconds: float) -> None:
        """Take in that an evaluation, not the last one, took `seconds`."""
        self.evaluation.observe(seconds)
        self._step_then = None

    def sampled(self, seconds: float) -> None:
        """Take in that sample images and TensorBoard's distributions took `seconds` between two blocks of steps: they may fall due once more
        before the last evaluation."""
        self._samples = max(self._samples, seconds)

    def costs(self, final_cost: float) -> Costs:
        """Seconds to reckon with; the last evaluation is `final_cost` others."""
        mean = self.evaluation.seconds or 0.0
        evaluation = mean * self._slowdown
        save = self.save.seconds or FIRST_SAVE
        return Costs(
            step=self.step.seconds or 0.0,
            evaluation=evaluation,
            # On a machine that does other things, too, the last evaluation may meet a busy moment.
            final=FINAL_MARGIN * max(evaluation, mean * self._uneven) * final_cost + save + self._samples,
            save=save,
        )

    @property
    def _slowdown(self) -> float:
        """Slowdown of the machine since its last evaluation, as far as its steps show (never below 1)."""
        return max(1.0, (self.step.seconds or 0.0) / self._step_then) if self._step_then else 1.0
