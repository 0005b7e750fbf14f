"""DCGAN on images: the Simpsons networks of the internship notes (w13), or those of the PyTorch tutorial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.errors import UserError
from ganhpc.experiment import option
from jobs._gan import Gan


@dataclass(frozen=True, kw_only=True)
class Dcgan(Gan):
    """A deep convolutional GAN."""

    NAME: ClassVar[str] = "dcgan"
    TASK: ClassVar[str] = "dcgan"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "celeba")

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, or lines (made on the spot)", metavar="PATH|NAME"
    )
    net: str = option("w13", "pair of networks", choices=("w13", "tutorial"))
    batch_size: int = option(64, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(4e-4, "learning rate of both networks", low=0.0)
    lr_d: float | None = option(4e-5, "learning rate of the discriminator (unset: --lr)", low=0.0)
    bn_eps: float = option(5e-5, "added to the variance in batch normalisation", low=0.0)
    real_label: tuple[float, ...] = option(
        (0.9, 1.0), "the label of real images: one draw a batch between these two", low=0.0, high=1.0, metavar="X,X"
    )
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))

    def check(self) -> None:
        super().check()
        if len(self.real_label) != 2 or self.real_label[0] > self.real_label[1]:
            shown = ",".join(map(str, self.real_label))
            raise UserError(f"--real-label {shown} must be two numbers from 0 to 1, the lower one first: try 0.9,1.")


PRESETS = {
    "default": Dcgan(),
    # Internship notes, week 13, on Simpsons faces of 64x64 pixels: the recipe they start from ..
    "w13": Dcgan(preset="w13"),
    # .. then what they found best of what they scanned: rates, eps (0.5 learns faster), batches (8 collapses) ..
    "w13-best": Dcgan(preset="w13-best", lr=1e-4, lr_d=1e-5, bn_eps=0.5, batch_size=16),
    "w13-eps": Dcgan(preset="w13-eps", bn_eps=0.5),
    # .. and what they found to fail, for whoever wants to see it: mode collapse, and a generator so fast that D stops to learn.
    "w13-collapse": Dcgan(preset="w13-collapse", lr=1e-4, lr_d=1e-5, bn_eps=0.5, batch_size=8),
    "w13-fast-g": Dcgan(preset="w13-fast-g", lr=4e-3),
    # The PyTorch DCGAN tutorial.
    "tutorial": Dcgan(
        preset="tutorial", data="celeba", net="tutorial", batch_size=128, lr=2e-4, lr_d=None, bn_eps=1e-5,
        real_label=(1.0, 1.0), flip="none",
    ),
}  # fmt: skip
