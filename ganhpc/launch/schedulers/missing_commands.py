"""Signs of a cluster whose commands are not on the PATH: a module of the site's that brings them, or the scheduler's settings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def module_of(name: str) -> str:
    """The command that loads the site's module called `name` (slurm); empty where no folder of MODULEPATH has one."""
    for folder in filter(None, os.environ.get("MODULEPATH", "").split(os.pathsep)):
        for each in (name, name.capitalize()):
            # A folder that may not be read has no module for this user.
            with suppress(OSError):
                if any(Path(folder, each + ending).exists() for ending in ("", ".lua")):
                    return f"module load {each}"
    return ""


def first_of(files: Iterable[str]) -> str:
    """The first of `files` that is there; empty where none is. An empty name is none."""
    for file in filter(None, files):
        with suppress(OSError):
            if Path(file).is_file():
                return file
    return ""
