"""The experiments that there are: this program's, one file each in jobs/, and those of the user's own folders."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ganhpc.core import settings
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import printable
from ganhpc.runs import own_experiments
from ganhpc.runs.experiment import FORMAT, Experiment, Kind, definition_digest, options


def _packaged() -> dict[str, Path]:
    """The experiments of this program and their files: one per file of `jobs/`. A file `wgan_gp.py` is `wgan-gp`."""
    folders = importlib.import_module("jobs").__path__
    files = [file for folder in folders for file in Path(folder).glob("[!_.]*.py") if file.is_file()]
    return dict(sorted((file.stem.replace("_", "-"), file) for file in files))


def taken() -> frozenset[str]:
    """Names that no further experiment may have: those of the experiments and the verbs of this program."""
    verbs = (file.stem for file in (settings.ROOT / "ganhpc" / "cli" / "commands").glob("[!_.]*.py"))
    return frozenset([*_packaged(), *verbs])


def names() -> list[str]:
    """The experiments: this program's, then those of the user's own folders (`own_experiments`)."""
    files, _ = own_experiments.listed(taken())
    return [*_packaged(), *(file.name for file in files if not file.problem)]


def summaries() -> list[tuple[str, list[tuple[str, str]]]]:
    """(place, [(name, first line of its file)]) of each folder of experiments; a file that can't be used has its problem there.

    The user's own files are read and not run, since any of them may be broken.
    """
    found = {"one file each in jobs/": [(name, summary(name)) for name in _packaged()]}
    files, problems = own_experiments.listed(taken())
    for file in files:
        found.setdefault(f"in {printable(file.path.parent)}", []).append((file.name, own_experiments.summary(file)))
    if problems:
        found["that can't be listed"] = [("!", line) for line in problems]
    return list(found.items())


def summary(name: str) -> str:
    """The first line of the experiment's file; of this program's own, without importing it: the help lists them all."""
    if file := _packaged().get(name):
        found = re.match(r'(?:\s*#.*\n)*\s*r?"""(.*?)(?:"""|\n)', file.read_text(encoding="utf-8"))
        return found[1].strip() if found and found[1].strip() else name
    return (sys.modules[find(name).__module__].__doc__ or name).strip().splitlines()[0]


def is_known(name: str) -> bool:
    """True if there is an experiment called `name`, whether its file can be used or not."""
    return name in _packaged() or any(file.name == name for file in own_experiments.listed(taken())[0])


def find(name: str) -> type[Experiment]:
    """The definition of the experiment called `name`. Raises UserError with the nearest names."""
    if path := _packaged().get(name):
        module = own_experiments.imported(f"jobs.{path.stem}", path)  # users write files in jobs/ too
        found = [c for c in _classes(module) if getattr(c, "NAME", None) == name]
        if len(found) != 1:
            raise UserError(f"{printable(path)}: {len(found)} classes have the NAME {name!r}: give it to one.")
        return found[0]
    files, problems = own_experiments.listed(taken())
    for file in files:
        if file.name == name:
            return _own(file)
    more = f" ({' '.join(problems)})" if problems else ""
    raise UserError(f"there is no experiment {name!r}: {nearest(name, names())}.{more}")


def from_json(tree: dict[str, Any]) -> Experiment:
    """The definition in `tree`, of the experiment that it names. Raises UserError where this version of the program can't read it."""
    if tree.get("format") != FORMAT:
        raise UserError(
            f"this run was written in format {tree.get('format')!r} and this version reads format {FORMAT}: "
            "use the version that made it, or launch again with --new."
        )
    if not isinstance(tree.get("experiment"), str):
        raise UserError("this run's definition does not name its experiment: launch again with --new.")
    if not is_known(tree["experiment"]):
        raise UserError(
            f"this run's experiment {printable(tree['experiment'], 100)!r} is neither one of ganhpc's nor in a folder of your own: set "
            f"{own_experiments.VARIABLE}, or `jobs` in the settings, to the folder with its file."
        )
    return find(tree["experiment"]).from_json(tree)


def _classes(module: ModuleType) -> list[type[Experiment]]:
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Experiment) and c.__module__ == module.__name__
    ]


def _own(file: own_experiments.OwnFile) -> type[Experiment]:
    """The definition in a file of the user's own. Raises UserError where it is not whole."""
    module = own_experiments.load(file)
    classes = [c for c in _classes(module) if "NAME" in vars(c)]
    wrong = ""
    if len(classes) != 1:
        count = (
            f"{len(classes)} classes derived from Experiment have a NAME"
            if classes
            else "no class derived from Experiment has a NAME"
        )
        wrong = f"{count}: give it to one (a file that is no experiment has a name that begins with _)"
    else:
        wrong = _wrong_in(classes[0], module, file)
    if wrong:
        raise UserError(f"{printable(file.path)}: {wrong}.")
    return classes[0]


def _wrong_in(cls: type[Experiment], module: ModuleType, file: own_experiments.OwnFile) -> str:
    """The first fault of a definition of the user's own, in a sentence; empty where it is whole."""
    task, presets = getattr(cls, "TASK", None), getattr(module, "PRESETS", None)
    if file.name != cls.NAME:
        return f"NAME is {cls.NAME!r}: write {file.name!r}, after the file"
    if "__dataclass_fields__" not in vars(cls):
        return f"{cls.__name__} is no dataclass: write @dataclass(frozen=True, kw_only=True) above it"
    if not isinstance(task, str) or not task.isidentifier():
        return f"TASK is {task!r}: write the name of a task's module, such as 'classifier', or of one beside this file"
    if not isinstance(cls.KIND, Kind):
        return f"KIND is {cls.KIND!r}: write one of {', '.join(map(str, Kind))}"
    if not all(
        isinstance(names, tuple) and all(isinstance(n, str) for n in names) for names in (cls.DATA, cls.NETWORK)
    ):
        return 'DATA and NETWORK are tuples of texts: write ("synthetic",)'
    if not isinstance(presets, dict) or "default" not in presets or not all(type(p) is cls for p in presets.values()):
        return f'PRESETS is a dictionary of {cls.__name__} with the key "default": write PRESETS = {{"default": {cls.__name__}()}}'
    if not isinstance(getattr(module, "SCANS", {}), dict):
        return "SCANS is a dictionary: write SCANS = {}"
    try:
        for opt in options(cls):
            for preset in presets.values():
                opt.check_type(opt.get(preset))
                opt.check(opt.get(preset))
        for name, preset in presets.items():
            preset.check()
            if preset.preset != name:
                return f"the preset {name!r} has preset={preset.preset!r}: write {name!r} there"
            definition_digest(preset.definition)
    except Exception as error:  # whatever a type that no option can have brings about, or the definition's own check()
        return f"an option can't be used ({printable(f'{type(error).__name__}: {error}', 300).rstrip('.')})"
    return ""
