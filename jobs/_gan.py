"""The options that every GAN has, and those of GANs that draw from latent vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ganhpc.core import units
from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment, Kind, options
from ganhpc.runs.options import option


@dataclass(frozen=True, kw_only=True)
class Gan(Experiment):
    """Generators and their adversaries."""

    KIND: ClassVar[Kind] = Kind.GAN

    lr_g: float | None = option(None, "learning rate of the generator (unset: --lr)", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminator or critic (unset: --lr)", low=0.0)
    beta1: float = option(0.5, "Adam: decay of the gradients' mean", low=0.0, high=0.9999)
    beta2: float = option(0.999, "Adam: decay of the gradients' square", low=0.0, high=0.999999)
    image_size: int = option(64, "side of the images", unit="pixels", low=8, high=1024)
    base_channels: int = option(64, "channels of the narrowest layers", low=1, high=1024)
    flip: str = option("none", "mirroring of training images", choices=("none", "random", "alternate"))
    affine: tuple[float, ...] = option(
        (),
        "turn training images by up to so many degrees and enlarge them up to so many times (none: don't): 25,1.25",
        low=0.0,
        high=180.0,
        metavar="X,X",
    )
    hue: float = option(0.0, "turn the colours of training images by up to this share of the circle", low=0.0, high=0.5)
    sample_rows: int = option(8, "rows of a picture of samples", low=1, high=64)
    sample_columns: int = option(8, "columns of a picture of samples", low=1, high=64)
    sample_every: str = option(
        "epoch",
        "how often samples are drawn: epoch, a number of steps (500), or a time (2m)",
        kind="cadence",
        metavar="N|TIME",
    )
    stop_on_collapse: bool = option(False, "end the run where the generator collapses or the discriminator saturates")
    distance_images: int = option(
        0, "at the end, Frechet and kernel distances of this many images (0: none)", low=0, high=100_000
    )

    def replace(self, **values: Any) -> Self:
        """As in `Experiment`; a new --lr is meant for both networks, whatever the preset has for each."""
        if "lr" in values:
            values = {"lr_g": None, "lr_d": None, **values}
        return super().replace(**values)

    def check(self) -> None:
        for name, rate in (("lr-g", self.rate_g), ("lr-d", self.rate_d)):
            if rate <= 0:
                raise UserError(f"--{name} {rate:g} must be more than zero: try 0.0002.")
        if self.affine and (len(self.affine) != 2 or self.affine[1] < 1):
            shown = ",".join(f"{x:g}" for x in self.affine)
            raise UserError(f"--affine {shown} must be degrees and a factor of at least 1: try 25,1.25, or none.")
        _ = self.cadence

    @property
    def rate_g(self) -> float:
        """The generator's learning rate."""
        return self.lr if self.lr_g is None else self.lr_g

    @property
    def rate_d(self) -> float:
        """The discriminator's or critic's learning rate."""
        return self.lr if self.lr_d is None else self.lr_d

    @property
    def cadence(self) -> tuple[int | None, float | None]:
        """(steps, seconds) between samples, one of which is None; both are for each end of an epoch.

        Raises UserError where --sample-every says none of these.
        """
        try:
            every = units.parse_cadence(self.sample_every)
        except UserError:
            known = {each.name: each for each in options(type(self))}
            raise known["sample_every"].refusal(self.sample_every) from None
        return (every, None) if isinstance(every, int) else (None, every)


@dataclass(frozen=True, kw_only=True)
class LatentGan(Gan):
    """A generator that draws from latent vectors, and its adversary."""

    latent_dim: int = option(100, "numbers in a latent vector", low=1, high=65_536, after="image_size")
    measure_images: int = option(
        500,
        "at the end, measure this many generated lines exactly (0: none; lines only)",
        low=0,
        high=100_000,
        after="stop_on_collapse",
    )


def real_label_option(low: float, high: float) -> Any:
    """The option of a GAN whose discriminator gives real images a label, and not always 1."""
    text = "the label of real images: one draw a batch between these two"
    return option((low, high), text, low=0.0, high=1.0, metavar="X,X")


def noise_option() -> Any:
    """The option of a GAN whose discriminator sees noisy images."""
    text = "normal noise on all that the discriminator sees; its deviation is one draw a step between 0 and this"
    return option(0.0, text, low=0.0, high=10.0)


def check_real_label(bounds: tuple[float, ...]) -> None:
    """Raise UserError unless --real-label is two numbers, the lower one first."""
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        shown = ",".join(map(str, bounds))
        raise UserError(f"--real-label {shown} must be two numbers from 0 to 1, the lower one first: try 0.9,1.")
