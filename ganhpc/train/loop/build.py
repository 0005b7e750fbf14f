"""Set-up before the first step: data, seeds, the task, its choices, the budget of parameters, the checkpoint."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ganhpc.core.files import read_json, storage_errors, write_json
from ganhpc.core.units import counted
from ganhpc.datasets import batch_sizes, held_data
from ganhpc.datasets.data_path import FIRST, RUN_FIELD, flagged, held_fields
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.runs.definition_fields import read_choices
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.progress import Progress
from ganhpc.runs.run_folder import Run
from ganhpc.train.data import registry
from ganhpc.train.flops.counters import check_budget
from ganhpc.train.loop.speed_choice import Speed
from ganhpc.train.loop.trainer import Trainer
from ganhpc.train.runtime import checkpoint
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.training_clock import Clock
from ganhpc.train.tasks import exports
from ganhpc.train.tasks import task as base


def prepare(run: Run, experiment: Experiment, process_group: Distributed, begun: float) -> Trainer:
    """A trainer that stands where the run's newest whole checkpoint left it.

    `begun` is when this process started (time.monotonic). Raises UserError where data are missing, the network is over its
    budget or the folder can't be written.
    """

    def say(line: str) -> None:
        if process_group.is_main:
            print(line, flush=True)

    if process_group.device.type == "cpu":
        keep_freed_memory()
    # Batches keep their shapes, so trying each convolution's kernels once pays.
    torch.backends.cudnn.benchmark = process_group.device.type == "cuda"
    with storage_errors(run.folder):
        run.checkpoints.mkdir(exist_ok=True)
    places = _held_places(run, experiment, process_group, say)
    source = places.pop(RUN_FIELD, None)
    images = _load_all(run, experiment, places, say)
    # Seconds that belong to starting up, like the import of torch itself: the first optimizer asks for the one, TensorBoard's files
    # for the others, which only rank 0 writes.
    importlib.import_module("torch._dynamo")
    if process_group.is_main:
        importlib.import_module("torch.utils.tensorboard")
        importlib.import_module("tensorboard.plugins.hparams.metadata")
    unusable: list[str] = []
    while True:
        found = checkpoint.newest(run.checkpoints, torch.device("cpu"), unusable, run.recorded_signature())
        for note in found.notes:
            say(f"warning: {note}")
        try:
            if found.tree:
                _check_step(found.tree, found.step)
            return _standing_at(found.tree, run, experiment, images, source, process_group, begun, say)
        except checkpoint.Unusable as error:
            say(f"warning: checkpoint {found.name} is broken ({error}): going back to the one before")
            unusable.append(found.name)


def _check_step(tree: dict[str, Any], by_name: int) -> None:
    """Raise checkpoint.Unusable where a checkpoint is of another step than its name says: it would stand in front of all that the run saves from
    now on. Before anything is made of it: what is behind its step would be cut from the records."""
    try:
        step = Progress.from_json(tree["progress"]).step
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise checkpoint.Unusable(f"{type(error).__name__}: {error}") from error
    if step != by_name:
        raise checkpoint.Unusable(f"it is that of step {step:,}")


def _standing_at(
    restored: dict[str, Any] | None,
    run: Run,
    experiment: Experiment,
    images: dict[str, ImageData],
    source: str | None,
    process_group: Distributed,
    begun: float,
    say: Any,
) -> Trainer:
    """A trainer that stands where the checkpoint `restored` was saved, or at the beginning. Raises checkpoint.Unusable."""
    clock = Clock(torch.cuda.synchronize if process_group.device.type == "cuda" else None)
    if restored:
        try:
            clock.load(restored["clock"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise checkpoint.Unusable(f"{type(error).__name__}: {error}") from error
    startup = time.monotonic() - begun
    clock.start()
    choices = read_choices(run.choices_json, type(experiment))
    context = _context(experiment, images, process_group, clock, choices, say)
    context.source = Path(source) if source else None
    speed = Speed(experiment, context, _builder(experiment), keep=lambda: _keep_choices(run, choices, process_group))
    speed.settle()
    task = _build(experiment, context)
    _keep_choices(run, choices, process_group)
    if process_group.is_main:
        exports.announce(run, task)
    if experiment.budget.budget_params is not None:
        check_budget(torch.nn.ModuleDict(task.results), experiment.budget.budget_params)
    torch.manual_seed(experiment.seed + 1 + process_group.rank)
    trainer = Trainer(run, experiment, task, clock, process_group, restored=restored, say=say)
    trainer.choices, trainer.speed = choices, speed
    trainer.data_note = "; ".join(each.note for each in images.values())
    trainer.progress.startup_seconds += startup
    if restored:
        say(f"resumed at step {trainer.progress.step:,} (epoch {trainer.progress.step / task.steps_per_epoch:.4g})")
    return trainer


def _load_all(
    run: Run, experiment: Experiment, places: dict[str, str], say: Callable[[str], None]
) -> dict[str, ImageData]:
    """The images of each data field, the first one in front, from `places`. Raises DataChanged where they are not those that the run began with."""
    found = {}
    for field, place in places.items():
        with flagged(field, experiment.definition):
            images = registry.load(dataclasses.replace(request_of(experiment, field), name=place, say=say))
            held_data.check(run.folder, place, images.fingerprint, field)
        counts = f"{len(images.images):,} training and {counted(len(images.test_images), 'test image')}"
        say(f"data: {images.name}, {counts} ({images.note})")
        for line in images.warnings:
            say(f"data: {line}")
        _report_skipped(images.skipped, say)
        found[field] = images
    return found


def _held_places(
    run: Run, experiment: Experiment, process_group: Distributed, say: Callable[[str], None]
) -> dict[str, str]:
    """Where the run's data lie now, and the run whose networks it takes, by their fields. Raises DataChanged where they are not those that it
    began with."""
    definition = experiment.definition
    places = {field: held_data.place(run.folder, definition[field], field) for field in held_fields(definition)}
    if process_group.is_main or any(held_data.recorded(run.folder, field) for field in places):
        line = held_data.hold(run.folder, {**definition, **places})
        if line:
            say(f"data: {line}")
    return places


def _report_skipped(names: tuple[str, ...], say: Callable[[str], None], most: int = 20) -> None:
    """Name the pictures that are not trained on, and why."""
    for line in names[:most]:
        say(f"skipped: {line}")
    if len(names) > most:
        say(f"skipped: {len(names) - most} more")


def request_of(experiment: Experiment, field: str = FIRST) -> DataRequest:
    """The images that `experiment` asks for by the data field `field`."""
    root = experiment.resources.data_root
    return DataRequest(
        getattr(experiment, field),
        root=Path(root) if root else None,
        train_images=experiment.train_images,
        image_size=getattr(experiment, "image_size", None),
        image_width=getattr(experiment, "image_width", None),
        seed=experiment.seed,
        held_out=getattr(experiment, "held_out", None),
        class_level=getattr(experiment, "class_level", None),
    )


def _context(
    experiment: Experiment,
    images: dict[str, ImageData],
    process_group: Distributed,
    clock: Clock,
    choices: dict[str, Any],
    say: Any,
) -> base.Context:
    time_budget = experiment.budget.time if experiment.budget.epochs is None else None
    return base.Context(
        data=images[FIRST],
        more={field: each for field, each in images.items() if field != FIRST},
        process_group=process_group,
        phase=clock.phase,
        choices=choices,
        seconds_left=None if time_budget is None else time_budget - clock.used,
        say=say,
    )


def _builder(experiment: Experiment) -> Callable[[Experiment, base.Context], base.Task]:
    builder: Callable[[Experiment, base.Context], base.Task] = base.module_of(experiment).build
    return builder


def _build(experiment: Experiment, context: base.Context) -> base.Task:
    torch.manual_seed(experiment.seed)
    task = _builder(experiment)(experiment, context)
    if task.steps_per_epoch < 1:
        raise batch_sizes.too_large(experiment.batch_size, len(context.data.images))
    return task


def _keep_choices(run: Run, choices: dict[str, Any], process_group: Distributed) -> None:
    """Settle for all later segments what was measured in this one."""
    if process_group.is_main and choices and choices != read_json(run.choices_json):
        write_json(run.choices_json, choices)


def keep_freed_memory() -> None:
    """Ask the C library to keep what a step frees for the next one.

    A step's large tensors would else be mapped and cleared anew each time; training on CPU is some 8 % faster so
    (benchmarks/memory.py). Other C libraries than glibc have no mallopt, and nothing happens.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, (1 << 31) - 1)
