"""Rows for tables, read from run folders alone: one a run, or one a variant (runs that differ by their seed only)."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganhpc.analysis.results.json_cache import Index
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, subfolders
from ganhpc.core.statistics import Spread
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.runs import figures
from ganhpc.runs.experiment import FORMAT
from ganhpc.runs.figures import ShownIn
from ganhpc.runs.run_files import OF_ANOTHER, UNTRAINED, is_of_another, is_result, is_untrained
from ganhpc.runs.run_folder import Run, State

Row = dict[str, Any]

KEYS = (
    "experiment",
    "variant",
    "run",
    "state",
    "reason",
    "seed",
    *figures.keys_of(ShownIn.ROW),
    "budget_seconds",
    "device",
    "weights_sha256",
    "group",
    "folder",
)
"""Every row has these; None where it is not known. A finished run's row has all of result.json besides."""

_DEFINED = (
    "experiment",
    "variant",
    "preset",
    "data",
    "budget_seconds",
    "budget_params",
    "batch_size",
    "network",
    "headline",
    "better",
    "precision",
    "device",
    "processes",
    "torch",
    "ganhpc",
    "commit",
)
"""Values that the runs of a variant share (None where they differ); not measures, so without a mean."""

_TEXTS = (
    "experiment",
    "variant",
    "preset",
    "data",
    "group",
    "signature",
    "reason",
    "headline",
    "network",
    "why",
    "device",
    "weights_sha256",
)
_OF_GROUPS = ("n", "seeds", "runs", "folders", "states")
"""Fields that rows of several runs alone have: a figure so named is none of a row's."""
_OWN = frozenset((*KEYS, *_TEXTS, *_OF_GROUPS)) - frozenset(figures.keys_of(ShownIn.ROW))
"""Fields that no figure of a trainer's last word replaces, whatever it calls its headline."""
_DONE = State.DONE.value
_EMPTY: Row = dict.fromkeys(KEYS)


# -- reading ------------------------------------------------------------------------------------------------------------


def rows(runs: Path, warn: Callable[[str], None] = lambda _: None) -> list[Row]:
    """One row for each run below `runs`, in the order of their paths; `warn` hears of folders that are left out.

    A run that can't be read has a row as well, in the state `refused` with the reason. `runs` may also be the folder of one
    experiment, or of one run. Accuracies are fractions, times seconds. Raises UserError where `runs` can't be listed.
    """
    found, strangers = [], []
    with no_collection():
        results, definitions = Index(str(runs), "result"), Index(str(runs), "experiment")
        for folder in _run_folders(str(runs), warn):
            made = _row(folder, results, definitions)
            if made is None:
                strangers.append(folder)
            else:
                found.append(made)
        results.save()
        definitions.save()
    if strangers:
        few = ", ".join(strangers[:3]) + (", .." if len(strangers) > 3 else "")
        warn(f"{counted(len(strangers), 'folder')} without a run left out: {few}")
    return found


def row(run: Run) -> Row:
    """The row of one run. Raises UserError where the folder holds none."""
    above = str(run.folder.parent)
    made = _row(str(run.folder), Index(above, "result"), Index(above, "experiment"))
    if made is None:
        raise UserError(f"{run} is not a run folder: `{typed_command('results', runs=run.runs)}` lists them.")
    return made


@contextmanager
def no_collection() -> Iterator[None]:
    """Within the block, no garbage collector: it would go through all rows again and again, and they hold no cycles."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _run_folders(runs: str, warn: Callable[[str], None]) -> Iterator[str]:
    """Folders of runs: two levels below `runs`, one, or itself. Plain strings: a Path each would cost more than the reading."""
    if _is_run(runs):
        yield runs
        return
    try:
        kinds = subfolders(runs)
    except FileNotFoundError:
        return
    for kind in kinds:
        if _is_run(kind):
            yield kind
            continue
        try:
            yield from subfolders(kind)
        except (FileNotFoundError, Damaged) as error:
            warn(f"{kind} is left out: {error}")


def _is_run(folder: str) -> bool:
    return any(os.path.lexists(f"{folder}/{name}.json") for name in ("experiment", "result"))


def _row(folder: str, results: Index, definitions: Index) -> Row | None:
    """A finished run's row is its result.json, one file to read. None: the folder holds no run."""
    try:
        tree = results.read(folder)
    except FileNotFoundError:
        return _unfinished(folder, definitions)
    except (OSError, UserError, ValueError, TypeError) as error:
        if not is_result(folder, None):
            return _unfinished(folder, definitions)
        return _refused(folder, f"result.json can't be read: {error}; launch again with --new")
    if not is_result(folder, tree):
        return _unfinished(folder, definitions)
    if is_of_another(folder, tree):
        return _refused(folder, OF_ANOTHER)
    made = {**_EMPTY, **tree}
    _without_wrong(made)
    above, _, made["run"] = folder.rstrip("/").rpartition("/")
    if made["experiment"] is None:
        made["experiment"] = above.rpartition("/")[2]
    made["state"], made["folder"] = _DONE, folder
    if is_untrained(made):
        made["state"], made["reason"] = State.REFUSED.value, UNTRAINED
    return made


def _without_wrong(made: Row) -> None:
    """Take out of a row the names that are no texts, by which tables group and compare, and what only rows of several runs have."""
    for key in _OF_GROUPS:
        made.pop(key, None)
    for key in _TEXTS:
        if made.get(key) is not None and type(made[key]) is not str:
            made[key] = None


def _names(folder: str) -> Row:
    """Fields from the path: runs/<experiment>/<run>."""
    above, _, run = folder.rstrip("/").rpartition("/")
    return {"experiment": above.rpartition("/")[2], "run": run}


