"""Checks before a submission of what a job will run on its node, as far as this machine can see: interpreter, packages, setup lines."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT, Settings
from ganhpc.core.subprocesses import ask
from ganhpc.core.whoami import expand
from ganhpc.launch.schedulers.script_text import comment

NEEDED = ("torch", "numpy", "click", "safetensors")
"""Packages without which no training begins; found, not imported: torch alone takes seconds."""
_OLDEST = (3, 11)
SECONDS = 20.0
"""An interpreter on a slow disk that says nothing for this long is left to the node."""
_MARK = "ganhpc-python"
_PROBE = f"""
import sys
sys.path.pop(0)
sys.stdout.write("{_MARK} %d %d" % tuple(sys.version_info[:2]))
sys.stdout.flush()
from importlib.util import find_spec
sys.stdout.write("".join(" " + name for name in {NEEDED!r} if find_spec(name) is None))
"""
"""Read by any Python, too old ones included."""


def check(site: Settings) -> None:
    """Raise UserError where a job would end before its training begins."""
    if said := setup_problem(site.setup_lines):
        raise UserError(f"setup in {_settings(site)} is not shell that bash reads ({said}): correct it.")
    if said := python_problem(site):
        raise UserError(f"{said}.")


def setup_problem(setup: tuple[str, ...]) -> str:
    """The reason for which bash can't read the setup lines, in its words; empty where it can."""
    if not setup or not shutil.which("bash"):
        return ""
    last = setup[-1]
    if (len(last) - len(last.rstrip("\\"))) % 2:
        return "its last line ends with a backslash, and would take in the next one of the script"
    answer = ask(["bash", "-n", "-c", "\n".join(setup)], SECONDS, {"LC_ALL": "C"})
    # A text behind << that nothing ends is a warning only. Other lines are about this machine: a locale, a library that is missing.
    said = re.search(r"^bash: (?:-c: )?(line \d+: .*)", answer.err, re.MULTILINE)
    if not said and not answer.code:
        return ""
    return comment(said[1] if said else answer.last_words or f"exit code {answer.code}")


def python_problem(site: Settings) -> str:
    """The reason for which the jobs' interpreter can't train, with the way on; empty where it can, or where only the node can tell."""
    named = site.interpreter
    if site.conda and "/" in site.conda and not site.container and site.python is None:
        return _conda_problem(site, site.conda)
    if site.container or ("/" not in named and site.setup_lines):
        return ""  # a container has its own, and setup may put one on the path
    if site.python is None and not os.environ.get("PYTHONPATH"):
        return own_problem(site)
    path = shutil.which(named)
    if path is None:
        there = "is not executable" if Path(named).exists() else "is not there"
        return f"python in {_settings(site)} is {site.python!r}, but {comment(named)} {there}: correct it, or remove the line"
    return _asked(path, site)


def _conda_problem(site: Settings, folder: str) -> str:
    """The same of a Conda environment that the settings name by its folder; of one that they name alone, only the node can tell."""
    folder = os.path.expandvars(folder)  # as `conda activate` does with a folder
    if "$" in folder:
        return ""  # a variable that the node may have
    path = expand(folder).absolute() / "bin" / "python"
    if not os.access(path, os.X_OK):
        return f"conda in {_settings(site)} is {site.conda!r}, which is no Conda environment here (it has no bin/python): correct it"
    return "" if site.setup else _asked(str(path), site)  # lines of setup come behind it


def own_problem(site: Settings = Settings()) -> str:  # noqa: B008
    """Packages that this process's interpreter lacks for a training, with the way on; empty where it has all."""
    return _missing(sys.executable, [name for name in NEEDED if importlib.util.find_spec(name) is None], site)


@functools.lru_cache
def _asked(path: str, site: Settings) -> str:
    # A job has this folder, and nothing else, on its PYTHONPATH.
    answer = ask([path, "-c", _PROBE], SECONDS, {"PYTHONPATH": str(ROOT)})
    if answer.code is None:
        return ""
    _, mark, said = answer.out.partition(_MARK)
    if not mark:
        return f"{comment(path)}, the jobs' python, can't be run ({comment(answer.last_words) or f'exit code {answer.code}'}): correct python in {_settings(site)}"
    major, minor, *missing = said.split()
    if (int(major), int(minor)) < _OLDEST:
        return f"{comment(path)}, the jobs' python, is Python {major}.{minor}, and ganhpc needs {_OLDEST[0]}.{_OLDEST[1]} or newer: {_way(site)}"
    return _missing(path, missing, site)


def _missing(path: str, names: list[str], site: Settings) -> str:
    if not names:
        return ""
    return f"{comment(path)}, the jobs' python, does not have {', '.join(names)}: {_way(site)}"


def _way(site: Settings) -> str:
    made = ROOT / ".venv" / "bin" / "python"
    if site.python is None and site.conda:
        return f"install it there, or name another one in {_settings(site)}"
    if site.python is not None:
        return f"correct python in {_settings(site)}, or remove the line: the jobs then run under the launcher's own"
    if os.access(made, os.X_OK) and Path(sys.prefix).resolve() != made.parents[1].resolve():
        return f"type {shlex.quote(str(made))} launch.py .. instead"
    return f"`make setup` in {comment(str(ROOT))} makes one that has all of it, .venv/bin/python"


def _settings(site: Settings) -> str:
    return comment(str(site.path)) if site.path else "the settings"
