"""The pictures that a run began with, the networks of another run that it took, and a check that they are still the same.

Beside the definition of a run on a folder or zip lie data.json (where the pictures lie, how many there are, their fingerprint) and
data-files.gz (each picture's name and the hash of its content); of a second set, data_b.json and data_b-files.gz; of a run whose exported
networks are taken (--from), source.json and source-files.gz. The launcher writes them before the run's first job. Every later launch and
every job compares; a run never goes on with others. By the fingerprint a set or a run is known again that was moved or copied.
Nothing here imports torch or NumPy.
"""

from __future__ import annotations

import collections
import functools
import json
import os
import time
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import Damaged, Unreadable, atomic_open, parse_json, read_gzip, read_json, write_json
from ganhpc.core.printable import printable
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.core.weight_files import definition_of, digest_of
from ganhpc.core.whoami import other_case
from ganhpc.datasets import batch_sizes, catalogue
from ganhpc.datasets.data_path import (
    FIRST,
    RUN_FIELD,
    data_fields,
    data_flag,
    exists,
    flagged,
    held_fields,
    is_path,
    place_of,
)

_FORMAT = 1

Contents = dict[str, str]
"""A picture's name -> the hash of its content; of another run, an exported network's file -> the hash of its weights."""


class DataChanged(UserError):
    """The pictures of a run, or the networks that it took, are not those that it began with."""


def _noun(field: str) -> str:
    return "network" if field == RUN_FIELD else "picture"


class _Difference(NamedTuple):
    """Number of pictures that differ between a run's beginning and now, and an example of each kind."""

    replaced: tuple[str, ...]
    converted: tuple[str, ...]
    renamed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        kinds = (
            (self.replaced, "replaced"),
            (self.converted, "converted to another format"),
            (self.renamed, "renamed or exchanged"),
            (self.added, "added"),
            (self.removed, "removed"),
        )
        return ", ".join(f"{len(names):,} {word} (first: {printable(names[0])})" for names, word in kinds if names)


def _index() -> Any:
    """The module that reads folders and zips. Imported where pictures are looked at: most runs train on none, and launching is quick."""
    from ganhpc.datasets import folder_index

    return folder_index


def difference(before: Contents, now: Contents) -> _Difference:
    """Each picture counts once: what kept its content but not its name is renamed, the same name with another ending converted."""
    old = {name: digest for name, digest in before.items() if now.get(name) != digest}
    new = {name: digest for name, digest in now.items() if before.get(name) != digest}
    by_digest: dict[str, list[str]] = collections.defaultdict(list)
    for name in sorted(old, reverse=True):
        by_digest[old[name]].append(name)
    renamed = []
    for name in sorted(new):
        if names := by_digest[new[name]]:
            renamed.append(name)
            del old[names.pop()], new[name]
    replaced = sorted(old.keys() & new.keys())
    for name in replaced:
        del old[name], new[name]
    stems = {_stem(name): name for name in old}
    converted = []
    for name in sorted(new):
        if (was := stems.pop(_stem(name), None)) is not None:
            converted.append(name)
            del old[was], new[name]
    return _Difference(tuple(replaced), tuple(converted), tuple(renamed), tuple(sorted(new)), tuple(sorted(old)))


def _stem(name: str) -> str:
    path = PurePath(name)
    return str(path.parent / path.stem)


# -- the record of a run ------------------------------------------------------------------------------------------------


def _record_file(run: Path, field: str = FIRST) -> Path:
    """data.json in the folder `run`, or that of another data field."""
    return run / f"{field}.json"


def _files(run: Path, field: str) -> Path:
    return run / f"{field}-files.gz"


def record_of(run: Path, field: str = FIRST) -> dict[str, Any] | None:
    """Contents of data.json in the folder `run`, or that of another data field; None where there is none that can be read."""
    try:
        return _record(run, field)
    except UserError:
        return None


