"""Whole training steps as CUDA graphs: recorded once, then replayed, so that the host does not launch their hundreds of kernels again.

A replay repeats the very kernels of the recorded step on the same memory: batches are copied into the inputs that it was recorded
with, and whatever changes from step to step (the learning rate) must be a tensor on the device. The first steps of a segment run one
kernel after another, which also settles what is compiled and how long each phase takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganhpc.runs.experiment import Experiment
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.training_clock import Clock

Batch = tuple[Tensor, ...]
Figures = dict[str, Tensor]
_Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a function of no arguments, records what it does without doing it, and returns what does it."""


def wanted(experiment: Experiment, process_group: Distributed, possible: bool) -> bool:
    """True if the steps of `experiment` are replayed: on one GPU, where the task can (`possible`) and --compile is not off."""
    return (
        possible
        and experiment.compile != "off"
        and process_group.device.type == "cuda"
        and process_group.world_size == 1
    )


def settle(optimizers: Iterable[Optimizer], *, replayed: bool) -> None:
    """Give `optimizers` learning rates that a replay reads anew (tensors on their device), or plain numbers, whatever a checkpoint left."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = float(group["lr"])
            group["lr"] = torch.tensor(rate, device=group["params"][0].device) if replayed else rate
            if "capturable" in group:
                group["capturable"] = replayed
        for parameter, state in optimizer.state.items():
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(parameter.device if replayed else "cpu")


def set_rate(group: dict[str, object], rate: float) -> None:
    """Set the learning rate of a parameter group, in place where a replay reads it."""
    held = group["lr"]
    if isinstance(held, Tensor):
        held.fill_(rate)
    else:
        group["lr"] = rate


class _Replayable(Protocol):
    """The part of a task that a replay needs."""

    replayable: bool
    optimizers: dict[str, Optimizer]

    def train_step(self, batch: Any) -> Figures:
        """One step on `batch`."""


def begin(
    experiment: Experiment, task: _Replayable, process_group: Distributed, clock: Clock
) -> Callable[[Batch], Figures]:
    """Makes the training steps of the task's present stage, recorded or not."""
    replayed = wanted(experiment, process_group, task.replayable)
    settle(task.optimizers.values(), replayed=replayed)
    return ReplayedSteps(task.train_step, clock, cuda_graph) if replayed else task.train_step


class ReplayedSteps:
    """`step(batch) -> figures`, replayed once its phases were measured on an ordinary one.

    Args:
        step: the task's training step; its batches are tuples of tensors that always have the same shapes.
        clock: whose phases it charges.
        record: makes a replay of a function; `cuda_graph` on a GPU.
    """

    def __init__(self, step: Callable[[Batch], Figures], clock: Clock, record: _Recorder) -> None:
        self._step, self._clock, self._record = step, clock, record
        self._replay: Callable[[], None] | None = None
        self._inputs: Batch = ()
        self._figures: Figures = {}
        self._shares: dict[str, float] = {}
        self._side: torch.cuda.Stream | None = None

    @property
    def replays(self) -> bool:
        """True if the next step is a replay."""
        return self._replay is not None

    def __call__(self, batch: Batch) -> Figures:
        if self._replay is None and self._shares:
            self._begin(batch)
        if self._replay is None:
            return self._ordinary(batch)
        for held, new in zip(self._inputs, batch, strict=True):
            held.copy_(new)
        with self._clock.several(self._shares):
            self._replay()
        return self._figures

    def _ordinary(self, batch: Batch) -> Figures:
        before = self._clock.measured()
        with self._beside(batch[0].device):
            figures = self._step(batch)
        took = {name: seconds - before[name] for name, seconds in self._clock.measured().items()}
        self._shares = {name: seconds for name, seconds in took.items() if seconds > 0}
        return figures

    @contextmanager
    def _beside(self, device: torch.device) -> Iterator[None]:
        """Run the block on a stream beside the present one, as what comes before a recording must be; nothing on a CPU."""
        if device.type != "cuda":
            yield
            return
        present = torch.cuda.current_stream(device)
        self._side = self._side or torch.cuda.Stream(device)
        self._side.wait_stream(present)
        with torch.cuda.stream(self._side):
            yield
        present.wait_stream(self._side)

    def _begin(self, batch: Batch) -> None:
        self._inputs = tuple(part.clone() for part in batch)

        def once() -> None:
            self._figures = self._step(self._inputs)

        with self._clock.unmeasured():
            self._replay = self._record(once)


def cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """`step` recorded as a CUDA graph on the present device; returns what launches it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay
