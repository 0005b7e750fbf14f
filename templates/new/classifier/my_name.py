"""MyName: a classifier of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Budget, Experiment, Kind
from ganhpc.runs.options import option


@dataclass(frozen=True, kw_only=True)
class MyName(Experiment):
    """The definition: each field made by `option` is an option of `python launch.py my-name`."""

    NAME: ClassVar[str] = "my-name"
    TASK: ClassVar[str] = "my_name_task"
    KIND: ClassVar[Kind] = Kind.CLASSIFIER
    DATA: ClassVar[tuple[str, ...]] = ("cifar10", "synthetic")
    NETWORK: ClassVar[tuple[str, ...]] = ("width", "layers")

    data: str = option("cifar10", "data set: cifar10, or synthetic (made on the spot)", metavar="NAME")
    width: int = option(32, "channels of the first layer, doubled by each further one", low=1, high=1024)
    layers: int = option(3, "convolutions, each of which halves the side of the images", low=1, high=4)
    batch_size: int = option(128, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(0.05, "learning rate at its highest", low=0.0)
    momentum: float = option(0.9, "momentum", low=0.0, high=0.9999)
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))

    def check(self) -> None:
        """Raise UserError where options contradict one another."""
        super().check()
        if self.lr <= 0:
            raise UserError(f"--lr {self.lr:g} must be more than zero: try 0.05.")


PRESETS = {
    "default": MyName(),
    "quick": MyName(preset="quick", data="synthetic", width=8, budget=Budget(time=None, epochs=1)),
}
