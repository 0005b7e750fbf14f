"""MyName: a generative adversarial network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.runs.experiment import Budget
from ganhpc.runs.options import option
from jobs._gan import LatentGan


@dataclass(frozen=True, kw_only=True)
class MyName(LatentGan):
    """The definition: each field made by `option` is an option of `python launch.py my-name`, beside those of every GAN."""

    NAME: ClassVar[str] = "my-name"
    TASK: ClassVar[str] = "my_name_task"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = ("base_channels", "image_size", "latent_dim")

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, or lines (made on the spot)", metavar="PATH|NAME"
    )
    image_size: int = option(32, "side of the images, a power of two", unit="pixels", low=8, high=256)
    base_channels: int = option(32, "channels of the widest maps", low=1, high=1024)
    lr: float = option(2e-4, "learning rate of both networks", low=0.0)


PRESETS = {
    "default": MyName(),
    "quick": MyName(
        preset="quick",
        image_size=16,
        base_channels=8,
        train_images=200,
        measure_images=50,
        budget=Budget(time=None, epochs=1),
    ),
}
