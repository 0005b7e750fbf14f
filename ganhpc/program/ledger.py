"""program.json of a run: what its program's segments have used and left, kept from one to the next."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from ganhpc.core.files import folders_below, read_json, write_json
from ganhpc.runs.run_files import PROGRAM_LEDGER, is_amount, is_count, is_text
from ganhpc.runs.run_folder import Run

NOWHERE = 2
"""Segments in a row that changed no file in the checkpoint folder after which the program is said to get nowhere."""
_MOST_FILES = 100_000
_MOST_SEGMENTS = 1000
_DIGITS = 19


@dataclass
class Ledger:
    """The account of a run's program."""

    seconds: float = 0.0
    """Seconds for which it has run, all segments added up."""
    segments: int = 0
    changes: int = 0
    """Segments, and looks within one, at which its checkpoint folder had changed."""
    nowhere: int = 0
    """Segments in a row at whose end it had not."""
    stop_seconds: float | None = None
    """Seconds that it took to stop when it was asked last; None: it never was."""
    seen: str = ""
    """Digest of the checkpoint folder at the start of the segment."""
    open: bool = False
    """True while a segment runs: one that was killed leaves it so."""
    saved: bool = False
    """True if the last segment ended by itself when it was asked to, with another checkpoint folder than at its start."""
    figures: dict[str, bool] = field(default_factory=dict)
    """The bytes that the file of figures had when each segment began, with whether the one before had `saved`."""

    @classmethod
    def read(cls, run: Run) -> Ledger:
        """The account as it stands; a new one where there is none. Raises Damaged where a field is not what it should be."""
        tree = read_json(run.folder / PROGRAM_LEDGER) or {}
        made = cls()
        checks = {"seconds": is_amount, "segments": is_count, "changes": is_count, "nowhere": is_count, "seen": is_text}
        for name, check in checks.items():
            if check(tree.get(name)):
                setattr(made, name, tree[name])
        made.stop_seconds = tree["stop_seconds"] if is_amount(tree.get("stop_seconds")) else None
        made.open, made.saved = tree.get("open") is True, tree.get("saved") is True
        figures = tree.get("figures")
        if isinstance(figures, dict):
            made.figures = {k: v is True for k, v in figures.items() if k.isdecimal() and len(k) < _DIGITS}
        return made

    def write(self, run: Run, *, durable: bool = True) -> None:
        """Write it in one step. Raises StorageFault."""
        write_json(run.folder / PROGRAM_LEDGER, dataclasses.asdict(self), durable=durable)

    def begin(self, figures: int) -> None:
        """Note the start of a segment, with the bytes that its file of figures has."""
        self.open = True
        self.figures[str(figures)] = self.saved
        for old in list(self.figures)[:-_MOST_SEGMENTS]:
            del self.figures[old]

    def begins(self) -> dict[int, bool]:
        """`figures` by numbers."""
        return {int(size): saved for size, saved in self.figures.items()}

    def close(self, *, changed: bool, counts: bool, saved: bool = False) -> None:
        """Note the end of a segment. `changed`: its checkpoint folder has; `counts`: one that has not brings `nowhere` nearer; `saved`: it
        ended by itself when it was asked to."""
        self.open, self.saved = False, saved and changed
        self.nowhere = 0 if changed else self.nowhere + counts


def digest(folder: Path) -> str:
    """A digest of the names, sizes and times of the files below `folder`, behind links to folders too; empty where there are none."""
    found = []
    for place, names in folders_below(folder, _MOST_FILES):
        for name in names:
            try:
                stat = os.stat(os.path.join(place, name))  # noqa: PTH116 (a walk of many files)
            except OSError:
                continue
            found.append(f"{os.path.relpath(place, folder)}/{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}")
    return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()[:16] if found else ""
