"""BEGAN with an SDPC as its auto-encoder: what dictionaries reconstruct badly is not real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs.options import option
from ganhpc.scans.named import Named
from jobs._sdpc import check_two_layers, two_layers
from jobs.began import Began

_ADVERSARIES = ("sdpc", "hi-la", "threshold", "autoencoder")


@dataclass(frozen=True, kw_only=True)
class SdpcBegan(Began):
    """A boundary-equilibrium GAN whose discriminator infers sparse codes, or a control of as many parameters."""

    NAME: ClassVar[str] = "sdpc-began"
    TASK: ClassVar[str] = "sdpc_began"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "synthetic", "cifar10", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = (
        *Began.NETWORK,
        "adversary",
        "atoms",
        "feedback",
        "iterations",
        "penalties",
    )

    adversary: str = option(
        "sdpc",
        "the auto-encoder: an SDPC; the same without feedback (hi-la), or with one iteration (threshold); or BEGAN's own of as many parameters",
        choices=_ADVERSARIES,
    )
    base_channels: int = option(32, "channels of the generator", low=1, high=1024)
    atoms: tuple[int, ...] = option(
        (64, 128), "atoms of both layers: of 8x8 pixels, and of 4x4 units", low=1, high=4096
    )
    penalties: tuple[float, ...] = option((0.5, 0.5), "lambda of each layer of the SDPC", low=0.0)
    feedback: float = option(1.0, "strength of the SDPC's feedback", low=0.0, high=100.0)
    iterations: int = option(10, "iterations of an inference, always as many", low=1, high=10_000)

    def check(self) -> None:
        super().check()
        if self.net == "sabegan":
            raise UserError(
                "--variant sabegan shares the generator with the auto-encoder's decoder, and sdpc-began has none: type --variant began or abegan."
            )
        check_two_layers(self, "auto-encoder")

    @property
    def coding(self) -> dict[str, Any]:
        """Arguments of the SDPC, those of the images left out."""
        feedback = 0.0 if self.adversary == "hi-la" else self.feedback
        iterations = 1 if self.adversary == "threshold" else self.iterations
        return two_layers(self, feedback=feedback, iterations=iterations, threshold=0.0)


PRESETS = {
    # At 32 pixels: generator 189,475 parameters, SDPC 143,552.
    "default": SdpcBegan(),
}

SCANS = {
    # Design B and its controls, at as many parameters of the discriminator.
    "fusion-b": Named({"adversary": _ADVERSARIES}),
}
