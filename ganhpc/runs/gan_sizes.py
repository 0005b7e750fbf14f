"""Sides of images that GANs' networks are for: told before anything is submitted, without torch."""

from __future__ import annotations

from ganhpc.core.errors import UserError

BEGAN_SIDE = 8
"""Pixels of the smallest maps of BEGAN's networks."""
BIGGAN_SIDES = (32, 64, 128)
_LEAST_MAP = 2
"""Least side of the map of patches: a discriminator of one position judges no patches, and can't be normalised before."""


def doublings(image_size: int, smallest: int) -> int:
    """Number of doublings of `smallest` to reach `image_size`, both in pixels. Raises UserError where it is never reached."""
    sizes = [smallest * 2**step for step in range(1, 8)]
    if image_size not in sizes:
        allowed = ", ".join(map(str, sizes))
        raise UserError(
            f"--image-size {image_size}: this network makes images of {allowed} pixels; choose one of them."
        )
    return sizes.index(image_size) + 1


def multiple(image_size: int, of: int) -> int:
    """`image_size` / `of`. Raises UserError where that is not a whole number of at least 2."""
    if image_size < 2 * of or image_size % of:
        low, high = max(2, image_size // of) * of, max(2, image_size // of + 1) * of
        near = str(low) if low == high else f"{low} or {high}"
        raise UserError(
            f"--image-size {image_size}: this network needs a multiple of {of} pixels, at least {2 * of}; try {near}."
        )
    return image_size // of


def map_side(image_size: int, layers: int) -> int:
    """The side of the map of patches of a PatchGAN; 0 or less where nothing is left."""
    side = image_size
    for _ in range(layers):
        side //= 2
    return side - 2


def check_patches(image_size: int, layers: int) -> None:
    """Raise UserError where a PatchGAN of so many strided convolutions has no map of patches."""
    if (side := map_side(image_size, layers)) >= _LEAST_MAP:
        return
    most = max((n for n in range(1, layers) if map_side(image_size, n) >= _LEAST_MAP), default=0)
    way_on = f"type --patch-layers {most}, or a larger --image-size" if most else "type a larger --image-size"
    left = "one position" if side == 1 else "no position"
    raise UserError(
        f"--patch-layers {layers} at --image-size {image_size} leaves {left} of the map of patches, which needs "
        f"{_LEAST_MAP}x{_LEAST_MAP}: {way_on}."
    )


def check_biggan(image_size: int, attention: int) -> None:
    """Raise UserError where BigGAN has no networks for that side, or none of their blocks has maps of the side `attention` (0: none asked for)."""
    if image_size not in BIGGAN_SIDES:
        sides = ", ".join(map(str, BIGGAN_SIDES))
        raise UserError(
            f"--image-size {image_size}: BigGAN's networks make images of {sides} pixels; choose one of them."
        )
    maps = [side for side in (16, 32, 64) if side < image_size]
    if attention and attention not in maps:
        there = f"choose one of {', '.join(map(str, maps))}, or 0"
        raise UserError(f"--attention {attention} at --image-size {image_size}: no block has such maps; {there}.")


def biggan_pieces(image_size: int, latent_dim: int, shared: int, *, hierarchical: bool) -> int:
    """Pieces of BigGAN's latent vector: one for the first layer, and where `hierarchical` one for each block, which doubles the side. Raises UserError
    where it has too few numbers, or blocks share no vector of the class."""
    pieces = (image_size // 4).bit_length() if hierarchical else 1
    if latent_dim < pieces or (hierarchical and not shared):
        raise UserError(
            f"--hierarchical needs --shared, and --latent-dim of {pieces} at least ({latent_dim} and --shared {shared} were given)."
        )
    return pieces
