"""The launcher's files in a run folder, kept from the program: what it has put in the place of one is moved aside."""

from __future__ import annotations

import os
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
        """Move aside a result, which the program can't have yet, another definition, and what is no file in the place of one. No error is raised."""
        with suppress(OSError):
            if os.path.lexists(self._run.result_json):
                self._move(self._run.result_json)
            for path in self._files:
                if os.path.lexists(path) and not os.path.isfile(path):  # noqa: PTH113 (raises nothing)
                    self._move(path)
        with suppress(OSError, UserError):
            self._keep_definition()

    def _keep_definition(self) -> None:
        path = self._run.experiment_json
        with suppress(OSError, UserError):
            if read_bytes(path) == self._definition:
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


def _has_room(aside: Path, path: Path) -> bool:
    """True if nothing is there, or a file that another file may replace."""
    return not os.path.lexists(aside) or (_is_own_file(aside) and _is_own_file(path))


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
