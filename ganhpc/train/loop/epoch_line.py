"""The line that a run prints at the end of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ganhpc.core.units import format_duration, human_number
from ganhpc.runs.figures import brief

if TYPE_CHECKING:
    from ganhpc.train.loop.trainer import Trainer


def epoch_line(
    trainer: Trainer, means: Mapping[str, float], numbers: Mapping[str, Any], work: Mapping[str, float] | None = None
) -> str:
    """Where the run stands: epoch, time left, rates, the means of the training figures (in the task's own words where it has some),
    the headline of the evaluation, speed; the `work` of the pass: its seconds, operations, and operations a second."""
    done, plan, task = trainer.progress, trainer.plan, trainer.task
    planned = f" of {math.ceil(done.epochs_planned - 1e-9)}" if done.epochs_planned else ""
    words = [f"epoch {done.step / task.steps_per_epoch:.4g}{planned}" if done.step else "before training"]
    if plan.time is not None:
        words.append(f"{format_duration(max(0, round(plan.time - trainer.clock.used)))} left")
    words += [f"{name} {value:.3g}" for name, value in trainer.rates.items()]
    if means:
        words.append(task.words(means))
    headline = numbers.get(task.headline)
    if headline is not None:
        words.append(f"{task.headline.replace('_', ' ')} {brief(task.headline, headline)}")
    if trainer.images_per_second:
        words.append(f"{trainer.images_per_second:,.0f} images/s")
    words += pass_words(work or {})
    return " | ".join(words)


def pass_words(work: Mapping[str, float]) -> list[str]:
    """What a pass took and did, for people."""
    words = []
    if "epoch_seconds" in work:
        words.append(f"{work['epoch_seconds']:.3g} s")
    if "epoch_ops" in work:
        words += [
            f"{human_number(work['epoch_ops'])} operations",
            f"{human_number(work['ops_per_second'])} operations/s",
        ]
    return words
