"""The fields of a run's definition by their names, as experiment.json has them."""

from __future__ import annotations

from typing import Any

NAMES = ("format", "experiment", "task", "variant", "signature", "group", "name")
"""Words that name a run and don't change what it does."""


def fields_of(tree: dict[str, Any]) -> dict[str, Any]:
    """Every field of experiment.json's `tree` by its name, those of the budget and the resources too."""
    parts = (
        tree.get("resources"),
        {k: v for k, v in tree.items() if k not in ("resources", "budget")},
        tree.get("budget"),
    )
    return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}


def options_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The fields that decide the result: neither names nor the machine."""
    machine = tree.get("resources")
    skipped = {*NAMES, *(machine if isinstance(machine, dict) else ())}
    return {key: value for key, value in fields_of(tree).items() if key not in skipped}


def differing(trees: list[dict[str, Any]]) -> list[str]:
    """The names of the options in which `trees` differ, in the order in which they first come. One that only some of them have,
    since they are of another experiment, is none of them."""
    options = [options_of(tree) for tree in trees]
    shared = [name for name in options[0] if all(name in each for each in options)] if options else []
    return [name for name in shared if any(each[name] != options[0][name] for each in options)]
