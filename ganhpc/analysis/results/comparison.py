"""Two runs, or two variants of several seeds, side by side: what differs in the definition, and what came out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ganhpc.analysis.results.rows import Row, grouped, is_number
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import read_json
from ganhpc.core.units import counted
from ganhpc.runs import figures
from ganhpc.runs.definition_fields import options_of
from ganhpc.runs.figures import ShownIn
from ganhpc.runs.find_run import fitting


def chosen(word: str, found: list[Row]) -> Row:
    """The row of the run, or of the variant of several seeds, that `word` means: a run's folder or name, a variant's name, or a part
    that fits only one of these. Raises UserError where it means none or several."""
    path = os.path.realpath(word)
    if rows := [row for row in found if os.path.realpath(row["folder"]) == path]:
        return _one(word, rows)
    named = {row["folder"]: _names(row) for row in found}
    if folders := set(fitting(word.rstrip("/"), named)):
        return _one(word, [row for row in found if row["folder"] in folders])
    names = [row["run"] for row in found]
    raise UserError(
        f"--compare {word}: there is no such run or variant; {nearest(word, names) if names else 'there are no runs at all'}."
    )


def _names(row: Row) -> list[str]:
    """Names of a row: its run and its variant, with the experiment or without, and its group."""
    kind, run, variant, group = (row[key] for key in ("experiment", "run", "variant", "group"))
    return [name for name in (run, f"{kind}/{run}", variant, variant and f"{kind}/{variant}", group) if name]


def _one(word: str, rows: list[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    groups = grouped(rows)
    if len(groups) > 1:
        some = ", ".join(str(row["run"]) for row in rows[:4]) + (", .." if len(rows) > 4 else "")
        raise UserError(f"--compare {word} means {len(groups)} variants ({some}): type more of the name.")
    if not groups[0]["n"]:
        raise UserError(
            f"--compare {word}: none of its {counted(len(rows), 'run')} is done; name one of them, such as {rows[0]['run']}."
        )
    return {**groups[0], "folder": groups[0]["folders"][0], "run": None}


def compare(first: Row, second: Row) -> dict[str, Any]:
    """{"runs": names, "definition": {field: [value, value]}, "measures": {name: {"a", "b", "difference", "relative"}}}.

    a and b are {"mean", "std", "n"}; difference is b's mean less a's, relative that over a's. Raises UserError where both are the same.
    """
    if first["folder"] == second["folder"]:
        raise UserError("--compare needs two different runs or variants: both words mean the same one.")
    a, b = (_options(row) for row in (first, second))
    if first.get("n") or second.get("n"):
        a.pop("seed", None), b.pop("seed", None)
    fields = {name: [a.get(name), b.get(name)] for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)}
    if first.get("experiment") != second.get("experiment"):
        fields = {"experiment": [first.get("experiment"), second.get("experiment")], **fields}
    distances = [name for name in first if not name.endswith("deviation") and (of := figures.find(name)) and of.family]
    single = figures.keys_of(ShownIn.COMPARED)
    measures = {}
    for name in (*single[:2], *figures.named_in(ShownIn.COMPARED, distances), *single[2:]):
        one, other = _number(first, name), _number(second, name)
        if one and other:
            gap = other["mean"] - one["mean"]
            relative = gap / abs(one["mean"]) if one["mean"] else None
            measures[name] = {"a": one, "b": other, "difference": gap, "relative": relative}
    return {"runs": [_name_of(first), _name_of(second)], "definition": fields, "measures": measures}


def _name_of(row: Row) -> str:
    """Title of a row: the run, or the variant with the number of its seeds."""
    n = row.get("n")
    return f"{row['experiment']}/{row['run'] or row['variant'] or row['group']}" + (
        f" ({counted(n, 'run')})" if n else ""
    )


def _options(row: Row) -> dict[str, Any]:
    try:
        return options_of(read_json(Path(row["folder"]) / "experiment.json") or {})
    except (OSError, UserError):
        return {}


def _number(row: Row, name: str) -> dict[str, Any] | None:
    value = row.get(name)
    if isinstance(value, dict) and "mean" in value:
        return {key: value[key] for key in ("mean", "std", "n")}
    return {"mean": value, "std": None, "n": 1} if is_number(value) else None
