"""Files of the launcher in a run folder, protected from the program: a file that it wrote under one of their names is moved aside."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, read_bytes
from ganhpc.core.streams import print_line
from ganhpc.program import environment, outcome
from ganhpc.runs.run_files import FAULTS, PROGRAM_LEDGER
from ganhpc.runs.run_folder import Run

ASIDE = "of-program"
"""The folder for what is moved aside."""
_MOST = 1000
_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a link."""


class OwnFiles:
    """The files of ours in the folder of a run whose program is running. Made before it starts."""

    def __init__(self, run: Run) -> None:
        """Raises Damaged where the run's definition can't be read."""
        self._run = run
        self._definition = read_bytes(run.experiment_json)
        paths = (run.status_json, run.evaluation_json, run.deadline_json, run.request_json)
        names = (PROGRAM_LEDGER, FAULTS, outcome.MEASURED, environment.STOP_FILE, environment.TIME_FILE)
        self._files = (*paths, *(run.folder / name for name in names))
        self._said: set[Path] = set()

    def keep(self) -> None:
        """Move aside a result that the program wrote, another definition, and folders, pipes or links under the names of files. Raises no error:
        what the file system does not tell is left as it is."""
        with suppress(OSError):
            if os.path.lexists(self._run.result_json):
                self._move(self._run.result_json)
            for path in self._files:
                if _is_in_the_way(path):
                    self._move(path)
        with suppress(OSError, UserError):
            self._keep_definition()

    def _keep_definition(self) -> None:
        path = self._run.experiment_json
        try:
            kept = read_bytes(path) == self._definition
        except FileNotFoundError:
            kept = False
        except UserError:
            kept = not _is_in_the_way(path)
        if kept:
            return
        if os.path.lexists(path):
            self._move(path)
        with atomic_open(path) as file:
            file.write(self._definition)

    def _move(self, path: Path) -> None:
        """Move it aside, and say so once; it takes the place of a file that was moved before."""
        folder = self._run.folder / ASIDE
        folder.mkdir(exist_ok=True)
        names = (path.name, *(f"{path.name}-{number}" for number in range(2, _MOST)))
        aside = next((folder / name for name in names if _has_room(folder / name, path)), None)
        if aside is None:
            return
        path.replace(aside)
        if path not in self._said:
            self._said.add(path)
            print_line(
                f"{path.name} in the run's folder is the launcher's: what the program has put there is now {ASIDE}/{aside.name}; "
                "let it write into {checkpoints}"
            )


def _is_in_the_way(path: Path) -> bool:
    """True if something is there that is no file, and no link to one. Raises OSError where the file system doesn't say."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            return error.errno in _LEADS_NOWHERE
    return not stat.S_ISREG(mode)


def _has_room(aside: Path, path: Path) -> bool:
    """True if nothing is there, or a file that another file may replace."""
    return not os.path.lexists(aside) or (_is_own_file(aside) and _is_own_file(path))


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
