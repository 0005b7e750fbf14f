"""Exported generators and two pictures of each, as version 0.1.0 wrote them: later versions read the files and make the pictures.

`python -m tests.golden.generators NAME` adds those of a new kind of network. Never write those of an old one anew: that they are old is
what they are for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from ganhpc.train.tasks import exports

FOLDER = Path(__file__).parent
ARGUMENTS: dict[str, dict[str, Any]] = {
    "dcgan-w13": {"image_size": 16, "channels": 3, "base_channels": 1, "bn_eps": 5e-5, "latent_dim": 3},
    "dcgan-tutorial": {"image_size": 16, "channels": 3, "base_channels": 2, "bn_eps": 1e-5, "latent_dim": 3},
    "began": {
        "image_size": 16, "channels": 3, "base_channels": 1, "activation": "elu", "variant": "abegan", "latent_dim": 3,
    },
    "wgan-gp": {"image_size": 8, "channels": 3, "base_channels": 2, "depth": 2, "latent_dim": 3},
    "strips": {"image_size": 8, "channels": 3, "latent_dim": 3, "width": 4, "colours": 4},
}  # fmt: skip


def pictures(name: str) -> Tensor:
    """What the exported generator makes of two fixed latent vectors: [2, 3, S, S] in [0, 1]."""
    return generator_io.draw(
        generator_io.load_file_of(FOLDER / f"generator-{name}.safetensors"),
        torch.tensor([[-1.0, 0.5, 2.0], [0.0, 1.0, -0.3]]),
    )


def main(name: str) -> None:
    """Write both files of a kind that has none yet."""
    path = FOLDER / f"generator-{name}.safetensors"
    assert not path.exists(), f"{path} is kept as it is"
    torch.manual_seed(0)
    about = generator_io.definition(name, ARGUMENTS[name])
    net = generator_io.build(about, path)
    for _ in range(3):
        net.train()(2 * torch.randn(8, 3))  # so that batch normalisation has seen something
    exports.write_one(Run(FOLDER), f"generator-{name}", about, net)
    save_file({"pictures": pictures(name)}, FOLDER / f"pictures-{name}.safetensors")


if __name__ == "__main__":
    for word in sys.argv[1:]:
        main(word)
