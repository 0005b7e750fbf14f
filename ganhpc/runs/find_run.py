"""RUN on the command line: one meaning of a word for all verbs, by path, by name, by a beginning or by a part that fits one run only."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganhpc.core.errors import UserError, nearest_names
from ganhpc.core.printable import printable
from ganhpc.core.typed_command import typed_command
from ganhpc.runs.run_folder import Run


def fitting(word: str, named: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys of `named` that `word` means, by their names: those called so, else those that begin so, else those that contain it."""
    tests = (lambda name: name == word, lambda name: name.startswith(word), lambda name: word in name)
    for fits in tests:
        if word and (found := [key for key, names in named.items() if any(map(fits, names))]):
            return found
    return []


def is_run(folder: Path | str) -> bool:
    """True if a folder is a run's: it has a definition, or may not be looked into. Whatever else is wrong with it is for its reader to say."""
    try:
        os.lstat(os.path.join(folder, "experiment.json"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return os.path.isdir(folder)  # noqa: PTH112
    return True


def find_run(word: str, runs: Path) -> Run:
    """The run that `word` means: a folder's path, `<experiment>/<name>` or `<name>` below `runs`, a beginning or a part of one name.

    Only folders that are runs are meant. Raises UserError where it means none or several.
    """
    for path in (Path(word), runs / word):
        if word.strip("/") and is_run(path):
            return Run(path)
    every = {str(run.folder.relative_to(runs)): run for run in Run.all(runs) if is_run(run.folder)}
    found = fitting(word.rstrip("/"), {name: (name, Path(name).name) for name in every})
    if len(found) == 1:
        return every[found[0]]
    if found:
        some = ", ".join(map(printable, sorted(found)[:5])) + (", .." if len(found) > 5 else "")
        raise UserError(f"{word!r} means {len(found)} runs below {runs}: type one of {some}.")
    if os.path.isdir(word):  # noqa: PTH112
        raise UserError(
            f"{word} is not a run folder (it has no experiment.json): `{typed_command('results', runs=runs)}` lists the runs."
        )
    if not every:
        raise UserError(
            f"there is no run {word!r}, nor any other below {runs}: give its folder, or --runs DIR, or train one first."
        )
    raise UserError(f"there is no run {word!r} below {runs}: {_hint(word, list(every), runs)}.")


def find_runs(words: tuple[str, ...], runs: Path) -> list[Run]:
    """The runs that the words mean, each once; all runs below `runs` where there is no word."""
    if not words:
        return [run for run in Run.all(runs) if is_run(run.folder)]
    return list({_identity(run.folder): run for run in (find_run(word, runs) for word in words)}.values())


def _identity(folder: Path) -> object:
    """Device and inode of a folder, which are the same however it is spelled, linked or mounted; its path where it can't be read."""
    try:
        found = folder.stat()
    except OSError:
        return folder.absolute()
    return found.st_dev, found.st_ino


def _hint(word: str, names: list[str], runs: Path) -> str:
    near, every = nearest_names(word, names), ", ".join(map(printable, sorted(names)))
    if not near:
        return f"choose one of {every}" if len(names) <= 8 else f"`{typed_command('results', runs=runs)}` lists them"
    meant = f"did you mean {' or '.join(repr(name) for name in near)}?"
    return f"{meant} (all: {every})" if len(names) <= 8 else meant
