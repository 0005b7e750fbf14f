"""The fields of a run's definition by their names, as experiment.json has them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, read_json
from ganhpc.runs.experiment import Experiment, options
from ganhpc.runs.run_files import is_amount, is_count, is_text

_SPEED = {
    "threads": lambda value: is_count(value) and 0 < value < 10_000,
    "busy": is_amount,
    "precision": is_text,
    "processor": is_text,
    "why": is_text,
}
_NAMES = ("format", "experiment", "task", "variant", "signature", "group", "name")
"""Words that name a run and don't change what it does."""
_LONG = ("command", "folder", "watched")
"""Of a user's program, what is too long for a table; the values in its command line are fields of their own."""


def fields_of(tree: dict[str, Any]) -> dict[str, Any]:
    """Every field of experiment.json's `tree` by its name, those of the budget and the resources too."""
    parts = (
        tree.get("resources"),
        {k: v for k, v in tree.items() if k not in ("resources", "budget")},
        tree.get("budget"),
    )
    found = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    found.pop("parameters", None)
    return {**found, **arguments_of(tree)}


def arguments_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The values that a scan gave the names in braces of a program's arguments: each is a field of its own, whatever its name means elsewhere."""
    pairs = tree.get("parameters")
    if not isinstance(pairs, list):
        return {}
    return {
        pair[0]: pair[1] for pair in pairs if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
    }


def options_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The fields that decide the result: neither names nor the machine."""
    machine = tree.get("resources")
    skipped = {*_NAMES, *(machine if isinstance(machine, dict) else ())} - arguments_of(tree).keys()
    return {key: value for key, value in fields_of(tree).items() if key not in skipped}


def differing(trees: list[dict[str, Any]]) -> list[str]:
    """The names of the options in which `trees` differ, in the order in which they first come. One that only some of them have,
    since they are of another experiment, is none of them."""
    options = [options_of(tree) for tree in trees]
    long = {*_LONG}.difference(*(arguments_of(tree) for tree in trees))
    shared = (
        [name for name in options[0] if name not in long and all(name in each for each in options)] if options else []
    )
    return [name for name in shared if any(each[name] != options[0][name] for each in options)]


def read_choices(path: Path, cls: type[Experiment]) -> dict[str, Any]:
    """choices.json: what the trainer settled for `cls` by measuring; {} where there is none yet.

    Raises Damaged where a value is none that the option of its name takes.
    """
    tree = read_json(path) or {}
    known = {opt.name: opt for opt in options(cls)}
    for name, value in tree.items():
        try:
            if name in ("network", "why") and not isinstance(value, str):
                raise UserError(f"{name} is not a text")
            if name in known:
                typed = tuple(value) if isinstance(value, list) else value
                known[name].check_type(typed)
                known[name].check(typed)
        except (UserError, TypeError) as error:
            raise Damaged(f"{path} does not hold what the trainer chose ({error}): launch again with --new.") from None
    speed = tree.get("speed", {"threads": 1, "busy": 0, "precision": "", "processor": "", "why": ""})
    if not isinstance(speed, dict) or not all(key in speed and check(speed[key]) for key, check in _SPEED.items()):
        raise Damaged(f"{path} does not hold what the trainer chose (speed): launch again with --new.")
    return tree


def experiment_of(folder: Path) -> str:
    """The experiment of the run in `folder`: what its files say, so that a run that was moved keeps it; else the folder that it lies in."""
    for name in ("experiment.json", "result.json"):
        with suppress(UserError, OSError, ValueError):
            found = (read_json(folder / name) or {}).get("experiment")
            if isinstance(found, str) and found:
                return found
    return folder.resolve().parent.name
