"""WGAN-GP drawing coloured lines (the course "Models and words"), or any images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.runs import gan_sizes
from ganhpc.runs.options import option
from jobs._gan import LatentGan


@dataclass(frozen=True, kw_only=True)
class WganGp(LatentGan):
    """A Wasserstein GAN with gradient penalty."""

    NAME: ClassVar[str] = "wgan-gp"
    TASK: ClassVar[str] = "wgan_gp"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = ("base_channels", "depth", "generator", "image_size", "latent_dim")

    data: str = option(
        "lines", "images: lines (made on the spot), celeba, or a folder or zip of images", metavar="NAME|PATH"
    )
    generator: str = option(
        "conv",
        "generator: the published convolutions, or strips, which chooses a place and a colour for each line",
        choices=("conv", "strips"),
    )
    image_size: int = option(128, "side of the images: a multiple of 2^depth", unit="pixels", low=8, high=1024)
    base_channels: int = option(
        128, "channels of the critic's first convolution and of G's last but one", low=1, high=1024
    )
    depth: int = option(4, "halvings in the critic, doublings in the generator", low=2, high=7)
    batch_size: int = option(16, "images a critic step, over all processes", unit="images", low=2, high=65_536)
    lr: float = option(2e-4, "learning rate of both networks", low=0.0)
    critic_steps: int = option(5, "steps of the critic for one of the generator", low=1, high=100)
    penalty: float = option(10.0, "weight of the gradient penalty", low=0.0)
    decay: bool = option(False, "let the learning rates fall linearly to zero over the second half of the run")
    sample_rows: int = option(5, "rows of a picture of samples", low=1, high=64)
    sample_columns: int = option(5, "columns of a picture of samples", low=1, high=64)

    def check(self) -> None:
        super().check()
        gan_sizes.multiple(self.image_size, 2**self.depth)


PRESETS = {
    "default": WganGp(),
    # As the course trains it: 128x128 pixels, 10,000 images.
    "lines": WganGp(preset="lines"),
    # Small enough for minutes on a CPU: 32x32 pixels (lines of one pixel), a generator that chooses places, few channels, one critic step,
    # rates that fall at the end.
    "small": WganGp(
        preset="small",
        generator="strips",
        image_size=32,
        base_channels=32,
        depth=3,
        latent_dim=16,
        batch_size=32,
        critic_steps=1,
        lr=5e-4,
        lr_d=2e-3,
        beta1=0.5,
        beta2=0.9,
        decay=True,
    ),
    "medium": WganGp(preset="medium", image_size=64, base_channels=64, depth=4, latent_dim=100, batch_size=32),
}
