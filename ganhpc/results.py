"""Rows for tables, read from run folders alone: one a run, or one a group of runs that differ by their seed only."""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from ganhpc.errors import UserError, nearest
from ganhpc.run import Run, State
from ganhpc.units import parse_count, parse_duration

KEYS = (
    "experiment", "variant", "run", "state", "seed", "test_accuracy", "test_accuracy_no_tta", "params", "macs", "ops", "train_seconds",
    "budget_seconds", "epochs", "images_per_second", "gflops_per_second", "device", "weights_sha256", "group", "folder",
)  # fmt: skip
"""Every row has these; None where it is not known."""

Row = dict[str, Any]


def rows(runs: Path) -> list[Row]:
    """One row for each run below `runs`, in the order of their paths. A folder that can't be read has a row that says so."""
    return [_row(folder) for folder in _run_folders(str(runs))]


def row(run: Run) -> Row:
    """The row of one run."""
    return _row(str(run.folder))


def _run_folders(runs: str) -> Iterator[str]:
    """Folders two levels below `runs`. Plain scandir: with ten thousand runs, a Path each would cost more than the reading."""
    for kind in _subfolders(runs):
        yield from _subfolders(kind)


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.path for e in entries if e.name[0] != "." and e.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _row(folder: str) -> Row:
    """A finished run's row is its result.json, one file to read; another's comes from its definition and status."""
    try:
        with open(folder + "/result.json", "rb") as file:  # noqa: PTH123
            result = json.loads(file.read())
        made = {**_EMPTY, **result, "state": State.DONE.value, "folder": folder}
    except (OSError, ValueError, TypeError):
        made = _unfinished(Run(Path(folder)))
    return made


_EMPTY: Row = dict.fromkeys(KEYS)


def _unfinished(run: Run) -> Row:
    made = {**_EMPTY, "run": run.name, "experiment": run.folder.parent.name, "folder": str(run.folder)}
    try:
        tree = json.loads(run.experiment_json.read_bytes())
        made |= {
            key: tree.get(key) for key in ("experiment", "variant", "seed", "group", "preset", "signature", "data")
        }
        made["budget_seconds"] = (tree.get("budget") or {}).get("time")
        standing = run.standing()
        status = standing.status
        made |= {"state": standing.state.value, "reason": standing.reason}
        made |= {"train_seconds": status.get("seconds"), "epochs": status.get("epoch")}
        made |= {"images_per_second": status.get("images_per_second"), "epochs_planned": status.get("epochs_planned")}
        last = status.get("last") or {}
        made |= {key: value for key, value in last.items() if key not in made or made[key] is None}
    except (OSError, ValueError, AttributeError, UserError) as error:
        made |= {"state": "unreadable", "reason": f"not a whole run folder: {error}"}
    return made


# -- several seeds ------------------------------------------------------------------------------------------------------

SAME = (
    "experiment",
    "variant",
    "preset",
    "data",
    "group",
    "device",
    "torch",
    "commit",
    "budget_seconds",
    "budget_params",
    "network",
)
"""Words that the runs of a group share (None where they differ)."""


def grouped(found: list[Row], figures: Collection[str] | None = None) -> list[Row]:
    """One row for each variant: n, and for each figure of its finished runs the mean, standard deviation and coefficient of
    variation. `figures` are those that are wanted (None: all)."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for each in found:
        groups.setdefault((each["experiment"], each["group"] or each["folder"]), []).append(each)
    return [_group(members, figures) for members in groups.values()]


def _group(members: list[Row], figures: Collection[str] | None) -> Row:
    done = [m for m in members if m["state"] == State.DONE.value]
    made: Row = {key: _common(members, key) for key in SAME}
    made |= {"n": len(done), "runs": [m["run"] for m in members], "seeds": [m["seed"] for m in members]}
    made["state"] = _common(members, "state") or "mixed"
    for name, value in (done[0] if done else {}).items():
        wanted = name != "seed" if figures is None else name in figures
        if not wanted or not isinstance(value, int | float) or isinstance(value, bool):
            continue
        values = [float(m[name]) for m in done if isinstance(m.get(name), int | float)]
        if len(values) == len(done):
            made[name] = statistics(values)
    return made


def _common(members: list[Row], key: str) -> Any:
    first = members[0].get(key)
    return first if all(m.get(key) == first for m in members) else None


def statistics(values: list[float]) -> Row:
    """n, mean, sample standard deviation (n - 1) and coefficient of variation (deviation over mean); None where undefined."""
    n = len(values)
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
    return {"n": n, "mean": mean, "std": std, "cv": std / abs(mean) if std is not None and mean else None}


# -- choosing and sorting -----------------------------------------------------------------------------------------------

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
    "~": lambda value, word: str(word).lower() in str(value).lower(),
}
_FILTER = re.compile(r"\s*(?P<field>[\w.]+)\s*(?P<op><=|>=|!=|<|>|=|~)\s*(?P<value>.*?)\s*")


def chosen(found: list[Row], filters: tuple[str, ...]) -> list[Row]:
    """The rows that pass every filter, such as `test_accuracy>0.6`, `experiment=cifar`, `variant~course`, `train_seconds<5m`.

    A field of the definition serves as well as one of the result. Raises UserError for a filter that can't be read.
    """
    for text in filters:
        match = _FILTER.fullmatch(text)
        if not match:
            raise UserError(
                f"--filter {text!r} can't be read: write FIELD OPERATOR VALUE, such as 'test_accuracy>0.6' (operators: {' '.join(_OPERATORS)})."
            )
        field, compare, value = match["field"], _OPERATORS[match["op"]], match["value"]
        if any(field not in each for each in found):
            found = [each if field in each else {**_definition(each), **each} for each in found]
        _check_field(found, field, "--filter")
        found = [each for each in found if _passes(each.get(field), compare, value)]
    return found


def _passes(value: Any, compare: Callable[[Any, Any], bool], text: str) -> bool:
    if value is None:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool) and compare is not _OPERATORS["~"]:
        return compare(float(value), _number(text))
    return compare(str(value), text)


def _number(text: str) -> float:
    for read in (float, parse_count, parse_duration):
        try:
            return float(read(text))
        except (ValueError, UserError):
            continue
    raise UserError(f"--filter: {text!r} is not a number: write 0.6, 256k or 5m.")


def _definition(each: Row) -> Row:
    """The options of the run's definition, the budget's beside the others."""
    try:
        tree = json.loads(Path(each["folder"], "experiment.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {**tree, **(tree.get("budget") or {})}


def _check_field(found: list[Row], field: str, option: str) -> None:
    known = {key for each in found for key in each}
    if found and field not in known:
        raise UserError(f"{option}: no run has a field {field!r}: {nearest(field, known)}.")


def ordered(found: list[Row], field: str) -> list[Row]:
    """The rows by `field`, with `-field` the largest first; those without it last. Raises UserError for an unknown field."""
    name, down = field.removeprefix("-"), field.startswith("-")
    _check_field(found, name, "--sort")

    def value(each: Row) -> Any:
        inner = each.get(name)
        return inner["mean"] if isinstance(inner, dict) else inner

    have = [each for each in found if value(each) is not None]
    numbers = all(isinstance(value(each), int | float) for each in have)
    have.sort(key=lambda each: value(each) if numbers else str(value(each)), reverse=down)
    return have + [each for each in found if value(each) is None]
