"""The finished run of sdpc that --from names: what its exported network says of itself, held against what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged
from ganhpc.core.printable import printable
from ganhpc.core.weight_files import definition_of

FILE = "sdpc.safetensors"
_MADE = "make one by `python launch.py sdpc`"
_PREPARED = (
    ("f0", "--whitening-peak", 0.5),
    ("n", "--whitening-power", 2.0),
    ("contrast", "--contrast", 0),
    ("grey", "--grey", False),
    ("mask", "--mask", False),
)
"""Arguments of a preparation, their options, and the values under which a generator undoes it."""
_GIVE = "give a run of `sdpc --preset small`"


def _arguments_of(folder: Path) -> dict[str, Any]:
    """The arguments of the SDPC in the folder of a finished run. Raises UserError where there is none."""
    place = printable(folder)
    if not folder.is_dir():
        raise UserError(
            f"--from {place}: there is no such folder: give that of a finished run of sdpc (`python launch.py results`)."
        )
    try:
        tree = definition_of(folder / FILE)
    except FileNotFoundError:
        raise UserError(
            f"--from {place}: there is no finished run of sdpc in this folder (looked for {FILE}): {_MADE}."
        ) from None
    except (Damaged, OSError) as error:
        raise UserError(f"--from {place}: {printable(error).rstrip('.')}: copy it again, or {_MADE}.") from None
    arguments = tree.get("arguments")
    if tree.get("net") != "sdpc" or not isinstance(arguments, dict):
        raise UserError(f"--from {place}: {FILE} is no SDPC: give the folder of a run of sdpc.")
    return arguments


def check(folder: Path, wanted: dict[str, Any], whitening: str) -> None:
    """Raise UserError unless the SDPC in `folder` has the arguments `wanted`, and saw images under `whitening` without contrast normalisation.

    The penalties and bounds of its inferences may be others: only its dictionaries and scales are used.
    """
    found, place = _arguments_of(folder), printable(folder)
    same = ("image_size", "atoms", "kernels", "strides", "paddings")
    if any(found.get(name) != wanted[name] for name in same):
        has, asked = _size(found), _size(wanted)
        raise UserError(
            f"--from {place}: this SDPC is of another size ({has}; this run paints with {asked}): {_GIVE} with this --image-size."
        )
    preparation = found.get("preparation")
    preparation = preparation if isinstance(preparation, dict) else {}
    if (saw := preparation.get("whitening", "invertible")) != whitening:
        raise UserError(
            f"--from {place}: this SDPC saw images under --whitening {printable(saw)}, and this run undoes --whitening {whitening}: {_GIVE}."
        )
    for name, flag, value in _PREPARED:
        if (saw := preparation.get(name, value)) != value:
            raise UserError(
                f"--from {place}: this SDPC saw images under {flag} {printable(saw)}, which this run does not undo: {_GIVE}."
            )
    feedback = found.get("feedback")
    if (feedback == 0) != (wanted["feedback"] == 0):
        raise UserError(
            f"--from {place}: this SDPC has --feedback {printable(feedback)}, and this run asks for {'none' if feedback else 'some'}: type "
            f"--dictionary {'sdpc' if feedback else 'hi-la'}."
        )


def _size(arguments: dict[str, Any]) -> str:
    def shown(name: str) -> str:
        values = arguments.get(name)
        return printable("/".join(map(str, values)) if isinstance(values, list) else values)

    return f"{shown('atoms')} atoms of {shown('kernels')} for images of {printable(arguments.get('image_size'))} pixels"
