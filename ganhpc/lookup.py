"""RUN on the command line: a run's folder, its name below the folder of runs, or a part of it that means one run only."""

from __future__ import annotations

from pathlib import Path

from ganhpc.errors import UserError, nearest
from ganhpc.run import Run


def find_run(word: str, runs: Path) -> Run:
    """The run that `word` means: a folder's path, `<experiment>/<name>` or `<name>` below `runs`, or a part of one name.

    Raises UserError where it means none or several.
    """
    for path in (Path(word), runs / word):
        if (path / "experiment.json").is_file():
            return Run(path)
    every = {str(run.folder.relative_to(runs)): run for run in Run.all(runs) if run.experiment_json.exists()}
    for fits in (lambda name: Path(name).name == word, lambda name: word in name):
        found = {name: run for name, run in every.items() if fits(name)}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            some = ", ".join(sorted(found)[:5]) + (", .." if len(found) > 5 else "")
            raise UserError(f"{word!r} means {len(found)} runs below {runs}: type one of {some}.")
    if not every:
        raise UserError(
            f"there is no run {word!r}, nor any other below {runs}: give its folder, or --runs DIR, or train one first."
        )
    raise UserError(f"there is no run {word!r} below {runs}: {_hint(word, list(every))}.")


def find_runs(words: tuple[str, ...], runs: Path) -> list[Run]:
    """The runs that the words mean, each once; all runs below `runs` where there is no word."""
    if not words:
        return [run for run in Run.all(runs) if run.experiment_json.exists()]
    return list({run.folder: run for run in (find_run(word, runs) for word in words)}.values())


def _hint(word: str, names: list[str]) -> str:
    if len(names) <= 8:
        return nearest(word, names)
    near = nearest(word, names)
    return near.split(" (all:")[0] if near.startswith("did") else "`python launch.py results` lists them"
