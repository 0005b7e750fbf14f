"""Time as a budget: the training clock, and how many steps still fit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fvcore.common.timer import Timer

from ganhpc.runs.figures import BETWEEN, TIMED
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.runtime.cost_estimates import Costs


class Clock:
    """The training clock of a run: seconds of training and evaluation, all its segments added up.

    It also keeps where they went. `synchronize` waits for the device's queue, so that a phase is charged for its own work; on a
    device with a queue only every `sample_every`-th step is measured that way, since waiting costs speed.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None, sample_every: int = 50) -> None:
        self._base = 0.0
        self._timer: Timer | None = None
        self._synchronize = synchronize
        self._sample_every = sample_every if synchronize else 1
        self._sampling = True
        self._phases = dict.fromkeys(TIMED, 0.0)
        self._sampled_steps = 0
        self._steps = 0
        self._steps_here = 0

    def start(self) -> None:
        """Let it run (once a segment)."""
        self._timer = Timer()

    def stop(self) -> None:
        """Hold it: what follows is not training."""
        if self._timer and not self._timer.is_paused():
            self._timer.pause()
        self._sampling = False  # a step whose operations are counted afterwards is charged to no phase

    @property
    def used(self) -> float:
        """Seconds on the clock."""
        return self._base + (self._timer.seconds() if self._timer else 0.0)

    def sync(self) -> float:
        """Wait for the device, then `used`."""
        if self._synchronize:
            self._synchronize()
        return self.used

    def begin_step(self) -> None:
        """Say that a training step begins, and settle whether its phases are measured.

        Not the first steps of a process: they choose kernels and compile, which no later one does.
        """
        self._sampling = self._steps_here % self._sample_every == self._sample_every // 2
        self._steps_here += 1
        self._steps += 1
        self._sampled_steps += self._sampling

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the block to the phase `name` of a training step."""
        if not self._sampling:
            yield
            return
        if self._synchronize:
            self._synchronize()
        begun = time.perf_counter()
        yield
        if self._synchronize:
            self._synchronize()
        self._phases[name] += time.perf_counter() - begun

    @contextmanager
    def several(self, shares: Mapping[str, float]) -> Iterator[None]:
        """Charge the block to several phases, in proportion to `shares`: for a step that can't be looked into."""
        if not self._sampling:
            yield
            return
        before = self._phases["forward"]
        with self.phase("forward"):
            yield
        took, whole = self._phases["forward"] - before, sum(shares.values())
        self._phases["forward"] = before
        for name, share in shares.items():
            self._phases[name] += took * share / whole

    @contextmanager
    def unmeasured(self) -> Iterator[None]:
        """Charge nothing in the block to any phase."""
        sampling, self._sampling = self._sampling, False
        yield
        self._sampling = sampling

    def measured(self) -> dict[str, float]:
        """Seconds by phase, of the measured steps only."""
        return dict(self._phases)

    @contextmanager
    def whole(self, name: str) -> Iterator[None]:
        """Charge the block to a phase outside the steps (see BETWEEN)."""
        begun = self.sync()
        yield
        self._phases[name] += self.sync() - begun

    def shares(self) -> dict[str, float]:
        """Seconds by phase; the phases of unmeasured steps are taken to be like those of the measured ones.

        Measuring makes a step of a device with a queue slower. So the phases of steps are at most the time that the others leave.
        """
        factor = self._steps / self._sampled_steps if self._sampled_steps else 0.0
        between = sum(self._phases[name] for name in BETWEEN)
        steps = factor * (sum(self._phases.values()) - between)
        if self._synchronize and steps > (left := max(0.0, self.used - between)):
            factor *= left / steps
        return {k: v * (1.0 if k in BETWEEN else factor) for k, v in self._phases.items()}

    def rounded_shares(self) -> dict[str, float]:
        """The same to the millisecond, for files."""
        return {name: round(value, 3) for name, value in self.shares().items()}

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"used": self.used, "phases": dict(self._phases), "sampled": self._sampled_steps, "steps": self._steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. Raises ValueError, KeyError and the like where it holds what no clock has shown."""
        self._base = content.amount(state["used"], "clock.used")
        phases = {name: content.amount(value, f"clock.{name}") for name, value in state["phases"].items()}
        self._phases.update({name: value for name, value in phases.items() if name in self._phases})
        self._steps = content.count(state["steps"], "clock.steps")
        self._sampled_steps = content.count(state["sampled"], "clock.sampled", self._steps)


@dataclass
class TrainingPlan:
    """The number of steps of a run: fixed by epochs, or as many as fit into the time.

    `time` bounds the training clock in seconds (None: no bound); `epochs` fixes the steps (None: time decides).
    """

    steps_per_epoch: int
    time: float | None
    epochs: int | None

    def steps_left(self, step: int, used: float, costs: Costs, job_left: float = math.inf) -> float:
        """Steps to make after `step`, with `used` seconds on the clock; at most 0: it is time to finish.

        `job_left` is the time that the run's last job still has: a run bounded by time ends with it at the latest.

        In a run bounded by time, an evaluation and a save fall due at each end of an epoch, and the last evaluation is set
        aside first, so that no budget is exceeded.
        """
        fixed = math.inf if self.epochs is None else self.epochs * self.steps_per_epoch - step
        if self.time is None:
            return fixed
        job_left = job_left if self.epochs is None else math.inf
        left = min(self.time - used, job_left) - costs.final
        each = max(costs.step, 1e-9)  # Not yet measured: one step will tell.
        to_epoch_end = self.steps_per_epoch - step % self.steps_per_epoch
        if left < to_epoch_end * each:
            fitting = left / each
        else:
            # Whole epochs cost their evaluation and save as well as their steps.
            epoch = self.steps_per_epoch * each + costs.evaluation + costs.save
            left -= to_epoch_end * each
            whole, rest = divmod(left, epoch)
            fitting = to_epoch_end + whole * self.steps_per_epoch
            fitting += max(0.0, min(self.steps_per_epoch, (rest - costs.evaluation - costs.save) / each))
        return min(fixed, fitting if fitting >= 1 else 0.0)

    def progress(self, step: int, before: float, left: float) -> float:
        """Place on the schedule, in [0, 1], of a run that has made `step` steps.

        With fixed epochs this is exactly step / total (a cap on the time does not bend the schedule). By time it advances from
        `before` so that it would reach 1 after `left` more steps; `by_time` sets it right at each look at the clock.
        """
        if self.epochs is not None:
            return step / (self.epochs * self.steps_per_epoch)
        return min(1.0, before + (1.0 - before) / max(left, 1.0))

    def by_time(self, before: float, used: float, first: float, costs: Costs, job_left: float = math.inf) -> float:
        """The same by the clock: the share of the time for steps that has passed. It never goes back.

        `first` is what the clock showed at the first step. Estimates of the steps that are left play no part, so that a slow
        start does not bend the schedule.
        """
        if self.time is None or self.epochs is not None:
            return before
        end = used + min(self.time - used, job_left) - costs.final
        return max(before, min(1.0, (used - first) / (end - first))) if end > first else 1.0
