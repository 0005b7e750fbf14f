"""A run as people name it: the path of its folder, or (the beginning of) its name below the folder of runs."""

from __future__ import annotations

from pathlib import Path

from ganhpc.errors import UserError, nearest
from ganhpc.run import Run


def find_run(text: str, runs: Path) -> Run:
    """The run that `text` names: a folder, a run's name, experiment/name, or a beginning that only one run has.

    A folder is taken as it is: it may be a copy. Raises UserError where there is no such run, or more than one.
    """
    if Path(text).is_dir():
        return Run(Path(text))
    found = {f"{run.folder.parent.name}/{run.name}": run for run in Run.all(runs)}
    exact = [run for path, run in found.items() if text in (path, run.name)]
    begun = exact or [run for path, run in found.items() if path.startswith(text) or run.name.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        several = ", ".join(f"{run.folder.parent.name}/{run.name}" for run in begun[:5])
        raise UserError(
            f"{text!r} names {len(begun)} runs ({several}{' ..' * (len(begun) > 5)}): type more of the name."
        )
    if not found:
        raise UserError(
            f"{text!r} is not a folder, and there are no runs below {runs}: give a run's folder, or --runs DIR."
        )
    raise UserError(f"there is no run {text!r} below {runs}: {nearest(text, found)}.")
