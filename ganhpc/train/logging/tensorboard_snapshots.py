"""TensorBoard pages of a run beside its curves: the graph, training images, distributions of weights and gradients, confusions.

Only rank 0 looks. All of it before the end of training is on the training clock, as the phase "logging".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ganhpc.train.logging.run_logger import RunLogger
from ganhpc.train.runtime.training_clock import Clock
from ganhpc.train.tasks.task import Task

_SHARE = 100
"""Between two looks at the weights, at least this many times what the last one cost passes on the training clock: at most 1 %."""
_CELL = 8
"""Pixels of one cell of a confusion matrix."""


class Snapshots:
    """The looks at one task: when it begins, at ends of epochs as far as that is cheap, and when it is over."""

    def __init__(self, task: Task, metrics: RunLogger, clock: Clock, *, active: bool) -> None:
        self._task, self._metrics, self._clock, self._active = task, metrics, clock, active
        self._taken_at: float | None = None
        self._cost = 0.0

    def begin(self) -> None:
        """Show what never changes: once in a run, and not again in later segments."""
        if not self._active:
            return
        with self._clock.whole("logging"):
            self._metrics.graph(self._task)
            pictures = self._task.batch_pictures()
            if pictures is not None:
                self._metrics.images("training_images", 0, pictures)

    def take_when_due(self, step: int) -> None:
        """Draw the distributions at the end of an epoch, where the last time was long enough ago. Gradients are the last step's."""
        if not self._active or step % self._task.steps_per_epoch:
            return
        begun = self._clock.sync()
        if self._taken_at is None or begun - self._taken_at >= _SHARE * self._cost:
            with self._clock.whole("logging"):
                self._draw(step)
            self._taken_at = self._clock.sync()
            self._cost = self._taken_at - begun

    def end(self, step: int, figures: Mapping[str, Any]) -> None:
        """Show how it ended: the distributions, the figures of the last evaluation, and which classes were taken for which."""
        if not self._active:
            return
        self._draw(step)
        self._metrics.line("final", step, {k: v for k, v in figures.items() if isinstance(v, int | float | str)})
        for name, points in self._task.series(figures).items():
            self._metrics.series(name, points)
        if figures.get("confusion"):
            shares = torch.tensor(figures["confusion"], dtype=torch.float32)
            shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
            self._metrics.images(
                "confusion", step, shares.repeat_interleave(_CELL, 0).repeat_interleave(_CELL, 1)[None, None]
            )

    def _draw(self, step: int) -> None:
        for name, module in self._task.modules.items():
            for key, parameter in module.named_parameters():
                self._metrics.histogram(f"weights/{name}.{key}", step, parameter)
                if parameter.grad is not None:
                    self._metrics.histogram(f"gradients/{name}.{key}", step, parameter.grad)
