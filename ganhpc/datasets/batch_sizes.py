"""Batches that a data set has images for: told when a run is typed as far as the number is known, and by the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.units import counted
from ganhpc.datasets import catalogue


def check(images: int, batch_size: int, rounds: int = 1, flag: str = "--data") -> None:
    """Raise UserError where a step, of `rounds` batches, needs more than the `images` training images of the set that `flag` names."""
    if rounds > 1 and rounds * batch_size > images:
        raise UserError(
            f"--critic-steps {rounds} of --batch-size {batch_size} need {rounds * batch_size:,} images, and the set has "
            f"{images:,}: type fewer or smaller ones."
        )
    if batch_size > images:
        raise too_large(batch_size, images, flag)


def too_large(batch_size: int, images: int, flag: str = "--data") -> UserError:
    """The refusal of batches larger than the set."""
    of = "" if flag == "--data" else f" of {flag}"
    return UserError(
        f"--batch-size {batch_size} is more than the {counted(images, 'training image')}{of}: type a smaller one."
    )


def number(name: str, asked: int | None) -> int | None:
    """Training images of the set called `name` where --train-images asks for `asked`; None where that is not known. Raises UserError."""
    known = catalogue.data_sets(name)[0]
    least, most = known.bounds
    if asked is None:
        return known.images
    if asked < least or (most is not None and asked > most):
        way = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        raise UserError(f"--train-images {asked} is out of range: --data {name} takes {way}.")
    return asked


def require(definition: Mapping[str, Any], word: str, pictures: int | None, flag: str) -> None:
    """Raise UserError where the set called `word` has too few images for what `definition` asks for, as far as that is known before it is read.

    `pictures`: those of a folder or zip, one of which at least is held out; None for a set that has a name.
    """
    asked, batch_size = definition.get("train_images"), definition.get("batch_size")
    if pictures is None:
        found = number(word, asked)
    else:
        found = asked if asked is not None else pictures - 1
        if found >= pictures:
            raise UserError(
                f"--train-images {asked}: {flag} {printable(word)} has {pictures:,} pictures, some of which are held out: ask for fewer."
            )
    if batch_size is not None and found is not None:
        check(found, batch_size, definition.get("critic_steps") or 1, flag)