def _record(run: Path, field: str) -> dict[str, Any] | None:
    """As `record_of`, for a run that is to be held to it. Raises UserError for a record that is there and can't be read."""
    path = _record_file(run, field)
    try:
        tree = read_json(path)
    except Unreadable:
        raise
    except Damaged:
        tree = {}
    words = ("path", "fingerprint", "shape")
    if tree is None or (
        tree.get("format") == _FORMAT
        and all(isinstance(tree.get(word), str) for word in words)
        and type(tree.get(f"{_noun(field)}s")) is int
    ):
        return tree
    raise UserError(
        f"{printable(path)} is damaged, or of another version: it says which {_noun(field)}s this run began with. Put it back from a copy; or "
        f"remove it, and the run is held to the {_noun(field)}s that are there now; or begin a run with --new."
    )


def recorded(run: Path, field: str) -> bool:
    """True if there is a record in the folder `run`, whether it can be read or not."""
    return _record_file(run, field).exists()


def place(run: Path, word: str, field: str = FIRST) -> str:
    """Where the data lie of the run in the folder `run`, whose definition calls them `word` in `field`."""
    record = record_of(run, field)
    return record["path"] if record else place_of(word, run)


def hold(
    run: Path, definition: dict[str, Any], *, finished: bool = False, seen: dict[str, Contents] | None = None
) -> str:
    """Record the pictures of a run that has no record yet, of each of its data sets; else see that they are the same. Returns a line to
    say, or "".

    `definition`: of the run, as it was launched now. `finished`: the run needs its pictures no more, so they may be gone. `seen`: keeps
    what was looked at, for several runs on the same pictures.
    Raises DataChanged where the pictures differ, UserError where there are none.
    """
    seen = {} if seen is None else seen
    lines = []
    for field in held_fields(definition):
        with flagged(field, definition):
            lines.append(_hold(run, definition, field, finished, seen))
    return "; ".join(filter(None, lines))


def _hold(run: Path, definition: dict[str, Any], field: str, finished: bool, seen: dict[str, Contents]) -> str:
    record, typed = _record(run, field), definition[field]
    if record is None:
        path = place_of(typed, run)
        if not is_path(path):
            return ""
        if finished:
            return ""  # of an older version: what it was trained on is not known any more
        contents = _contents(field, path, seen)
        if not contents and field == RUN_FIELD:
            return ""  # no run of ours: the experiment says what it needs of it
        if not contents:
            _index().find(Path(path)).close()  # raises the sentence on what is there instead
        _write(run, field, path, contents, definition)
        return (
            ""
            if not _began(run)
            else (
                f"an older version began this run and kept no record of its {_noun(field)}s: it is held to those in {printable(path)} from now on"
            )
        )
    paths = [path for path in dict.fromkeys((typed, record["path"])) if path.startswith("/") and exists(path)]
    if not paths:
        if finished:
            return f"its {_noun(field)}s are not in {printable(record['path'])} any more, and were not compared"
        raise _gone(run, definition, field, record["path"])
    contents = _contents(field, paths[0], seen)
    if _index().fingerprint(contents.items()) != record["fingerprint"]:
        raise DataChanged(
            _sentence(run, field, record, paths[0], contents, _exchanged(run, definition, field, contents))
        )
    if not exists(record["path"]):
        write_json(_record_file(run, field), {**record, "path": paths[0]})
        return f"the same {_noun(field)}s as in {printable(record['path'])}, now in {printable(paths[0])}"
    return ""


def require_places(run: Path, definition: dict[str, Any]) -> None:
    """Raise UserError where there is nothing any more at the place of one of the run's data sets, or of the run whose networks it takes. What
    lies there is not looked at."""
    for field in held_fields(definition):
        where = place(run, definition[field], field)
        if is_path(where) and not exists(where):
            with flagged(field, definition):
                raise _gone(run, definition, field, where)


def _gone(run: Path, definition: dict[str, Any], field: str, where: str) -> UserError:
    flag, what = ("--from", "folder") if field == RUN_FIELD else ("--data", "folder or zip")
    return UserError(
        f"{flag} {printable(where)}: there is no such {what} any more, and the run {run.absolute().name} began with it. Put it back; or type "
        f"the command that began the run with {data_flag(field, definition)} and the new place: the same {_noun(field)}s are known again."
    )


