"""The record of a scan: which values of which options were tried, and in which runs.

runs/<experiment>/<name>.scan.json, a file beside the folders of its runs, written before the first of them starts:

  format 1 | name | experiment | mode: product, zip or named | seeds: K
  base      the definition of its runs without the scanned options and the seed
  fields    [{"name": "lr_g", "flag": "--lr-g", "values": [0.0001, 0.0002]}]: all values tried so far, in the order typed
  runs      names of run folders in the order they run; created, updated   ISO times with offset

What a run's own values are, its experiment.json says. A scan of more values under the same name and base is merged into the record.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import Damaged, read_json, storage_errors, write_json
from ganhpc.core.locks import folder_lock
from ganhpc.runs.definition_fields import fields_of
from ganhpc.runs.find_run import fitting
from ganhpc.runs.run_folder import Run

_FORMAT = 1
_ENDING = ".scan.json"
_MODES = ("product", "zip", "named")
_ATTEMPT = re.compile(r"(?P<stem>.+-[0-9a-f]{10})(-\d+)?")


@dataclass(frozen=True)
class Field:
    """A scanned option, and its values as JSON has them (a tuple is a list)."""

    name: str
    flag: str
    values: tuple[Any, ...]

    def plus(self, other: Field) -> Field:
        """With the values of `other` that are new, behind these."""
        return dataclasses.replace(self, values=_union(self.values, other.values))


@dataclass(frozen=True)
class Scan:
    """One scan, as its file has it. `folder` is the experiment's folder, in which its runs lie too."""

    folder: Path
    name: str
    experiment: str
    base: dict[str, Any]
    mode: str
    fields: tuple[Field, ...]
    seeds: int
    runs: tuple[str, ...]
    created: str = ""
    updated: str = ""

    def __post_init__(self) -> None:
        assert self.mode in _MODES, self.mode

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}{_ENDING}"

    @property
    def key(self) -> str:
        """Six hexadecimal digits that stand for what may not change under one name: the base and which options are scanned."""
        what = [self.experiment, self.base, sorted(field.name for field in self.fields)]
        return short_digest(json.dumps(what, sort_keys=True), 6)

    def run_folders(self) -> list[Run]:
        """Its runs in order; a folder that has been deleted since is among them."""
        return [Run(self.folder / name) for name in self.runs]

    @property
    def missing(self) -> int:
        """Number of its runs without a folder: not begun, or deleted."""
        return sum(not run.is_there() for run in self.run_folders())

    def values(self) -> dict[str, dict[str, Any]]:
        """For each run that still has its folder: {the scanned option: its value, .., "seed": its seed}. By the run's name."""
        found = {}
        for run in self.run_folders():
            tree: dict[str, Any] | None = None
            with suppress(Damaged):  # one damaged run hides no other
                tree = read_json(run.experiment_json)
            if tree:
                flat = fields_of(tree)
                found[run.name] = {field.name: flat.get(field.name) for field in self.fields} | {
                    "seed": tree.get("seed")
                }
        return found

    def merged(self, new: Scan) -> Scan:
        """With the values and runs of `new`, a launch of the same scan. A run begun afresh (--new) takes the older one's place."""
        known = {field.name: field for field in self.fields}
        fields = tuple(known[field.name].plus(field) for field in new.fields)
        newer = {_stem(name): name for name in new.runs}
        runs = _union([newer.get(_stem(name), name) for name in self.runs], new.runs)
        mode = self.mode if self.mode == new.mode else "product"
        return dataclasses.replace(
            self, fields=fields, runs=runs, mode=mode, seeds=max(self.seeds, new.seeds), updated=new.updated
        )

    def to_json(self) -> dict[str, Any]:
        tree = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "folder"}
        return {"format": _FORMAT, **tree, "fields": [dataclasses.asdict(field) for field in self.fields]}


# -- writing ------------------------------------------------------------------------------------------------------------


def named(new: Scan) -> Scan:
    """The record that recording `new` would leave: itself, or merged with the record of its name. Writes nothing.

    Where that name is taken by a scan of another base or other options, the name gets a suffix.
    """
    for name in (f"{new.name}-{new.key}", new.name):
        path = new.folder / f"{name}{_ENDING}"
        if path.exists() and (old := read(path)).key == new.key:
            return old.merged(new)
    if (new.folder / f"{new.name}{_ENDING}").exists():
        new = dataclasses.replace(new, name=f"{new.name}-{new.key}")
    return new


