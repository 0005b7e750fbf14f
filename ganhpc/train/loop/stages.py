"""Stages of a training that follow one another inside one budget, such as a teacher's and then its student's.

The loop knows one training with one plan; a stage is a share of it. One ends with the first whole epoch after its share of the plan has
passed, so that steps, epochs and data order count on without a break, and a resumed run stands in the same stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ganhpc.core.units import format_duration
from ganhpc.runs.progress import Stopped, Untrained

if TYPE_CHECKING:
    from ganhpc.train.loop.trainer import Trainer


def next_when_due(trainer: Trainer) -> None:
    """Go on to the next stage at the end of an epoch after the present one's share."""
    done, task = trainer.progress, trainer.task
    whole_epoch = done.step % task.steps_per_epoch == 0
    if whole_epoch and done.stage + 1 < len(task.stages) and done.schedule >= task.stages[done.stage].end - 1e-9:
        _next(trainer)


def all_over(trainer: Trainer) -> None:
    """The plan has ended: what is evaluated is the last stage, even where the time did not reach it."""
    while trainer.progress.stage + 1 < len(trainer.task.stages):
        _next(trainer)


def _next(trainer: Trainer) -> None:
    done, task = trainer.progress, trainer.task
    if done.evaluated != done.step:
        trainer.evaluate_and_log()
    name = task.stages[done.stage].name
    done.earlier.append(
        {
            "name": name,
            "epochs": (done.step - done.stage_step) / task.steps_per_epoch,
            "seconds": done.step_seconds - done.stage_seconds,
            "figure": done.curve[-1].get(task.headline) if done.curve else None,
        }
    )
    done.stage += 1
    done.stage_step, done.stage_seconds, done.stage_schedule = done.step, done.step_seconds, done.schedule
    done.evaluated = -1
    task.begin_stage(done.stage)
    trainer.begin_steps()
    # Steps and evaluations of the new stage cost something else.
    trainer.paces.forget()
    trainer.sums, trainer.counted = {}, 0
    trainer.say(f"{name} trained; now {task.stages[done.stage].name}")


def outcome(trainer: Trainer) -> dict[str, float]:
    """What result.json says of the stages before the last: epochs, seconds of steps, and the last figure."""
    found: dict[str, float] = {}
    for stage in trainer.progress.earlier:
        figures = {key: value for key, value in stage.items() if key != "name" and value is not None}
        found |= {f"{stage['name']}_{'accuracy' if key == 'figure' else key}": value for key, value in figures.items()}
    return found


def must_be_trained(trainer: Trainer, needed: float, ends_with_job: bool, save: Callable[[], None]) -> None:
    """Done means trained: raise Untrained where the time was over before the first step of what is to be evaluated, or, where only
    this job left no time (`ends_with_job`), `save` and raise Stopped. `needed`: seconds that go to other things than steps."""
    done, time = trainer.progress, trainer.plan.time
    if done.step > done.stage_step:
        return
    if time is None or (ends_with_job and needed < time):
        done.finished, done.ended_by = False, ""
        save()
        raise Stopped("out of time: the job ends before a first training step")
    raise Untrained(
        f"there was no time for a single training step: of --time {format_duration(time)}, preparing and evaluating take {needed:.1f} s on "
        f"this machine. Type the command again with --time {format_duration(math.ceil(2 * needed) + 10)} or more."
    )
