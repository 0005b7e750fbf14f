"""DCGAN on images: the Simpsons networks of the internship notes (w13), or those of the PyTorch tutorial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.runs import gan_sizes
from ganhpc.runs.options import option
from ganhpc.scans.named import Named
from jobs._gan import LatentGan, check_real_label, noise_option, real_label_option


@dataclass(frozen=True, kw_only=True)
class Dcgan(LatentGan):
    """A deep convolutional GAN."""

    NAME: ClassVar[str] = "dcgan"
    TASK: ClassVar[str] = "dcgan"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = ("base_channels", "bn_eps", "image_size", "latent_dim", "net")

    data: str = option(
        "lines", "images: a folder or zip of them, celeba, or lines (made on the spot)", metavar="PATH|NAME"
    )
    net: str = option("w13", "pair of networks", choices=("w13", "tutorial"))
    batch_size: int = option(64, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(4e-4, "learning rate of both networks", low=0.0)
    lr_d: float | None = option(4e-5, "learning rate of the discriminator (unset: --lr)", low=0.0)
    bn_eps: float = option(5e-5, "added to the variance in batch normalisation", low=0.0)
    real_label: tuple[float, ...] = real_label_option(0.9, 1.0)
    noise: float = noise_option()
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))

    def check(self) -> None:
        super().check()
        check_real_label(self.real_label)
        if self.net == "tutorial":
            gan_sizes.doublings(self.image_size, 4)
        else:
            gan_sizes.multiple(self.image_size, 8)


PRESETS = {
    "default": Dcgan(),
    # Internship notes, week 13, on Simpsons faces of 64x64 pixels: the recipe they start from ..
    "w13": Dcgan(preset="w13"),
    # .. then what they found best of what they scanned: rates, eps (0.5 learns faster), batches (8 collapses) ..
    "w13-best": Dcgan(preset="w13-best", lr=1e-4, lr_d=1e-5, bn_eps=0.5, batch_size=16),
    "w13-eps": Dcgan(preset="w13-eps", bn_eps=0.5),
    # (where they started their later scans from: rates and eps settled, batches of 64)
    "w13-rates": Dcgan(preset="w13-rates", lr=1e-4, lr_d=1e-5, bn_eps=0.5),
    # .. and what they found to fail, for whoever wants to see it: mode collapse, and a generator so fast that D stops to learn.
    "w13-collapse": Dcgan(preset="w13-collapse", lr=1e-4, lr_d=1e-5, bn_eps=0.5, batch_size=8),
    "w13-fast-g": Dcgan(preset="w13-fast-g", lr=4e-3),
    # The PyTorch DCGAN tutorial.
    "tutorial": Dcgan(
        preset="tutorial",
        data="celeba",
        net="tutorial",
        batch_size=128,
        lr=2e-4,
        lr_d=None,
        bn_eps=1e-5,
        real_label=(1.0, 1.0),
        flip="none",
    ),
}

# The scans of the notes, weeks 13 and 14. Where theirs had an eps of 0, which PyTorch refuses today, the recipe's own 5e-5 stands.
SCANS = {
    "lr-eps": Named({"lr_g": (1e-3, 1e-4), "lr_d": (1e-4, 1e-5), "bn_eps": (5e-5, 0.1, 0.5)}, preset="w13"),
    "latent-dim": Named({"latent_dim": (50, 100, 150, 200)}, preset="w13-rates"),
    "batch-size": Named({"batch_size": (8, 16, 32, 64)}, preset="w13-rates"),
    "b1-b2": Named({"beta1": (0.1, 0.3, 0.7, 0.9), "beta2": (0.8, 0.9, 0.99)}, preset="w13-rates"),
    "noise": Named({"noise": (0.05, 0.1, 0.15, 0.2)}, preset="w13-rates"),
}
