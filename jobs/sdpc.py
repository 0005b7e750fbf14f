"""SDPC: layers of sparse codes over learned dictionaries, each layer predicted by the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted
from ganhpc.runs.options import option
from jobs._sdpc import Coding


@dataclass(frozen=True, kw_only=True)
class Sdpc(Coding):
    """Sparse deep predictive coding."""

    NAME: ClassVar[str] = "sdpc"
    TASK: ClassVar[str] = "sdpc"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "synthetic", "cifar10", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = (
        "atoms",
        "contrast",
        "contrast_first",
        "feedback",
        "grey",
        "image_size",
        "image_width",
        "iterations",
        "kernels",
        "mask",
        "paddings",
        "penalties",
        "scale",
        "strides",
        "threshold",
        "whitening",
        "whitening_peak",
        "whitening_power",
    )

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, cifar10, or lines (made on the spot)", metavar="PATH|NAME"
    )
    batch_size: int = option(16, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(5e-3, "learning rate of the dictionaries", low=0.0)
    rates: tuple[float, ...] = option(
        (), "learning rate of each dictionary (none: --lr for all)", low=0.0, metavar="X,X"
    )
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))
    sample_steps: int | None = option(
        None, "steps between two pictures (unset: one at each end of an epoch)", low=1, high=10**9
    )

    def check(self) -> None:
        super().check()
        if self.rates and len(self.rates) != len(self.atoms):
            shown = ",".join(f"{x:g}" for x in self.rates)
            raise UserError(f"--rates {shown}: --atoms has {counted(len(self.atoms), 'layer')}: give as many, or none.")
        if min(self.all_rates, default=1.0) <= 0:
            raise UserError(f"--lr {self.lr:g}: learning rates must be more than zero: try 0.005.")

    @property
    def all_rates(self) -> tuple[float, ...]:
        """The learning rate of each dictionary."""
        return self.rates or (self.lr,) * len(self.atoms)


_PUBLISHED: dict[str, Any] = {"whitening": "blocked", "paddings": (0, 0), "iterations": 1000}
_FACES: dict[str, Any] = {
    **_PUBLISHED,
    "contrast_first": True,
    "mask": True,
    "kernels": (9, 9),
    "scale": 6.0,
    "rates": (1e-4, 5e-3),
}

PRESETS = {
    # Small enough for minutes on one CPU thread: 143,360 weights, about 2,000 steps in ten of them; its preparation can be undone.
    "default": Sdpc(),
    "small": Sdpc(preset="small"),
    # The same with independent layers: the built-in baseline.
    "hi-la": Sdpc(preset="hi-la", feedback=0.0),
    # Published sizes (Boutin et al., 2020), for a GPU: faces of CFD are 120 pixels high and 171 wide, those of AT&T 112 and 92.
    "cfd": Sdpc(preset="cfd", image_size=120, image_width=171, strides=(3, 1), penalties=(0.5, 1.4), threshold=5e-3, batch_size=10, contrast=11, **_FACES),
    "att": Sdpc(
        preset="att", image_size=112, image_width=92, strides=(2, 1), penalties=(0.5, 1.0), threshold=5e-4, batch_size=20, contrast=9, grey=True, **_FACES
    ),
    "stl10": Sdpc(
        preset="stl10",
        image_size=96,
        kernels=(8, 8),
        strides=(2, 1),
        penalties=(0.4, 1.6),
        threshold=1e-4,
        scale=10.0,
        batch_size=20,
        rates=(1e-4, 5e-3),
        whitening_power=4.0,
        contrast=9,
        mask=True,
        **_PUBLISHED,
    ),
    "mnist": Sdpc(
        preset="mnist",
        image_size=28,
        atoms=(32, 64),
        kernels=(5, 5),
        strides=(2, 1),
        penalties=(0.2, 0.3),
        threshold=5e-4,
        scale=2.0,
        batch_size=32,
        rates=(5e-2, 1e-1),
        whitening_peak=0.6,
        contrast=3,
        grey=True,
        **_PUBLISHED,
    ),
}  # fmt: skip
