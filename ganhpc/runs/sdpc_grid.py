"""Layout of a picture of samples of sparse coding: rows of images, reconstructions, active units and atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

COLUMNS = 16
SHOWN_ATOMS = 128


class _Band(NamedTuple):
    """Rows `first` to `end` (without the last) of a grid: `what` of layer `layer`, from 1; of images, layer 0."""

    what: str
    layer: int
    first: int
    end: int


def rows_of(definition: Mapping[str, Any]) -> list[_Band]:
    """The bands of a grid, from the top; [] of a definition that has no layers."""
    atoms = definition.get("atoms")
    if not isinstance(atoms, list | tuple) or not all(isinstance(many, int) and many > 0 for many in atoms):
        return []
    found = [_Band("images", 0, 0, 1)]
    for what in ("painted", "codes"):
        for layer in range(1, len(atoms) + 1):
            at = found[-1].end
            found.append(_Band(what, layer, at, at + 1))
    for layer, many in enumerate(atoms, 1):
        at = found[-1].end
        found.append(_Band("atoms", layer, at, at + (min(many, SHOWN_ATOMS) + COLUMNS - 1) // COLUMNS))
    return found
