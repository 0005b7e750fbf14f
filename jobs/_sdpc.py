"""The options of everything that has layers of sparse codes in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs import sdpc_layers
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.options import option

_TWO_LAYERS = {"kernels": (8, 4), "strides": (4, 2), "paddings": (2, 1)}
"""Shape of the SDPC in a GAN: atoms of 8x8 pixels, and of 4x4 units of the layer below."""


def two_layers(experiment: Any, *, feedback: float, iterations: int, threshold: float) -> dict[str, Any]:
    """Arguments of the SDPC in a GAN, those of the images left out. Read of the definition: atoms, penalties."""
    return {
        "atoms": list(experiment.atoms),
        **{name: list(values) for name, values in _TWO_LAYERS.items()},
        "penalties": list(experiment.penalties),
        "feedback": feedback,
        "iterations": iterations,
        "threshold": threshold,
    }


def check_two_layers(experiment: Any, network: str) -> None:
    """Raise UserError unless --atoms and --penalties have a value for each of the two layers of `network`."""
    for name in ("atoms", "penalties"):
        if len(values := getattr(experiment, name)) != 2:
            shown = ",".join(f"{x:g}" for x in values) or "none"
            raise UserError(f"--{name} {shown}: the {network} has two layers: give two values.")


@dataclass(frozen=True, kw_only=True)
class Coding(Experiment):
    """Layers of sparse codes over learned dictionaries."""

    ADDED_FIELDS: ClassVar[Mapping[str, Any]] = {"image_width": None}

    image_size: int = option(32, "side of the images", unit="pixels", low=8, high=1024)
    image_width: int | None = option(
        None,
        "width of images that are not square, --image-size high (folders and zips)",
        unit="pixels",
        low=8,
        high=1024,
    )
    atoms: tuple[int, ...] = option((64, 128), "atoms of each layer, the first one in front", low=1, high=4096)
    kernels: tuple[int, ...] = option((8, 4), "side of each layer's atoms, in units of the layer below", low=1, high=64)
    strides: tuple[int, ...] = option((4, 2), "stride of each layer", low=1, high=64)
    paddings: tuple[int, ...] = option((2, 1), "padding of each layer", low=0, high=64)
    penalties: tuple[float, ...] = option((0.5, 0.5), "lambda of each layer: more makes codes sparser", low=0.0)
    scale: float = option(1.0, "initial scale v between layers, which is learned", low=1e-3, high=1e3)
    feedback: float = option(
        1.0, "strength of the prediction by the layer above (0: independent layers, Hi-La)", low=0.0, high=100.0
    )
    iterations: int = option(40, "iterations of an inference, at most", low=1, high=10_000)
    threshold: float = option(
        5e-3, "an inference stops where every layer's energy changes by less than this share", low=0.0, high=1.0
    )
    whitening: str = option(
        "invertible",
        "filter on images: none, blocked (nothing of the mean), or invertible (a little of it)",
        choices=("none", "blocked", "invertible"),
    )
    whitening_peak: float = option(0.5, "whitening: f0, in cycles a pixel", low=0.01, high=10.0)
    whitening_power: float = option(2.0, "whitening: n of exp(-(f/f0)^n)", low=0.5, high=8.0)
    contrast: int = option(
        0, "side of the window of local contrast normalisation (0: none)", unit="pixels", low=0, high=63
    )
    contrast_first: bool = option(False, "normalise the contrast before whitening")
    mask: bool = option(False, "damp the border of images")
    grey: bool = option(False, "work on grey images")

    def check(self) -> None:
        super().check()
        sdpc_layers.check(self, self.image_size, self.image_width or self.image_size)
        least = min(self.image_size, self.image_width or self.image_size)
        if self.contrast and (self.contrast % 2 == 0 or self.contrast > least):
            raise UserError(
                f"--contrast {self.contrast} must be odd and at most as many pixels as the images have, {least}: try 9, or 0 for none."
            )
