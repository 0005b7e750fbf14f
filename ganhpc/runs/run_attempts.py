"""The folders of the runs of one definition, and the one of them that a launch means."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganhpc.core.files import subfolders
from ganhpc.datasets import held_data
from ganhpc.datasets.data_path import is_path, older_words
from ganhpc.runs.experiment import Experiment


def attempts_at(runs: Path, experiment: Experiment) -> Iterator[tuple[int, Path]]:
    """(number, folder) of every run of this definition: <variant>-<signature>, then -2, -3 and so on."""
    stem = f"{experiment.variant}-{experiment.signature}"
    for folder in folders_in(runs / experiment.NAME):
        name = os.path.basename(folder)
        if name == stem:
            yield 1, Path(folder)
        elif name.startswith(stem + "-") and name[len(stem) + 1 :].isdecimal():
            yield int(name[len(stem) + 1 :]), Path(folder)


def chosen(runs: Path, experiment: Experiment, attempts: Sequence[Path]) -> Path | None:
    """The run that launching `experiment` goes on with: of its `attempts`, in order, the last that began with the pictures there are
    now, or the last; else one on the same pictures in another place, or one of an older version; else None."""
    known = held_data.chosen(list(attempts), runs / experiment.NAME, experiment.definition)
    return known or _older(runs, experiment)


def _older(runs: Path, experiment: Experiment) -> Path | None:
    """The newest run of an older version, whose definition has the data as they were typed."""
    if not is_path(experiment.data):
        return None
    for word in older_words(experiment.data, runs):
        if found := list(attempts_at(runs, dataclasses.replace(experiment, data=word))):
            return max(found)[1]
    return None


def folders_in(folder: str | Path) -> list[str]:
    """The paths of the visible folders in `folder`, sorted; none where it does not exist."""
    try:
        return subfolders(folder)
    except FileNotFoundError:
        return []
