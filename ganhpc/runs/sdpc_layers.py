"""Shapes of layers of sparse codes: told before anything is submitted, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted

NAMES = ("atoms", "kernels", "strides", "paddings", "penalties")
"""Fields with one value a layer."""


def of(experiment: Any) -> dict[str, list[Any]]:
    """The values of the layers of `experiment`, by field. Raises UserError where they are not as many in each."""
    many = len(experiment.atoms)
    found = {name: list(getattr(experiment, name)) for name in NAMES}
    for name, values in found.items():
        if len(values) != many or not many:
            raise UserError(
                f"--{name} {','.join(map(str, values)) or 'none'}: --atoms has {counted(many, 'layer')}, so give {many or 'some'} "
                f"{'value' if many == 1 else 'values'} to each of --atoms, --kernels, --strides, --paddings and --penalties."
            )
    return found


def room(number: int, maps: Sequence[int], kernel: int, padding: int) -> list[int]:
    """Pixels by which the atoms of layer `number` can be shifted on the maps below, height and width. Raises UserError where they don't fit."""
    found = [side + 2 * padding - kernel for side in maps]
    if min(found) < 0:
        raise UserError(
            f"--kernels: layer {number} has atoms of {kernel} pixels and maps of {min(maps)} under them: type smaller ones, or a larger --image-size."
        )
    return found


def check(experiment: Any, height: int, width: int) -> None:
    """Raise UserError where the layers of `experiment` are not for images of that size."""
    values, maps = of(experiment), [height, width]
    layers = zip(values["kernels"], values["strides"], values["paddings"], strict=True)
    for number, (kernel, stride, padding) in enumerate(layers, 1):
        maps = [free // stride + 1 for free in room(number, maps, kernel, padding)]
