"""Opening runs before a launch: their folders, the pictures that they began with, and the data that can be fetched."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable, shell_word
from ganhpc.datasets import held_data
from ganhpc.datasets.catalogue import SETS
from ganhpc.datasets.data_path import data_fields, held_fields
from ganhpc.runs.experiment import Experiment, Kind
from ganhpc.runs.run_folder import Run

if TYPE_CHECKING:
    from rich.console import Console


def open_run(runs: Path, experiment: Experiment, seen: dict[str, held_data.Contents], *, new: bool) -> Run:
    """As Run.open, but makes no folder for a run whose pictures are not there. Raises UserError."""
    if not Run.planned(runs, experiment, new=new).experiment_json.exists():
        held_data.require(experiment.definition, seen)
    return Run.open(runs, experiment, new=new)


def compare_data(run: Run, experiment: Experiment, seen: dict[str, held_data.Contents]) -> None:
    """See, without writing anything, that the pictures of a planned run are there and those that it began with. Raises UserError."""
    if run.experiment_json.exists():
        held_data.compare(run.folder, experiment.definition, finished=run.is_done())
    else:
        held_data.require(experiment.definition, seen)


def hold_data(
    run: Run, experiment: Experiment, console: Console, seen: dict[str, held_data.Contents] | None = None
) -> None:
    """See that the pictures are those that the run began with; a run that begins now is held to them from now on.

    `experiment` is as it was typed; `seen` keeps what was looked at, for several runs on the same pictures. Raises UserError.
    """
    line = held_data.hold(run.folder, experiment.definition, finished=run.is_done(), seen=seen)
    if line:
        console.print(f"data: {line}", soft_wrap=True, markup=False)


def hold_again(run: Run, experiment: Experiment, console: Console) -> None:
    """As `hold_data`, for a run that is gone on with by its name: its data lie where they were found last."""
    if line := _program_of(run, experiment):
        console.print(line, soft_wrap=True, markup=False)
    hold_data(run, _where_they_lie(run, experiment), console)


def compare_again(run: Run, experiment: Experiment) -> None:
    """As `compare_data`, for a run that is gone on with by its name."""
    _program_of(run, experiment)
    if not run.is_done():
        held_data.require_places(run.folder, experiment.definition)
    compare_data(run, _where_they_lie(run, experiment), {})


def _program_of(run: Run, experiment: Experiment) -> str:
    """A line with the command that a user's program is; empty for other runs. Raises UserError where the definition that has it is another user's
    file: somebody else's folder starts no code."""
    command = getattr(experiment, "command", ()) if experiment.KIND is Kind.PROGRAM else ()
    if not command:
        return ""
    line = f"program: {' '.join(map(shell_word, command))} (in {printable(getattr(experiment, 'folder', ''))})"
    if run.experiment_json.stat().st_uid not in (os.getuid(), *_NOBODY):
        raise UserError(
            f"{run} is another user's, and its definition names a {line}; nothing of it is run. To go on with it, type the command that began it "
            "yourself, with its options: python launch.py program .. -- COMMAND."
        )
    return line


_NOBODY = (65_534, 2**32 - 2)
"""Owners of all files on a file server that does not tell users apart."""


def _where_they_lie(run: Run, experiment: Experiment) -> Experiment:
    definition = experiment.definition
    places: dict[str, Any] = {
        field: held_data.place(run.folder, definition[field], field) for field in held_fields(definition)
    }
    return dataclasses.replace(experiment, **places)


def ensure_data(experiment: Experiment, console: Console) -> None:
    """Fetch the data now, on this side and under the user's eyes, where the set can be fetched at all."""
    words = {experiment.definition[field] for field in data_fields(experiment.definition)}
    for found in (each for each in SETS if each.name in words and each.fetched):
        root = experiment.resources.data_root
        found.module().ensure(Path(root) if root else None, console=console)
