"""Experiments in folders of the user's own: `GANHPC_JOBS=DIR[:DIR]`, or `jobs = [..]` in the settings.

The folders come from the environment and the settings of the place alone, and modules are looked up among the files that lie in them: no
word of a run's file names a folder or a module. Each folder is a package under a name of its own, so that its files import one another
(`from . import my_nets`) and hide none of Python's or of this program's modules.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ganhpc.core import settings
from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, read_bytes
from ganhpc.core.printable import printable
from ganhpc.core.whoami import expand

VARIABLE = "GANHPC_JOBS"
_HELPER = re.compile(r"[_.].*|test_.*|.*_(?:tasks?|nets?|data|test)|conftest|setup")
"""Names of files beside experiments that are none: networks, tasks, tests."""
_PREFIX = "ganhpc_own_"
"""Beginning of the names of the packages that the folders are."""


@dataclass(frozen=True)
class OwnFile:
    """A file with an experiment."""

    name: str
    """Of the experiment, on the command line."""
    path: Path
    problem: str = ""
    """The reason for which it can't be used, as far as its name and its text tell: a sentence."""


def folders() -> tuple[Path, ...]:
    """The folders, absolute, but for `jobs/` of the checkout; those that can't be read too. Raises UserError where the settings can't be read."""
    typed = os.environ.get(VARIABLE)
    named = [expand(part).absolute() for part in typed.split(":") if part] if typed else settings.load().jobs
    each_once: dict[str, Path] = {}
    for folder in named:
        each_once.setdefault(os.path.realpath(folder), folder)  # a link, or another spelling, is the same folder
    each_once.pop(os.path.realpath(settings.ROOT / "jobs"), None)  # whose experiments are there anyhow
    return tuple(each_once.values())


def variable() -> dict[str, str]:
    """The folders for the environment of a trainer or a job; nothing where there are none. Raises UserError."""
    found = folders()
    if odd := next((each for each in found if ":" in str(each)), None):
        raise UserError(
            f"the folder of experiments {printable(odd)} has a colon in its name, which {VARIABLE} can't hold: rename it."
        )
    return {VARIABLE: ":".join(map(str, found))} if found else {}


def listed(taken: frozenset[str]) -> tuple[list[OwnFile], list[str]]:
    """The experiments' files, and sentences on folders that can't be listed. `taken`: names that are in use already. Imports nothing."""
    files: list[OwnFile] = []
    problems: list[str] = []
    seen: dict[str, Path] = {}
    try:
        places = folders()
    except UserError as error:
        return [], [str(error)]
    for folder in places:
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".py" and not is_helper(path.stem))
        except OSError as error:
            way = f"make it, or take it out of {VARIABLE} or `jobs` in the settings"
            problems.append(f"the folder of experiments {printable(folder)} can't be listed ({error.strerror}): {way}.")
            continue
        for path in paths:
            made = _file(path, taken, seen)
            seen.setdefault(made.name, path)
            files.append(made)
    return files, problems


def _file(path: Path, taken: frozenset[str], seen: dict[str, Path]) -> OwnFile:
    name, where = path.stem.replace("_", "-"), printable(path)
    if not path.stem.isidentifier():
        other = re.sub(r"\W", "_", path.stem, flags=re.ASCII).lstrip("_0123456789") or "mine"
        return OwnFile(
            printable(name), path, f"{where} has a name that no module can have: rename it, such as to {other}.py."
        )
    if name in taken:
        return OwnFile(name, path, f"{where} is called like the experiment or verb {name} of ganhpc: rename it.")
    if name in seen:
        return OwnFile(
            name, path, f"{where} is called like {printable(seen[name])}, which comes first: rename one of them."
        )
    if not path.is_file():
        return OwnFile(name, path, f"{where} is no file that can be read: remove it or put a file there.")
    return OwnFile(name, path)


