"""CycleGAN: translate the pictures of one set into those of another, and back, without pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import check_patches
from ganhpc.runs.options import option
from jobs._gan import Gan


@dataclass(frozen=True, kw_only=True)
class CycleGan(Gan):
    """Two generators, a2b and b2a, and a discriminator for each of the two sets."""

    NAME: ClassVar[str] = "cyclegan"
    TASK: ClassVar[str] = "cyclegan"
    DATA: ClassVar[tuple[str, ...]] = ("lines", "negatives", "celeba")
    NETWORK: ClassVar[tuple[str, ...]] = (
        "base_channels",
        "blocks",
        "image_size",
        "init_gain",
        "patch_layers",
        "upsampling",
    )

    data: str = option(
        "lines",
        "pictures of set A: lines (made on the spot), celeba, or a folder or zip of images",
        metavar="NAME|PATH",
        flag="--data-a",
    )
    data_b: str = option(
        "negatives",
        "pictures of set B, unpaired: negatives (made on the spot), celeba, or a folder or zip of images",
        metavar="NAME|PATH",
        after="data",
    )
    batch_size: int = option(1, "images a step of each set, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(2e-4, "learning rate at its highest", low=0.0)
    image_size: int = option(256, "side of the images: a multiple of 4", unit="pixels", low=8, high=1024)
    base_channels: int = option(64, "channels of the first convolutions", low=1, high=1024)
    blocks: int = option(9, "residual blocks of each generator", low=1, high=64)
    patch_layers: int = option(
        3, "strided convolutions of each discriminator: patches of 16, 34, 70, 142 pixels", low=1, high=6
    )
    upsampling: str = option(
        "transposed",
        "how generators enlarge: transposed convolutions, or resize, which leaves no checkerboards",
        choices=("transposed", "resize"),
    )
    init_gain: float = option(
        0.02, "deviation of the initial weights (smaller ones help against inverted colours)", low=0.0, high=1.0
    )
    lambda_cycle: float = option(10.0, "weight of the cycle's error", low=0.0)
    lambda_identity: float = option(0.5, "weight of the identity's error, as a share of the cycle's (0: none)", low=0.0)
    pool: int = option(
        50, "older translations of each direction that discriminators are shown from (0: none)", low=0, high=10_000
    )
    decay: bool = option(True, "let the learning rates fall linearly over the second half of the run")
    enlarge: float = option(
        286 / 256,
        "enlarge training images so many times and cut them to --image-size at random places (1: don't)",
        low=1.0,
        high=4.0,
    )
    flip: str = option("random", "mirroring of training images", choices=("none", "random", "alternate"))
    sample_rows: int = option(8, "rows of a picture of samples", low=1, high=64)
    sample_columns: int = option(
        1, "sources of each set, with translation and cycle, in a row of samples", low=1, high=64
    )
    distance_images: int = option(
        500, "at the end, measure translations of this many held-out images (0: none)", low=0, high=100_000
    )

    def check(self) -> None:
        super().check()
        if self.image_size % 4:
            near = self.image_size // 4 * 4
            raise UserError(f"--image-size {self.image_size} must be a multiple of 4: try {near} or {near + 4}.")
        check_patches(self.image_size, self.patch_layers)
        if self.data == self.data_b:
            raise UserError(
                f"--data-a and --data-b are both {self.data}: a translation needs two sets; give another one as --data-b."
            )
        if self.init_gain <= 0:
            raise UserError(f"--init-gain {self.init_gain:g} must be more than zero: try 0.02.")


PRESETS = {
    # The authors' own setting for 256 pixels, such as horse2zebra.
    "default": CycleGan(),
    # Their setting for 128 pixels: six blocks.
    "128": CycleGan(preset="128", image_size=128, blocks=6),
    # Small enough for minutes on one CPU thread: about 3,000 steps in ten of them.
    "small": CycleGan(preset="small", image_size=32, base_channels=16, blocks=3, patch_layers=2, batch_size=8),
    # Faces to drawn ones, where shapes must change: a weak cycle, no identity error, patches of 142 pixels, no checkerboards.
    "faces2simpsons": CycleGan(
        preset="faces2simpsons",
        image_size=128,
        blocks=6,
        patch_layers=4,
        batch_size=4,
        lambda_cycle=2.0,
        lambda_identity=0.0,
        upsampling="resize",
    ),
}
