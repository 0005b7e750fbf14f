"""Subject of a report: runs, the runs of a scan, or all runs of an experiment, as people name them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ganhpc.core.files import subfolders
from ganhpc.runs.definition_fields import experiment_of
from ganhpc.runs.find_run import find_run, is_run
from ganhpc.runs.run_folder import Run
from ganhpc.scans.scan_record import Scan, exact


@dataclass(frozen=True)
class Selection:
    """The runs of one experiment that a report tells of, and the scans among them."""

    experiment: str
    runs: tuple[Run, ...]
    scans: tuple[Scan, ...]


def find(words: tuple[str, ...], runs: Path) -> tuple[list[Selection], str]:
    """The subjects that `words` name, one for each experiment, and a word for a file's name.

    Raises UserError where a word names nothing, or a scan's file can't be read.
    """
    chosen: list[Run] = []
    scans: list[Scan] = []
    for word in words:
        if scan := exact(word, runs):
            scans.append(scan)
            chosen += [run for run in scan.run_folders() if run.is_there()]
        else:
            chosen += _experiment(word, runs) or [find_run(word, runs)]
    unique = list({run.folder.resolve(): run for run in chosen}.values())
    of = {run.folder: experiment_of(run.folder) for run in unique}
    names = dict.fromkeys([*of.values(), *(s.experiment for s in scans)])
    subjects = [
        Selection(
            name,
            tuple(run for run in unique if of[run.folder] == name),
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
    return "-".join(dict.fromkeys(experiment_of(run.folder) for run in unique)) or "runs"


def _experiment(word: str, runs: Path) -> list[Run]:
    """All runs of the experiment that `word` names, by its name or its folder; [] where it names none."""
    for folder in (runs / word, Path(word)):
        if folder.is_dir() and not _is_run(folder):
            found = [Run(Path(each)) for each in subfolders(folder) if _is_run(Path(each))]
            if found:
                return found
    return []


def _is_run(folder: Path) -> bool:
    return is_run(folder) or os.path.lexists(folder / "result.json")