def record(new: Scan) -> Scan:
    """Write `new`, or merge it into the record of its name (see `named`). Returns what is recorded then. Raises UserError."""
    with storage_errors(new.folder):
        new.folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now().astimezone().isoformat(timespec="seconds")
    with folder_lock(new.folder):
        merged = named(dataclasses.replace(new, created=now, updated=now))
        write_json(merged.path, merged.to_json())
    return merged


# -- reading ------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Scan:
    """The scan in the file `path`. Raises UserError where it is none, or of another version."""
    tree = read_json(path)
    if tree is None:
        raise UserError(f"there is no scan in {path}: `--scan FIELD=V1,V2` of an experiment makes one.")
    if tree.get("format") != _FORMAT:
        raise UserError(
            f"{path} was written in format {tree.get('format')!r} and this version reads format {_FORMAT}: use the version that made it."
        )
    try:
        fields = tuple(Field(str(f["name"]), str(f["flag"]), tuple(f["values"])) for f in tree["fields"])
        text = {key: str(tree[key]) for key in ("experiment", "mode", "created", "updated")}
        if tree["mode"] not in _MODES or not isinstance(tree["base"], dict):
            raise ValueError(tree["mode"])
        runs = tuple(map(str, tree["runs"]))
        if any("/" in run or run in ("", ".", "..") for run in runs):
            raise ValueError("a run that is not in its folder")
        name = path.name.removesuffix(_ENDING)  # The file may have been renamed.
        return Scan(path.parent, name, base=tree["base"], fields=fields, seeds=int(tree["seeds"]), runs=runs, **text)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not the record of a scan ({error!r}): move it away.") from None


def scans(runs: Path, warn: Callable[[str], None] = lambda _: None) -> list[Scan]:
    """Every scan recorded below `runs`, in the order of their paths; `warn` hears of files that can't be read."""
    found = []
    for path in sorted([*runs.glob(f"*/*{_ENDING}"), *runs.glob(f"*{_ENDING}")]):
        try:
            if not path.name.startswith("."):
                found.append(read(path))
        except UserError as error:
            warn(str(error))
    return found


def exact(text: str, runs: Path) -> Scan | None:
    """The scan whose file, name, or experiment/name `text` is, or None. Raises UserError where several have it, or it can't be read."""
    if text.endswith(_ENDING) and Path(text).is_file():
        return read(Path(text))
    word = text.removesuffix(_ENDING)
    paths = [*runs.glob(f"*/*{_ENDING}"), *runs.glob(f"*{_ENDING}")]
    names = {path: path.name.removesuffix(_ENDING) for path in sorted(paths) if not path.name.startswith(".")}
    found = [path for path, name in names.items() if word in (name, f"{path.parent.name}/{name}")]
    if len(found) > 1:
        several = ", ".join(f"{path.parent.name}/{names[path]}" for path in found)
        raise UserError(f"{text!r} names {len(found)} scans ({several}): type the experiment's name before it.")
    return read(found[0]) if found else None


def load(text: str, runs: Path) -> Scan:
    """The scan that `text` names: the path of its file, its name, experiment/name, or a beginning that only one has.

    Raises UserError where there is no such scan, or more than one.
    """
    if found := exact(text, runs):
        return found
    word = text.removesuffix(_ENDING)
    known = {f"{scan.experiment}/{scan.name}": scan for scan in scans(runs)}
    begun = [known[path] for path in fitting(word, {path: (path, scan.name) for path, scan in known.items()})]
    if len(begun) == 1:
        return begun[0]
    if begun:
        several = ", ".join(f"{scan.experiment}/{scan.name}" for scan in begun[:5])
        raise UserError(
            f"{text!r} names {len(begun)} scans ({several}{' ..' * (len(begun) > 5)}): type more of the name."
        )
    if not known:
        raise UserError(f"there are no scans below {runs}: `--scan FIELD=V1,V2` of an experiment makes one.")
    raise UserError(f"there is no scan {text!r} below {runs}: {nearest(text, known)}.")


def _stem(name: str) -> str:
    """A run's name without the number of its attempt."""
    match = _ATTEMPT.fullmatch(name)
    return match["stem"] if match else name


def _union(first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, ...]:
    """The items of both, each once, in order (lists among them can't be hashed)."""
    return tuple({json.dumps(item): item for item in (*first, *second)}.values())
