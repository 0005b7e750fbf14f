"""Folders of a run that are links into another run, whose checkpoints and pictures a trainer would replace and remove."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ganhpc.core.files import Damaged

_WRITTEN = ("checkpoints", "samples", "tb", "jobs", "of-program", "program-nodes")
"""Folders of a run that its trainer or its submission writes into. A link to a folder of another disk is the user's own way to more room."""


def must_be_own(run: Path) -> None:
    """Raise Damaged where a folder of the run in the folder `run` is a link into another run."""
    for name in _WRITTEN:
        path = run / name
        if os.path.islink(path) and (other := next(_runs_around(path, run), None)) is not None:  # noqa: PTH114
            raise Damaged(
                f"{path} is a link into another run, {other}, whose files this run would replace: move the link away."
            )


def _runs_around(path: Path, run: Path) -> Iterator[Path]:
    """The folders around what `path` leads to that are runs and not `run`."""
    end = Path(os.path.realpath(path))
    for folder in (end, *end.parents):
        with suppress(OSError):
            if (folder / "experiment.json").is_file() and not (run.exists() and folder.samefile(run)):
                yield folder