def summary(file: OwnFile) -> str:
    """The first line of the file's docstring; its problem where it has one. Reads it without running it."""
    if file.problem:
        return f"broken: {file.problem}"
    import ast
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):  # a file's own warnings are for whoever runs it
            doc = ast.get_docstring(ast.parse(read_bytes(file.path))) or file.name
    except (OSError, Damaged, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"broken: {_message_of(error, file.path)}."
    return printable(doc.strip().partition("\n")[0], 200)


def load(file: OwnFile) -> types.ModuleType:
    """The module of the file, run once. Raises UserError."""
    if file.problem:
        raise UserError(file.problem)
    return _import(file.path.parent, file.path.stem)


def is_own(module: str) -> bool:
    """True if `module` (the `__module__` of a class) lies in a folder of the user's own."""
    return module.startswith(_PREFIX)


def beside(module: str, name: str) -> types.ModuleType | None:
    """The module or package `name` in the folder of `module`, run once; None where there is none. Raises UserError."""
    folder = Path(sys.modules[module.partition(".")[0]].__path__[0])
    found = name.isidentifier() and ((folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file())
    return _import(folder, name) if found else None


def module(path: Path) -> types.ModuleType:
    """The module of a file in a folder of the user's own, for tests beside it. Raises UserError."""
    return _import(path.resolve().parent, path.stem)


def is_helper(stem: str) -> bool:
    """True if a file of this name, without .py, is no experiment."""
    return bool(_HELPER.fullmatch(stem))


def networks() -> Iterator[types.ModuleType]:
    """The modules of networks, `*_nets.py`, of all the folders; those that can't be imported are left out."""
    for folder in folders():
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob("*_nets.py")):
                with contextlib.suppress(UserError):
                    if path.stem.isidentifier() and path.is_file():  # the import would wait for a fifo
                        yield _import(folder, path.stem)


def where(path: Path, error: BaseException) -> str:
    """The file and the line of the user's own code at which `error` was raised."""
    import traceback  # for files that are broken

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(path.parent)]
    return f"{printable(own[-1].filename)}, line {own[-1].lineno}" if own else printable(path)


@functools.cache
def _package(folder: Path) -> str:
    """The name of the package that `folder` is, made where it is not there yet."""
    name = _PREFIX + short_digest(os.fsencode(folder), 12)
    made = types.ModuleType(name, "A folder of experiments.")
    made.__path__ = [str(folder)]
    sys.modules[name] = made
    return name


def _import(folder: Path, name: str) -> types.ModuleType:
    """The module `name` of `folder`. Raises UserError."""
    full = f"{_package(folder)}.{name}"
    if full not in sys.modules:
        importlib.invalidate_caches()
    return imported(full, folder / f"{name}.py")


def imported(full: str, path: Path) -> types.ModuleType:
    """The module called `full`, of the file `path`. What it prints is kept from the output, which may be for a program.

    Raises UserError, and KeyboardInterrupt with the place in the file.
    """
    if full in sys.modules:
        return sys.modules[full]
    printed = _Kept()
    try:
        with contextlib.redirect_stdout(printed), _no_end(), _no_output():
            made = importlib.import_module(full)
    except KeyboardInterrupt as stop:  # the user's, at a file that takes long
        sys.modules.pop(full, None)
        raise type(stop)(
            f"stopped in {where(path, stop)}, while it was imported: put what takes long there into a function."
        ) from stop
    except BaseException as error:
        sys.modules.pop(full, None)
        raise broken(path, error) from error
    if lines := printed.getvalue().strip().splitlines():
        note = f"warning: {printable(path)} prints when it is imported ({printable(lines[0], 80)}): put that into a function."
        print(note, file=sys.stderr, flush=True)
    return made


class _Kept(io.StringIO):
    """The output of a file that is imported."""

    def close(self) -> None:
        """A file may close its output."""


@contextlib.contextmanager
def _no_end() -> Iterator[None]:
    """Within the block, `os._exit` of this process is as `sys.exit`: no file ends the program without a word."""
    mine, end = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() == mine:
            raise SystemExit(status)
        end(status)  # a child that the file has forked

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Within the block, what programs that a file starts print goes beside the output, with the errors."""
    try:
        kept = os.dup(1)
    except OSError:  # there is none
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def broken(path: Path, error: BaseException) -> UserError:
    """The refusal of a file whose import ended with `error`."""
    return UserError(
        f"{where(path, error)}: {_message_of(error, path)}: fix it; the other experiments are not touched."
    )


def _message_of(error: BaseException, path: Path) -> str:
    """The message of `error`, in one line, without a dot at its end."""
    if isinstance(error, SyntaxError):
        line = f" in line {error.lineno}" if error.lineno else ""
        return f"it is not valid Python{line} ({printable(error.msg, 200)})"
    if isinstance(error, OSError) and error.filename and Path(str(error.filename)) == path:
        return f"it can't be read ({error.strerror})"
    if isinstance(error, SystemExit):
        return 'it ends the program when it is imported (put that under `if __name__ == "__main__":`)'
    if isinstance(error, ModuleNotFoundError) and error.name:
        beside_it = error.name.isidentifier() and (path.parent / f"{error.name}.py").is_file()
        way = f" (write `from . import {error.name}` for the file beside it)" if beside_it else ""
        return f"it imports {printable(error.name, 100)}, which this Python does not have{way}"
    return printable(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", 300).rstrip(".: ")
