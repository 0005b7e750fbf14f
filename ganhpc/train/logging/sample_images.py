"""Sample images of a run at its cadence: samples/step-<step>.png and TensorBoard. Only rank 0 makes them."""

from __future__ import annotations

import math

from ganhpc.core.files import storage_errors
from ganhpc.runs.run_folder import Run
from ganhpc.train.logging.run_logger import RunLogger
from ganhpc.train.runtime import image_files
from ganhpc.train.runtime.training_clock import Clock
from ganhpc.train.tasks.task import Task


class SampleImages:
    """Pictures of one task at its cadence: at each end of an epoch, every N steps, or every so many seconds of the training clock."""

    def __init__(self, run: Run, task: Task, metrics: RunLogger, clock: Clock, step: int, *, active: bool) -> None:
        """`metrics`: writes them; `step`: of the run, 0 unless it is resumed; `active`: False on all ranks but rank 0."""
        self._run, self._task, self._metrics, self._clock, self._active = run, task, metrics, clock, active
        self._taken_at = clock.used if step else None
        self._taken_step = step or -1

    def steps_until_due(self, step: int) -> float:
        """Steps after `step` that a block may make before pictures are due."""
        every = self._task.sample_steps
        return math.inf if every is None else every - step % every

    def take_when_due(self, step: int) -> None:
        """Make pictures where the cadence says so."""
        if self._active and step != self._taken_step and self._due(step):
            self.take(step)

    def _due(self, step: int) -> bool:
        if self._task.sample_steps is not None:
            return step % self._task.sample_steps == 0
        if self._task.sample_seconds is not None:
            return self._taken_at is None or self._clock.used - self._taken_at >= self._task.sample_seconds
        return step % self._task.steps_per_epoch == 0

    def take(self, step: int) -> None:
        """Make the pictures of `step` now, unless they are made or the task has none."""
        path = self._run.samples / f"step-{step:010d}.png"
        if not self._active or (step == self._taken_step and path.exists()):
            return
        self._taken_step = step
        with self._clock.whole("evaluation"):
            images = self._task.samples()
            if images is not None:
                with storage_errors(self._run.samples):
                    self._run.samples.mkdir(exist_ok=True)
                image_files.save(image_files.grid(images, self._task.sample_columns), path)
                self._metrics.images("samples", step, images)
        self._taken_at = self._clock.used
