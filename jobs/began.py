"""BEGAN on images: an auto-encoder as discriminator, in balance with the generator; variants abegan and sabegan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs import gan_sizes
from ganhpc.runs.options import option
from jobs._gan import LatentGan


@dataclass(frozen=True, kw_only=True)
class Began(LatentGan):
    """A boundary-equilibrium GAN (internship notes, week 5)."""

    NAME: ClassVar[str] = "began"
    TASK: ClassVar[str] = "began"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "celeba", "synthetic")
    NETWORK: ClassVar[tuple[str, ...]] = ("activation", "base_channels", "image_size", "latent_dim", "net")

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, or lines (made on the spot)", metavar="PATH|NAME"
    )
    net: str = option(
        "began",
        "began; abegan: generation simpler than analysis; sabegan: one net is the generator and D's decoder",
        choices=("began", "abegan", "sabegan"),
        flag="--variant",
    )
    activation: str = option("elu", "activation", choices=("elu", "relu"))
    image_size: int = option(32, "side of the images: 16, 32, 64 or 128", unit="pixels", low=16, high=1024)
    latent_dim: int = option(64, "numbers in a latent vector and in a code", low=1, high=65_536)
    batch_size: int = option(32, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(1e-4, "learning rate of both networks", low=0.0)
    gamma: float = option(0.5, "loss of generated images over that of real ones, in balance", low=0.0, high=1.0)
    lambda_k: float = option(0.001, "step of k", low=0.0, high=1.0)
    k_range: tuple[float, ...] = option(
        (0.0, 1.0), "k starts at the first and stays between both", low=0.0, high=1.0, metavar="X,X"
    )
    stall_epochs: int = option(
        10, "epochs whose mean of M is compared with the best so far (0: never)", low=0, high=10_000
    )
    stall_factor: float = option(0.9, "factor of the learning rates where that is no better", low=0.01, high=0.99)

    def check(self) -> None:
        super().check()
        gan_sizes.doublings(self.image_size, gan_sizes.BEGAN_SIDE)
        if len(self.k_range) != 2 or self.k_range[0] > self.k_range[1]:
            shown = ",".join(map(str, self.k_range))
            raise UserError(f"--k-range {shown} must be two numbers from 0 to 1, the lower one first: try 0,1.")


PRESETS = {
    "default": Began(),
    # Week 5: the new initialisation ("init"), and the bounded k that the notes tried and doubted.
    "w5": Began(preset="w5"),
    "w5-k": Began(preset="w5-k", net="abegan", k_range=(0.005, 0.995)),
    # The simplified asymmetric one, whose learning rate the notes left alone.
    "w5-sabegan": Began(preset="w5-sabegan", net="sabegan", stall_epochs=0),
}
