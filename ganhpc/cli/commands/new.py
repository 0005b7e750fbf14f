"""`new NAME`: the files of an experiment of the user's own, which run and pass their test as they are written."""

from __future__ import annotations

import importlib.util
import keyword
import re
from contextlib import suppress
from pathlib import Path

import click

from ganhpc.cli.common_options import TypedPath
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable, shell_word, shown
from ganhpc.core.settings import ROOT
from ganhpc.core.storage_errors import fault
from ganhpc.runs import known_experiments, own_experiments

_TEMPLATES = ROOT / "templates" / "new"
KINDS = tuple(sorted(path.name for path in _TEMPLATES.iterdir() if path.is_dir()))
"""Kinds of experiments: a folder of templates each, Python files in which my_name, my-name and MyName stand for the name."""
_IN_CHECKOUT = {
    "my_name.py": "jobs/{}.py",
    "my_name_task.py": "ganhpc/train/tasks/{}.py",
    "my_name_nets.py": "ganhpc/train/nets/{}.py",
    "_my_name.py": "jobs/_{}.py",
    "test_my_name.py": "tests/train/tasks/test_{}.py",
}
"""Template -> its place in the checkout."""
_TESTS_OF_PROGRAMS = "tests/program/test_{}.py"


@click.command("new", help="Write the files of an experiment of your own, with a test; they run as they are.")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(KINDS), default="classifier", show_default=True, help="what it is to be: its template"
)
@click.option(
    "--into",
    type=TypedPath(),
    metavar="DIR",
    help="a folder of your own  [default: jobs/ of the checkout]",
)
def command(name: str, kind: str, into: str | None) -> None:
    stem = _stem(name)
    folder = Path(into).absolute() if into else None
    texts = _in_folder(kind, stem, folder) if folder else _in_checkout(kind, stem)
    _write(texts)
    for path in texts:
        say(f"wrote {printable(shown(path))}")
    test = next(path for path in texts if path.name.startswith("test_"))
    if folder and folder not in own_experiments.folders():
        folders = ":".join(map(str, [*own_experiments.folders(), folder]))
        say(
            f"next: export {own_experiments.VARIABLE}={shell_word(folders)}   or add the folder to `jobs` in the settings"
        )
    say(f"next: python {shell_word(shown(ROOT / 'launch.py'))} {name} --preset quick   a first run, of seconds")
    say(
        f"      cd {shell_word(ROOT)} && python -m pytest {shell_word(test if folder else test.relative_to(ROOT))}   its test"
    )


def _stem(name: str) -> str:
    """The name of the experiment's file. Raises UserError where a module, an option or a folder can't have the name, or it is taken."""
    way = "type small letters, digits and single hyphens, beginning with a letter, such as my-cnn"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 40:
        raise UserError(f"an experiment can't be called {printable(name, 80)!r}: {way} (40 at most).")
    stem = name.replace("-", "_")
    if keyword.iskeyword(stem):
        raise UserError(f"an experiment can't be called {name!r}, which is a word of Python's: try my-{name}.")
    if name in known_experiments.taken() or known_experiments.is_known(name):
        raise UserError(f"there is an experiment or verb {name!r} already: choose another name.")
    if importlib.util.find_spec(stem) is not None:
        raise UserError(
            f"an experiment can't be called {name!r}: programs and tests in the same folder would import its file instead of Python's module "
            f"{stem}: try my-{name}."
        )
    if own_experiments.is_helper(stem):
        raise UserError(
            f"an experiment can't be called {name!r}: such files hold tests, tasks and networks beside it; leave out test-, -task, -net and the like."
        )
    return stem


def _texts(kind: str, stem: str) -> dict[str, str]:
    """The templates of `kind` by their names, with the experiment's name in them."""
    title = "".join(part.capitalize() for part in stem.split("_"))
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted((_TEMPLATES / kind).glob("*.py"))}
    if keyword.iskeyword(title) or any(re.search(rf"\b{title}\b", text) for text in found.values()):
        title += "Experiment"  # a word of Python's such as False, or a class that the templates import
    words = {"my_name": stem, "my-name": stem.replace("_", "-"), "MyName": title}
    return {name: re.sub("|".join(words), lambda word: words[word[0]], text) for name, text in found.items()}


def _in_checkout(kind: str, stem: str) -> dict[Path, str]:
    """The files where those of ganhpc's own experiments lie."""
    made = {}
    for name, text in _texts(kind, stem).items():
        imports = f"from ganhpc.train.nets.{stem} import {_networks(text)}"
        if f"\nfrom .{stem}_nets import " in text:
            text = re.sub(rf"\nfrom \.{stem}_nets import .*\n", "", text)
            groups = re.findall(r"(?m)^from ganhpc\..*$", text)
            text = text.replace("\n".join(groups), "\n".join(sorted([*groups, imports])))
        text = text.replace(f'"{stem}_task"', f'"{stem}"')
        place = _TESTS_OF_PROGRAMS if kind == "program" and name.startswith("test_") else _IN_CHECKOUT[name]
        text = text.replace("@program@", f'ROOT / "jobs" / "_{stem}.py"')
        made[ROOT / place.format(stem)] = text.replace("@imports@", imports).replace("@jobs@", "")
    return made


def _in_folder(kind: str, stem: str, folder: Path) -> dict[Path, str]:
    """The files side by side in a folder of the user's own."""
    if ":" in str(folder):
        raise UserError(
            f"--into {printable(folder)}: {own_experiments.VARIABLE} can't hold a colon: choose another folder."
        )
    made = {}
    for name, text in _texts(kind, stem).items():
        nets = f'_nets = own_experiments.module(Path(__file__).with_name("{stem}_nets.py"))'
        names = _networks(text).split(", ")
        own = f"from ganhpc.runs import own_experiments\n\n{nets}\n" + "\n".join(f"{n} = _nets.{n}" for n in names)
        text = text.replace("@imports@", own)
        text = text.replace("@program@", f'Path(__file__).resolve().with_name("_{stem}.py")')
        jobs = f', "{own_experiments.VARIABLE}": str(Path(__file__).resolve().parent)'
        text = re.sub(r"@pytest\.mark\.slow.*\n", "", text)
        if "pytest." not in text:
            text = text.replace("import pytest\n", "")
        made[folder / name.replace("my_name", stem)] = text.replace("@jobs@", jobs)
    return made


def _networks(text: str) -> str:
    """The classes of networks that a test uses, as an import names them."""
    return ", ".join(sorted(set(re.findall(r"\b[A-Z]\w*(?:Net|Generator|Discriminator)\b", text))))


def _write(texts: dict[Path, str]) -> None:
    """Write the files, all or none. Raises UserError where one is there already or can't be written."""
    if there := [path for path in texts if path.exists() or path.is_symlink()]:
        raise UserError(
            f"{printable(shown(there[0]))} is there already, and nothing is overwritten: choose another name."
        )
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise fault(error, doing="write") from error
