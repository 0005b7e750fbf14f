"""Stages of a training that follow one another inside one budget, such as a teacher's and then its student's.

The loop knows one training with one plan; a stage is a share of it. One ends with the first whole epoch after its share of the plan has
passed, so that steps, epochs and data order count on without a break, and a resumed run stands in the same stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ganhpc.core.units import format_duration
from ganhpc.runs.progress import Progress, Stopped, Untrained


def outcome(done: Progress) -> dict[str, float]:
    """Entries of result.json on the stages before the last: epochs, seconds of steps, and the last figure."""
    found: dict[str, float] = {}
    for stage in done.earlier:
        figures = {key: value for key, value in stage.items() if key != "name" and value is not None}
        found |= {f"{stage['name']}_{'accuracy' if key == 'figure' else key}": value for key, value in figures.items()}
    return found


def must_be_trained(
    done: Progress, time: float | None, needed: float, ends_with_job: bool, save: Callable[[], None]
) -> None:
    """Done means trained: raise Untrained where the time was over before the first step of what is to be evaluated, or, where only this job
    left no time (`ends_with_job`), `save` and raise Stopped. `time`: seconds of the budget; `needed`: those of them that go to other things
    than steps."""
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