def require(definition: dict[str, Any], seen: dict[str, Contents]) -> None:
    """Raise UserError where a data field of `definition` names no data set, one of another size, one with too few pictures for a batch, or a
    folder or zip without two that can be used, or without the classes that a network learns; `seen` as in `hold`."""
    for field in data_fields(definition):
        with flagged(field, definition):
            _require(definition[field], seen)
            _require_size(definition[field], definition.get("image_size"), definition.get("image_width"))
    from ganhpc.datasets import class_names  # for pictures alone, like `_index`

    class_names.require(definition)
    for field in data_fields(definition):
        word = definition[field]
        pictures = len(seen[word]) if is_path(word) else None
        batch_sizes.require(definition, word, pictures, data_flag(field, definition))


def _require_size(word: str, height: int | None, width: int | None) -> None:
    """Raise UserError where the data set called `word` has no images of that size, if one is asked for."""
    known = next((each for each in catalogue.SETS if each.name == word), None)
    if known is None or height is None:
        return
    way = "or give a folder or zip of pictures"
    if width not in (None, height):
        raise UserError(f"--data {word} has square images, and --image-width is {width}: leave that out, {way}.")
    if known.shape and not known.any_size and known.shape[1] != height:
        side = known.shape[1]
        raise UserError(
            f"--data {word} has images of {side}x{side} pixels alone, and --image-size is {height}: type --image-size {side}, {way}."
        )


def _require(word: str, seen: dict[str, Contents]) -> None:
    if word in catalogue.names():
        return
    if not is_path(word):
        near = other_case(Path(word))
        way = f"did you mean {printable(near)}?" if near else f"{nearest(word, catalogue.names())}."
        raise UserError(f"--data {word!r} is neither a data set nor a folder or zip of images: {way}")
    looked = word in seen
    if not _contents(FIRST, word, seen):
        _index().find(Path(word)).close()  # raises the sentence on what is there instead
    if not looked:
        from ganhpc.datasets import image_decoding  # for pictures alone, like `_index`

        image_decoding.require_two(Path(word))


def compare(run: Path, definition: dict[str, Any], *, finished: bool = False) -> None:
    """As `hold`, of a run that has a record, and without a word where all is well."""
    if any(_record(run, field) for field in held_fields(definition)):
        hold(run, definition, finished=finished)


def check(run: Path, path: str, found: str, field: str = FIRST) -> None:
    """Raise DataChanged where the pictures with the fingerprint `found`, read from `path`, are not those of the record."""
    record = _record(run, field)
    if record and found and found != record["fingerprint"]:
        raise DataChanged(_sentence(run, field, record, path, _contents(field, path, {})))


def _shape_of(definition: dict[str, Any]) -> str:
    """A hash of a definition without what it is held to: equal for runs that differ by nothing else."""
    tree = {key: value for key, value in definition.items() if key not in held_fields(definition)}
    return short_digest(json.dumps(tree, sort_keys=True), 16)


def chosen(attempts: list[Path], runs: Path, definition: dict[str, Any]) -> Path | None:
    """The run that launching `definition` means: of its `attempts`, in their order, the last that began with the pictures and networks there
    are now, or else the last; without any attempt a run in the folder `runs` on the same ones, which lay elsewhere then."""
    fields = [field for field in held_fields(definition) if is_path(definition[field])]
    if len(attempts) == 1 or not fields:
        return attempts[-1] if attempts else None
    shape = _shape_of(definition)
    if not attempts:
        try:
            candidates = list(_by_shape(runs, runs.stat().st_mtime_ns).get(shape, ()))
        except OSError:
            return None
    else:
        candidates = attempts
    records = [(run, found) for run in candidates if (found := _of_shape(run, fields, shape))]
    now = [_fingerprint_now(field, definition[field]) for field in fields] if records else None
    others = {field: definition[field] for field in held_fields(definition) if field not in fields}
    fitting = [run for run, found in records if found == now and _has_words(run, others)]
    return fitting[-1] if fitting else attempts[-1] if attempts else None


def _of_shape(run: Path, fields: list[str], shape: str) -> list[str] | None:
    """The fingerprints in the records of `fields`, or None where one is missing or the run differs by more than its data."""
    records = [record_of(run, field) for field in fields]
    found = [record["fingerprint"] for record in records if record and record["shape"] == shape]
    return found if len(found) == len(fields) else None


