"""BigGAN: pictures by their class, at 32, 64 or 128 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import biggan_pieces, check_biggan
from ganhpc.runs.options import option
from jobs._gan import Gan


@dataclass(frozen=True, kw_only=True)
class BigGan(Gan):
    """A conditional GAN of residual networks, and the average of its generator's weights."""

    NAME: ClassVar[str] = "biggan"
    TASK: ClassVar[str] = "biggan"
    DATA: ClassVar[tuple[str, ...]] = ("cifar10", "synthetic")
    NETWORK: ClassVar[tuple[str, ...]] = (
        "attention",
        "base_channels",
        "classes",
        "hierarchical",
        "image_size",
        "init",
        "latent_dim",
        "shared",
    )

    data: str = option(
        "cifar10",
        "pictures with classes: cifar10, synthetic (made on the spot), or a folder or zip of class folders",
        metavar="NAME|PATH",
    )
    class_level: int = option(
        0,
        "which folder of a picture's path names its class: 0 the one it lies in, 1 the first of the path, and so on",
        low=0,
        high=32,
        after="data",
    )
    classes: int | None = option(
        None,
        "number of classes that the data must have (unset: as many as they have)",
        low=2,
        high=10_000,
        after="class_level",
    )
    batch_size: int = option(
        50, "images a step of the discriminator, over all processes", unit="images", low=2, high=65_536
    )
    lr: float = option(2e-4, "learning rate of both networks", low=0.0)
    beta1: float = option(0.0, "Adam: decay of the gradients' mean", low=0.0, high=0.9999)
    critic_steps: int = option(4, "steps of the discriminator for one of the generator", low=1, high=100)
    image_size: int = option(32, "side of the images: 32, 64 or 128", unit="pixels", low=8, high=1024)
    latent_dim: int = option(128, "numbers in a latent vector", low=1, high=65_536)
    base_channels: int = option(64, "channels, of which all layers have multiples", low=1, high=1024)
    shared: int = option(
        0, "numbers of a class's vector that all of G's blocks share (0: each has a table of its own)", low=0, high=4096
    )
    hierarchical: bool = option(False, "give each of G's blocks a piece of the latent vector of its own")
    attention: int = option(0, "side of the maps with self-attention (0: nowhere)", low=0, high=512)
    init: str = option("normal", "initial weights: N(0, 0.02), or orthogonal", choices=("normal", "ortho"))
    ortho: float = option(
        0.0,
        "weight of orthogonal regularisation of G, in the convention of BigGAN's code (published: 0.0001; 0: none)",
        low=0.0,
        high=1.0,
    )
    ema_half_life: float = option(
        346_556.0,
        "images after which the average of G's weights has forgotten half (at most a twentieth of those seen)",
        low=1.0,
        high=1e12,
    )
    ema_start: int = option(1000, "steps after which weights are averaged; before, they are copied", low=0, high=10**9)
    standing: int = option(
        16,
        "batches over which the finished generator's normalisation is found anew (0: keep its running averages)",
        low=0,
        high=10_000,
    )
    keep_best: bool = option(True, "go back to the best average of before where the run has collapsed at its end")
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))
    sample_rows: int = option(10, "rows of a picture of samples: classes, the first ones", low=1, high=64)
    sample_columns: int = option(10, "columns of a picture of samples", low=1, high=64)
    distance_images: int = option(
        500, "at the end, distances, accuracy and diversity of so many pictures (0: none)", low=0, high=100_000
    )

    def check(self) -> None:
        super().check()
        check_biggan(self.image_size, self.attention)
        if self.hierarchical and not self.shared:
            raise UserError(
                "--hierarchical gives pieces of the latent vector to blocks that share the class's vector: add --shared 128."
            )
        biggan_pieces(self.image_size, self.latent_dim, self.shared, hierarchical=self.hierarchical)


PRESETS = {
    # The authors' script for CIFAR-10: no attention, four discriminator steps, averages of .9999 a step.
    "default": BigGan(),
    "cifar": BigGan(preset="cifar"),
    # 64 pixels: half of the published width, attention at 32, one shared vector a class.
    "64": BigGan(
        preset="64",
        image_size=64,
        base_channels=32,
        latent_dim=100,
        shared=128,
        hierarchical=True,
        attention=32,
        init="ortho",
        batch_size=64,
        critic_steps=2,
        ema_half_life=50_000.0,
    ),
    # Small enough for minutes on one CPU thread: about 1,200 steps in ten of them.
    "small": BigGan(
        preset="small",
        data="synthetic",
        base_channels=16,
        latent_dim=64,
        shared=32,
        hierarchical=True,
        init="ortho",
        batch_size=16,
        critic_steps=1,
        lr_d=4e-4,
        ema_half_life=2_000.0,
        ema_start=0,
    ),
}
