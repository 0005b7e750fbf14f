"""Interface of a task to the loop: networks, optimizers, one step, an evaluation. A task knows nothing of time or files."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import ImageData
from ganhpc.runs import own_experiments
from ganhpc.runs.experiment import Experiment
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks.stage import WHOLE, Stage

_Phase = Callable[[str], AbstractContextManager[None]]


@dataclass
class Context:
    """Everything that the loop gives a task when it builds it."""

    data: ImageData
    process_group: Distributed
    phase: _Phase = lambda name: nullcontext()  # noqa: ARG005
    """`with context.phase("forward"):` charges the block to that phase of the step."""
    choices: dict[str, Any] = field(default_factory=dict)
    """Choices measured in the first segment; they hold in all later ones. A task may add to it."""
    seconds_left: float | None = None
    """Seconds left of the time budget, for a task that adapts itself to it (None: no bound)."""
    say: Callable[[str], None] = print
    """Tell the user one line."""
    more: dict[str, ImageData] = field(default_factory=dict)
    """The other data sets of a definition that has several, by their fields (data_b)."""
    source: Path | None = None
    """The folder of the finished run whose exported networks are taken (--from), where it lies now."""

    @property
    def device(self) -> torch.device:
        return self.process_group.device

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Arithmetic in bf16 where `precision` (fp32, bf16 or auto) and the device make it so."""
        bf16 = precision_of(precision, self.device, self.choices) == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)


SPEED = "speed"
"""The key of `choices` under which stands how steps are computed: `ganhpc.train.loop.speed_choice` writes it."""


def precision_of(asked: str, device: torch.device, choices: Mapping[str, Any]) -> str:
    """Arithmetic of a step: fp32 or bf16. auto: on a CPU what was measured (fp32 where nothing was); bf16 on GPUs from Ampere on,
    whose matrix units are several times faster in it."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return str(choices.get(SPEED, {}).get("precision", "fp32"))


@dataclass(frozen=True)
class Export:
    """A network that is used by itself after training: `definition` (JSON values) tells how it is built."""

    definition: dict[str, Any]
    module: nn.Module


class Task(ABC):
    """Networks, losses and the order of updates.

    `modules` are the raw networks: for checkpoints, the parameter budget and the count of operations. `train_step` calls only what
    `wrap` gave back for them, or ranks drift apart. Figures that a step returns are scalar tensors on the device, not
    synchronised with the host.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    steps_per_epoch: int
    batch_size: int
    """Images a step, over all ranks."""
    headline: str = "loss"
    """The figure of `evaluate` that a reader looks at first."""
    compilable: bool = False
    """True if steps call whole networks and differentiate once, as torch.compile wants it."""
    replayable: bool = False
    """True if a step launches the same kernels each time, its batch being a tuple of tensors whose shapes never change:
    ganhpc.train.runtime.cuda_graph."""
    final_cost: float = 1.0
    """Cost of the last evaluation, in ordinary evaluations."""
    sample_steps: int | None = None
    """Pictures every so many steps (None: see `sample_seconds`)."""
    sample_seconds: float | None = None
    """Pictures whenever so many seconds of the training clock passed (None too: at each end of an epoch)."""
    sample_columns: int = 8
    """Pictures in a row of the grid."""
    stages: tuple[Stage, ...] = WHOLE
    """The stages of the training, as shares of the whole training."""
    auxiliary: frozenset[str] = frozenset()
    """Names of `modules` that only help to train the others: not counted in the budget, and no part of the result."""
    failure: str = ""
    """Set by `end_epoch` where more training makes no sense: why, the same on every rank. The loop then ends the run."""

    def wrap(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Take the networks that steps call. Called once, after a checkpoint was loaded."""
        self.wrapped = {name: wrap(module) for name, module in self.modules.items()}

    @abstractmethod
    def batch(self, epoch: int, step: int) -> Any:
        """The batch of `step` (from 0) of `epoch` (from 0): the same on every call, whatever went before."""

    @abstractmethod
    def train_step(self, batch: Any) -> dict[str, Tensor]:
        """Update the networks once. Returns scalar figures, such as the losses."""

    @abstractmethod
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """Figures on held-out images, the same on every rank. `final` asks for all that the result should hold; what is not a
        number there goes to evaluation.json."""

    @abstractmethod
    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        """Inputs of one image for the module `name`, on its device: what its operations are counted with."""

    def schedule(self, progress: float) -> dict[str, float]:
        """Set what changes along the run (`progress` in [0, 1]); returns what is worth a curve, such as the learning rate."""
        del progress
        return {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def begin_stage(self, number: int) -> None:
        """Stage `number` (from 0) begins, or is gone on with by a resumed run, whose weights are loaded next."""
        del number

    @property
    def results(self) -> dict[str, nn.Module]:
        """The modules that are the result."""
        return {name: module for name, module in self.modules.items() if name not in self.auxiliary}

    def end_epoch(self, figures: Mapping[str, float]) -> None:
        """Hear the means of an epoch's figures (a learning rate that waits for a stall is changed here)."""

    def words(self, means: Mapping[str, float]) -> str:
        """The means of an epoch's training figures, for the line that people read."""
        return " | ".join(f"{name} {value:.4f}" for name, value in means.items())

    def samples(self) -> Tensor | None:
        """Pictures to look at, float [N, C, H, W] in [0, 1], or None. Changes nothing; only rank 0 calls it."""
        return None

    def batch_pictures(self) -> Tensor | None:
        """The images of the first training batch as a step gets them, augmented and all: float [N, C, H, W] in [0, 1], or None."""
        return None

    def measures(self, seconds: float) -> dict[str, Any]:
        """Figures of the trained networks that cost too much for the training clock, made after it was stopped. Only rank 0 calls
        it; what can't be had in `seconds` is left out."""
        del seconds
        return {}

    def series(self, figures: Mapping[str, Any]) -> Mapping[str, Sequence[tuple[int, float]]]:
        """Of all that was found at the end (`evaluate` and `measures`), what is a curve over something else than steps: (place, value) by name, for
        TensorBoard."""
        del figures
        return {}

    def exports(self) -> dict[str, Export]:
        """The networks that are of use without the others and without the data, by name."""
        return {}

    def weights(self) -> dict[str, Tensor]:
        """The final weights, as `evaluate` uses them, by name."""
        return {
            f"{name}.{key}": value
            for name, module in self.results.items()
            for key, value in module.state_dict().items()
        }

    def state(self) -> dict[str, Any]:
        """Whatever else a resumed run needs (BEGAN's k, averaged weights): tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""


def module(name: str) -> ModuleType:
    """The task module `name` of this program. It has `build(experiment, context) -> Task` and
    `networks(experiment, shape, classes, choices) -> {name: module}`."""
    return importlib.import_module(f"{__package__}.{name}")


def module_of(experiment: Experiment) -> ModuleType:
    """The task's module of `experiment`: one beside its file where that is in a folder of the user's own, else this program's.

    Raises UserError where there is none.
    """
    name, home = experiment.TASK, type(experiment).__module__
    if not own_experiments.is_own(home):
        return module(name)
    if found := own_experiments.beside(home, name):
        missing = [each for each in ("build", "networks") if not callable(getattr(found, each, None))]
        if missing:
            raise UserError(
                f"the task {found.__file__} has no function {' and no '.join(missing)}: write it, as docs/own-experiments.md shows."
            )
        return found
    if find_spec(f"{__package__}.{name}") is None:
        raise UserError(
            f"TASK of {experiment.NAME} is {name!r}: no {name}.py lies beside its file, and ganhpc has no task of this name."
        )
    return module(name)
