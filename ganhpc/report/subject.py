"""What a report is about: runs, the runs of a scan, or all runs of an experiment, as people name them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganhpc.errors import UserError
from ganhpc.find_run import find_run
from ganhpc.run import Run

SCAN = ".scan.json"


@dataclass(frozen=True)
class Scan:
    """A scan as its file tells it: which options took which values, and the runs."""

    name: str
    experiment: str
    fields: tuple[dict[str, Any], ...]
    """{"name", "flag", "values"} each."""
    runs: tuple[Run, ...]
    missing: int
    """How many of its runs have no folder."""


@dataclass(frozen=True)
class Subject:
    """The runs of one experiment that a report tells of, and the scans among them."""

    experiment: str
    runs: tuple[Run, ...]
    scans: tuple[Scan, ...]


def find(words: tuple[str, ...], runs: Path) -> tuple[list[Subject], str]:
    """The subjects that `words` name, one for each experiment, and a word for a file's name.

    Raises UserError where a word names nothing, or a scan's file can't be read.
    """
    chosen: list[Run] = []
    scans: list[Scan] = []
    for word in words:
        if path := _scan_file(word, runs):
            scan = read_scan(path)
            scans.append(scan)
            chosen += scan.runs
        else:
            chosen += _experiment(word, runs) or [find_run(word, runs)]
    unique = list({run.folder.resolve(): run for run in chosen}.values())
    names = dict.fromkeys([*(run.folder.resolve().parent.name for run in unique), *(s.experiment for s in scans)])
    subjects = [
        Subject(
            name,
            tuple(run for run in unique if run.folder.resolve().parent.name == name),
            tuple(scan for scan in scans if scan.experiment == name),
        )
        for name in names
    ]
    return subjects, _stem(words, unique, scans)


def _stem(words: tuple[str, ...], unique: list[Run], scans: list[Scan]) -> str:
    if len(words) == 1 and scans:
        return scans[0].name
    if len(unique) == 1:
        return unique[0].folder.resolve().name
    return "-".join(dict.fromkeys(run.folder.resolve().parent.name for run in unique)) or "runs"


def _scan_file(word: str, runs: Path) -> Path | None:
    """The scan's file that `word` means: its path, its name, or experiment/name. Raises UserError where several have the name."""
    if word.endswith(SCAN) and Path(word).is_file():
        return Path(word)
    name = word.removesuffix(SCAN)
    found = [path for path in _scan_files(runs) if name in (_name(path), f"{path.parent.name}/{_name(path)}")]
    if len(found) > 1:
        several = ", ".join(f"{path.parent.name}/{_name(path)}" for path in found)
        raise UserError(f"{word!r} names {len(found)} scans ({several}): type the experiment's name before it.")
    return found[0] if found else None


def _name(path: Path) -> str:
    return path.name.removesuffix(SCAN)


def _scan_files(runs: Path) -> Iterator[Path]:
    try:
        yield from sorted(runs.glob(f"*/*{SCAN}"))
    except OSError:
        return


def read_scan(path: Path) -> Scan:
    """The scan in a file. Raises UserError where it is not whole."""
    try:
        tree = json.loads(path.read_bytes())
        fields = tuple({**f, "values": list(f["values"]), "name": str(f["name"])} for f in tree["fields"])
        folders = [path.parent / Path(str(name)).name for name in tree["runs"]]
        experiment = str(tree.get("experiment") or path.parent.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a whole scan ({error!r}): start the scan again by the same command, or name its runs."
        ) from None
    there = tuple(Run(folder) for folder in folders if folder.is_dir())
    return Scan(str(tree.get("name") or _name(path)), experiment, fields, there, len(folders) - len(there))


def _experiment(word: str, runs: Path) -> list[Run]:
    """All runs of the experiment that `word` names, by its name or its folder; [] where it names none."""
    for folder in (runs / word, Path(word)):
        if folder.is_dir() and not _is_run(folder):
            found = [Run(each) for each in sorted(folder.iterdir()) if _is_run(each)]
            if found:
                return found
    return []


def _is_run(folder: Path) -> bool:
    return any((folder / f"{name}.json").is_file() for name in ("experiment", "result"))