def _has_words(run: Path, words: dict[str, str]) -> bool:
    """True if the definition of the run in the folder `run` has these values: of the data sets that are no folder or zip."""
    if not words:
        return True
    try:
        definition = read_json(run / "experiment.json") or {}
    except (UserError, OSError):
        return False
    return all(definition.get(field) == word for field, word in words.items())


@functools.lru_cache(maxsize=8)
def _by_shape(runs: Path, changed: int) -> dict[str, list[Path]]:
    """The runs with a record in the folder `runs`, by their shapes; `changed` is the time of the folder's last change."""
    del changed
    found: dict[str, list[Path]] = {}
    fields = (FIRST, "data_b", RUN_FIELD)
    for path in sorted({each.parent for field in fields for each in runs.glob(f"*/{field}.json")}):
        if record := next(filter(None, (record_of(path, field) for field in fields)), None):
            found.setdefault(record["shape"], []).append(path)
    return found


def _fingerprint_now(field: str, path: str) -> str | None:
    try:
        return _index().fingerprint(_contents(field, path, {}).items()) if exists(path) else None
    except UserError:
        return None


def _began(run: Path) -> bool:
    return (run / "status.json").exists() or any((run / "checkpoints").glob("step-*.json"))


def _contents(field: str, path: str, seen: dict[str, Contents]) -> Contents:
    if field == RUN_FIELD:
        return _networks(Path(path))
    if path not in seen:
        source = _index().listed(Path(path))
        seen[path] = {item.name: item.digest for item in source.items}
        source.close()
    return seen[path]


def _networks(run: Path) -> Contents:
    """The networks that the run in the folder `run` has exported; a file that is not whole counts as none."""
    found = {}
    for file in sorted(run.glob("*.safetensors")):
        try:
            if definition_of(file):
                found[file.name] = digest_of(file)
        except (OSError, Damaged):
            continue
    return found


def _write(run: Path, field: str, path: str, contents: Contents, definition: dict[str, Any]) -> None:
    import gzip  # most commands neither write nor read this

    data = gzip.compress(json.dumps(contents).encode(), 6, mtime=0)
    with atomic_open(_files(run, field)) as file:
        file.write(data)
    tree = {
        "format": _FORMAT,
        "path": path,
        f"{_noun(field)}s": len(contents),
        "fingerprint": _index().fingerprint(contents.items()),
        "shape": _shape_of(definition),
        "recorded": time.time(),
    }
    write_json(_record_file(run, field), tree)


def _before(run: Path, field: str) -> Contents:
    """The pictures that the run began with; empty where the list is lost."""
    try:
        tree = parse_json(read_gzip(_files(run, field)))
        return {name: hash for name, hash in tree.items() if isinstance(hash, str)} if isinstance(tree, dict) else {}
    except (OSError, Damaged, ValueError):
        return {}


def _exchanged(run: Path, definition: dict[str, Any], field: str, now: Contents) -> str:
    """A clause where the pictures of `field` are now those that the run began with as another of its sets."""
    found = _index().fingerprint(now.items())
    others = (other for other in data_fields(definition) if other != field)
    same = next((other for other in others if (record_of(run, other) or {}).get("fingerprint") == found), None)
    return f" (they are those of {data_flag(same, definition)} then: the two are exchanged)" if same else ""


def _sentence(run: Path, field: str, record: dict[str, Any], path: str, now: Contents, exchanged: str = "") -> str:
    before, noun = _before(run, field), _noun(field)
    number = record[f"{noun}s"]
    found = difference(before, now)
    what = str(found) if before else f"{counted(number, noun)} then, {len(now):,} now"
    what += exchanged + _left_out(path, found.removed)
    way = "begin with those" if field == RUN_FIELD else "train on those"
    return (
        f"{run.name}: the {noun}s in {printable(path)} are not those that this run began with: of {number:,}, {what}. Put the "
        f"earlier ones back and type the same command again; or {way} that are there now: type the command that began the run "
        "with --new."
    )


def _left_out(path: str, removed: tuple[str, ...]) -> str:
    """A clause where pictures that count as removed are there still: samples of runs, which earlier versions took for pictures of the set."""
    there = sum(os.path.isfile(os.path.join(path, name)) for name in removed if "\0" not in name)  # noqa: PTH113
    why = typed_command("data", path)
    return f" ({there:,} of these lie there still, and are no longer taken: `{why}` says why)" if there else ""
