"""Sizes that no network of a GAN can have are refused in the definition, before anything is submitted."""

from __future__ import annotations

from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.runs.gan_sizes import biggan_pieces, check_biggan, doublings, map_side, multiple
from ganhpc.runs.known_experiments import find


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("dcgan", {"image_size": 30}, "needs a multiple of 8 pixels, at least 16; try 24 or 32"),
        ("dcgan", {"net": "tutorial", "image_size": 48}, "makes images of 8, 16, 32, 64"),
        ("began", {"image_size": 24}, "makes images of 16, 32, 64"),
        ("sdpc-began", {"image_size": 24}, "makes images of 16, 32, 64"),
        ("wgan-gp", {"image_size": 24, "depth": 4}, "needs a multiple of 16 pixels, at least 32; try 32"),
        ("cyclegan", {"image_size": 32, "patch_layers": 4}, "leaves no position of the map of patches"),
        ("biggan", {"image_size": 48}, "images of 32, 64, 128 pixels"),
        ("biggan", {"hierarchical": True, "shared": 4, "latent_dim": 3}, "--latent-dim of 4 at least"),
        ("biggan", {"attention": 7}, "no block has such maps; choose one of 16, or 0"),
    ],
)
def test_sizes_that_no_network_can_have_are_refused(name: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find(name).from_preset("default").replace(**values)


def test_sizes() -> None:
    assert [doublings(side, 4) for side in (8, 64, 512)] == [1, 4, 7] and multiple(24, 8) == 3
    assert [map_side(32, layers) for layers in (1, 2, 3, 4)] == [14, 6, 2, 0]
    for side, attention in ((32, 16), (64, 32), (128, 64), (128, 0)):
        check_biggan(side, attention)
    assert [biggan_pieces(side, 128, 4, hierarchical=True) for side in (32, 64, 128)] == [4, 5, 6]
