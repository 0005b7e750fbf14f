"""Training steps of a definition by themselves: the task's own batches and updates, without the loop, on made images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ganhpc.core.statistics import Spread
from ganhpc.datasets.types import ImageData
from ganhpc.runs.experiment import Experiment
from ganhpc.train.bench.hardware_peaks import Peaks, synchronizer
from ganhpc.train.bench.timing import calls_for, in_turn, seconds_each
from ganhpc.train.flops.counters import count_parameters, training_step_ops
from ganhpc.train.runtime import compiling, cuda_graph
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.training_clock import Clock
from ganhpc.train.tasks import task as base

EPOCH = 50_000
"""Images of an epoch of CIFAR-10, by which epochs are reckoned."""


class Steps:
    """The training steps of a task, one a call, epoch after epoch, as the loop makes them."""

    def __init__(self, task: base.Task, clock: Clock, train_step: Callable[..., dict[str, torch.Tensor]]) -> None:
        self.task, self.clock, self.train_step, self.made = task, clock, train_step, 0
        task.schedule(0.0)

    def __call__(self) -> dict[str, torch.Tensor]:
        epoch, index = divmod(self.made, self.task.steps_per_epoch)
        self.made += 1
        self.clock.begin_step()
        return self.train_step(self.task.batch(epoch, index))


@dataclass(frozen=True)
class Subject:
    """A definition to measure, under a name, on `data`; `more` has the images of its other data fields, `precision` the arithmetic."""

    name: str
    experiment: Experiment
    data: ImageData
    more: dict[str, ImageData] = field(default_factory=dict)
    precision: str = "auto"


def steps_of(subject: Subject, process_group: Distributed, *, compile: bool = False) -> Steps:
    """The steps of `subject` on the device of `process_group`; compiled where asked, and replayed where the loop would."""
    experiment = subject.experiment.replace(precision=subject.precision)
    torch.manual_seed(experiment.seed)
    clock = Clock(synchronizer(process_group.device))
    context = base.Context(subject.data, process_group, phase=clock.phase, say=lambda _: None, more=subject.more)
    task = base.module_of(experiment).build(experiment, context)
    task.wrap(compiling.compiled if compile and task.compilable else process_group.wrap)
    train_step = cuda_graph.begin(experiment, task, process_group, clock)
    steps = Steps(task, clock, train_step)
    while isinstance(train_step, cuda_graph.ReplayedSteps) and not train_step.replays:
        steps()
    return steps


def affordable(subject: Subject, process_group: Distributed, seconds: float) -> Subject:
    """`subject` with its batches halved until a step takes about `seconds` at most. Always as it is on a GPU."""
    experiment = subject.experiment
    size = min(experiment.batch_size, len(subject.data.images))
    if process_group.device.type == "cpu" and size > 8:
        trial = steps_of(replace(subject, experiment=experiment.replace(batch_size=8)), process_group)
        trial()
        each = seconds_each(trial, 1) / 8
        while size > 8 and size * each > seconds:
            size //= 2
    return replace(subject, experiment=experiment.replace(batch_size=size))


def measure(
    subjects: list[Subject],
    process_group: Distributed,
    peaks: Mapping[str, Peaks],
    *,
    repeats: int,
    seconds: float,
    longest: float,
    compile: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """A row for each subject, in the faster of the precisions that `peaks` has the ceilings of: speed in blocks of about `seconds`, `repeats`
    of them in turn, beside what the ceilings would allow.

    On CPU, batches are halved until a step takes `longest` seconds at most.
    """
    synchronize, made, calls = synchronizer(process_group.device), {}, {}
    for subject in subjects:
        say(f"steps of {subject.name}")
        fitting = affordable(subject, process_group, longest)
        for precision in peaks:
            key = subject.name, precision
            made[key] = steps_of(replace(fitting, precision=precision), process_group, compile=compile)
            calls[key] = calls_for(seconds, made[key], synchronize)
    say("all of them in turn")
    pieces = {key: lambda steps=steps, n=calls[key]: seconds_each(steps, n, synchronize) for key, steps in made.items()}
    found = in_turn(pieces, repeats, warmups=0)
    rows = []
    for subject in subjects:
        fastest = min(peaks, key=lambda precision: sum(found[subject.name, precision]))
        row = _row(subject, made[subject.name, fastest], found[subject.name, fastest], peaks[fastest])
        by_precision = {precision: Spread.of(found[subject.name, precision]).to_json() for precision in peaks}
        rows.append({**row, "step_seconds_by_precision": by_precision})
    return rows


def _row(subject: Subject, steps: Steps, seconds: list[float], peaks: Peaks) -> dict[str, Any]:
    task = steps.task
    # A replay executes no operators that could be counted: an ordinary step does.
    cuda_graph.settle(task.optimizers.values(), replayed=False)
    counted = training_step_ops(lambda: task.train_step(task.batch(0, 0)))
    ops, moved = float(counted["ops"]["total"]), float(counted["bytes"])
    bound, by = peaks.bound(ops, moved)
    step = Spread.of(seconds)
    speed = Spread.of(task.batch_size / s for s in seconds)
    params, frozen = count_parameters(nn.ModuleDict(task.modules))
    return {
        "name": subject.name,
        "experiment": subject.experiment.NAME,
        "preset": subject.experiment.preset,
        "precision": peaks.precision,
        "params": params,
        "frozen_params": frozen,
        "batch_size": task.batch_size,
        "asked_batch_size": subject.experiment.batch_size,
        "step_seconds": step.to_json(),
        "images_per_second": speed.to_json(),
        "step_ops": ops,
        "step_bytes": moved,
        "ops_per_second": Spread.of(ops / s for s in seconds).to_json(),
        "share_of_peak": ops / step.mean / peaks.matmul.mean,
        "bound_by": by,
        "bound_seconds": bound,
        "times_bound": step.mean / bound,
        "epochs_an_hour": speed.mean * 3600 / EPOCH,
    }
