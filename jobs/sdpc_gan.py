"""A GAN fused with SDPC: the generator draws sparse codes, and learned dictionaries paint them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from ganhpc.core.errors import UserError
from ganhpc.datasets.data_path import denoted
from ganhpc.runs.options import option
from ganhpc.scans.named import Named
from jobs import _sdpc_source
from jobs._gan import LatentGan, check_real_label, noise_option, real_label_option
from jobs._sdpc import check_two_layers, two_layers

_DICTIONARIES = ("sdpc", "sdpc-tuned", "adversarial", "random", "pca", "hi-la")
_LEARNED = ("sdpc", "sdpc-tuned", "hi-la")


@dataclass(frozen=True, kw_only=True)
class SdpcGan(LatentGan):
    """A generator of sparse codes with SDPC's dictionaries, or with one of their controls."""

    NAME: ClassVar[str] = "sdpc-gan"
    TASK: ClassVar[str] = "sdpc_gan"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "synthetic", "cifar10", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = (
        "atoms",
        "base_channels",
        "dictionary",
        "feedback",
        "image_size",
        "iterations",
        "latent_dim",
        "penalties",
        "threshold",
    )

    ADDED_FIELDS: ClassVar[Mapping[str, Any]] = {"sparsity": 0.0}

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, cifar10, or lines (made on the spot)", metavar="PATH|NAME"
    )
    dictionary: str = option(
        "sdpc",
        "what the generator paints with: learned by an SDPC and frozen (sdpc; hi-la without feedback) or tuned (sdpc-tuned); or adversarial, random, pca",
        choices=_DICTIONARIES,
    )
    source: str = option(
        "", "take the dictionaries of this finished run of sdpc instead of learning them", metavar="RUN", flag="--from"
    )
    sdpc_share: float = option(
        0.25, "share of the training that learns the dictionaries, before the GAN's", low=0.01, high=0.95
    )
    sdpc_lr: float = option(5e-3, "learning rate of the dictionaries of the SDPC", low=1e-9)
    sparsity: float = option(
        0.0, "weight of an L1 penalty on the codes that the generator draws (0: none)", low=0.0, high=1e6
    )
    image_size: int = option(32, "side of the images: a multiple of 8", unit="pixels", low=8, high=1024)
    latent_dim: int = option(64, "numbers in a latent vector", low=1, high=65_536, after="image_size")
    base_channels: int = option(32, "channels of the discriminator's first layer", low=1, high=1024)
    atoms: tuple[int, ...] = option(
        (64, 128), "atoms of both layers: of 8x8 pixels, and of 4x4 units", low=1, high=4096
    )
    penalties: tuple[float, ...] = option((0.5, 0.5), "lambda of each layer of the SDPC", low=0.0)
    feedback: float = option(1.0, "strength of the SDPC's feedback", low=0.0, high=100.0)
    iterations: int = option(40, "iterations of an inference of the SDPC, at most", low=1, high=10_000)
    threshold: float = option(
        5e-3, "an inference stops where every layer's energy changes by less than this share", low=0.0, high=1.0
    )
    batch_size: int = option(64, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(2e-4, "learning rate of both networks of the GAN", low=0.0)
    real_label: tuple[float, ...] = real_label_option(1.0, 1.0)
    noise: float = noise_option()
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))
    sample_every: str = option(
        "1m",
        "how often samples are drawn: epoch, a number of steps (500), or a time (2m)",
        kind="cadence",
        metavar="N|TIME",
    )
    distance_images: int = option(
        500, "at the end, Frechet and kernel distances of this many images (0: none)", low=0, high=100_000
    )

    def replace(self, **values: Any) -> Self:
        """As in `Experiment`; a run's folder is kept as a whole path, and looked into."""
        typed = values.get("source")
        if typed:
            path = Path(denoted(typed, "--from"))
            # The name of a data set, too, means a folder here.
            values["source"] = str(path if path.is_absolute() else Path(denoted(f"./{path}", "--from")))
        made = super().replace(**values)
        if typed:
            made.check_source(Path(made.source))
        return made

    def check_source(self, folder: Path) -> None:
        """Raise UserError unless `folder` is a finished run of sdpc whose dictionaries the generator can paint with."""
        _sdpc_source.check(folder, self.coding, "invertible")

    @property
    def coding(self) -> dict[str, Any]:
        """Arguments of the SDPC that learns the dictionaries, channels left out."""
        feedback = 0.0 if self.dictionary == "hi-la" else self.feedback
        found = two_layers(self, feedback=feedback, iterations=self.iterations, threshold=self.threshold)
        return {"image_size": self.image_size, **found}

    def check(self) -> None:
        super().check()
        check_two_layers(self, "generator")
        check_real_label(self.real_label)
        if self.source and self.dictionary not in _LEARNED:
            raise UserError(
                f"--from gives dictionaries of an SDPC, and --dictionary {self.dictionary} takes none: type --dictionary sdpc, or leave --from out."
            )
        if self.image_size % 8:
            raise UserError(
                f"--image-size {self.image_size} must be a multiple of 8: try {self.image_size // 8 * 8} or {self.image_size // 8 * 8 + 8}."
            )


PRESETS = {
    # 424,448 parameters at 32 pixels under every --dictionary.
    "default": SdpcGan(),
    "64": SdpcGan(preset="64", image_size=64),
}

SCANS = {
    # The arms of docs/fusion.md: the fusion, the baseline, and the controls.
    "fusion": Named({"dictionary": _DICTIONARIES}),
    # The lightest sparse GAN: the baseline with an L1 penalty on one activation.
    "fusion-l1": Named({"dictionary": ("adversarial",), "sparsity": (0.0, 0.01, 0.1, 1.0)}),
}