def _refused(folder: str, reason: str, known: Row | None = None) -> Row:
    """The row of a run that this version can't read, and so would not go on with."""
    return {
        **_EMPTY,
        **_names(folder),
        **(known or {}),
        "state": State.REFUSED.value,
        "reason": reason,
        "folder": folder,
    }


def _unfinished(folder: str, definitions: Index) -> Row | None:
    """The row of a run without a result: its definition, what its trainer said last, and whether that one lives."""
    run, made = Run(Path(folder)), None
    try:
        try:
            tree = definitions.read(folder)
        except FileNotFoundError:
            return None
        made = _defined(folder, tree)
        run_status = run.run_status()
        status, last = run_status.status, _object(run_status.status.get("last"))
        made |= {"state": run_status.state.value, "reason": run_status.reason or None}
        made |= {"train_seconds": status.get("seconds"), "epochs": status.get("epoch")}
        made |= {key: status.get(key) for key in ("images_per_second", "epochs_planned", "headline")}
        # Of the last evaluation the measures only: its `lr` is the rate of that moment, not the definition's.
        measures = ("test_accuracy", "test_loss", status.get("headline"))
        made |= {key: last[key] for key in measures if key in last and key not in _OWN}
    except (OSError, UserError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # Whatever a foreign or damaged file does here, it must not hide the other runs.
        return _refused(folder, f"the folder can't be read: {error}", made)
    if tree.get("format") != FORMAT and made["state"] in (State.NEW, State.LOST, State.RESUMABLE):
        return _refused(folder, f"written in format {tree.get('format')!r}, this version reads {FORMAT}", made)
    return made


def _defined(folder: str, tree: Row) -> Row:
    """The part of a row that the definition tells."""
    budget = _object(tree.get("budget"))
    keys = ("experiment", "variant", "seed", "group", "preset", "signature", "data", "batch_size")
    known = {key: tree[key] for key in keys if key in tree}
    bounds = {"budget_seconds": budget.get("time"), "budget_params": budget.get("budget_params")}
    made = {**_EMPTY, **known, **bounds, "folder": folder}
    _without_wrong(made)
    return {**made, **{key: value for key, value in _names(folder).items() if key == "run" or not made[key]}}


def _object(tree: Any) -> Row:
    return tree if isinstance(tree, dict) else {}


# -- several seeds --------------------------------------------------------------------------------------------------------


def grouped(found: Iterable[Row], shared: Iterable[str] = (), only: Collection[str] | None = None) -> list[Row]:
    """One row a variant (the same definition but for the seed), in the order in which they first come.

    It has `n`, `seeds`, `runs`, `folders`, `states` (how many runs are in each), what its runs share (DEFINED and `shared`),
    and for each measure of its finished runs {"n", "mean", "std", "cv"}; of shared words and measures those in `only`, if given.
    A finished run that repeats another exactly (the same seed and the same weights) says nothing new and is counted once.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for each in found:
        key = (str(each["experiment"]), str(each["group"])) if each["group"] else ("", each["folder"])
        groups.setdefault(key, []).append(each)
    common = dict.fromkeys((*_DEFINED, *shared))
    return [_group(members, common, only) for members in groups.values()]


def _group(members: list[Row], shared: Collection[str], only: Collection[str] | None) -> Row:
    counted = list({_same(m): m for m in members if m["state"] == _DONE}.values())
    alike = counted or members  # A run knows its device, for one, only in the end.
    made: Row = {key: _common(alike, key) for key in shared if only is None or key in only}
    states = Counter([m["state"] for m in members])
    made |= {"group": members[0]["group"], "n": len(counted)}
    made |= {"state": members[0]["state"] if len(states) == 1 else None, "states": dict(states)}
    made |= {name + "s": [m[name] for m in members] for name in ("seed", "run", "folder")}
    for name in dict.fromkeys([key for m in counted for key in m]) if only is None else only:
        if name not in shared and name != "seed":
            # As `is_number`, written out: there are a million.
            cells: list[Any] = [m.get(name) for m in counted]
            values = [float(v) for v in cells if type(v) in _NUMBERS and -1e300 < v < 1e300]
            if values:
                made[name] = statistics(values)
    return made


def _same(finished: Row) -> tuple[Any, ...]:
    """Equal for runs that are exact repetitions."""
    weights = finished["weights_sha256"]
    return (str(finished["seed"]), str(weights)) if weights else (finished["folder"],)


def _common(members: list[Row], key: str) -> Any:
    """The value that all members have, else None."""
    value = members[0].get(key)
    return value if all(m.get(key) == value for m in members) else None


_NUMBERS = frozenset((int, float))  # Not bool, and quicker than isinstance, of which there are a million.


def is_number(value: Any) -> bool:
    """True if `value` can be averaged: neither a truth value, nor beyond what a float holds."""
    return type(value) in _NUMBERS and -1e300 < value < 1e300


def statistics(values: list[float]) -> Row:
    """n, mean, sample standard deviation (n - 1) and coefficient of variation (deviation over mean); None where undefined."""
    found = Spread.of(values)
    return {"n": found.n, "mean": found.mean, "std": found.std, "cv": found.cv}


def with_several_seeds(found: list[Row], shared: Iterable[str] = (), only: Collection[str] | None = None) -> list[Row]:
    """The rows with the finished runs of each variant that has several as one row (see `grouped`), the others as they are."""
    done = [each for each in found if each["state"] == _DONE]
    several = {f: group for group in grouped(done, shared, only) if group["n"] > 1 for f in group["folders"]}
    made = [several.get(each["folder"], each) for each in found]
    return list({id(each): each for each in made}.values())
