"""deadline.json: the end of the job that a trainer runs in. It holds for the trainers of its owner only.

{"end": seconds since 1970, "last": whether the run ends with this job, "owner": who wrote it (ganhpc.runs.file_owner)}

Whoever starts a trainer hands its name and the bound over in the environment; the file brings later changes. A file of another owner,
of none, or with damaged contents binds nobody.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.core.files import parse_json, read_json, write_json
from ganhpc.runs import file_owner as owners
from ganhpc.runs.run_folder import Run

BOUND = "GANHPC_BOUND"
"""Environment variable with the bound at the trainer's start, as in the file; empty: nothing bounds it."""


class Bound(NamedTuple):
    """The bound of a trainer."""

    end: float = math.inf
    """When its job ends, in seconds since 1970."""
    last: bool = False
    """True if the run ends with this job: a run bounded by time then plans its last evaluation into it."""


def write(run: Run, bound: Bound, owner: str, **more: Any) -> None:
    """Tell the trainers of `owner` what bounds them. Raises UserError where the folder can't be written."""
    write_json(run.deadline_json, {**_tree(bound, owner), **more}, durable=False)


def environment(owner: str, bound: Bound | None = None) -> dict[str, str]:
    """Variables that tell a trainer its bound; they replace whatever an outer trainer's environment says."""
    return {owners.OWNER: owner, BOUND: json.dumps(_tree(bound, owner)) if bound else ""}


def _tree(bound: Bound, owner: str) -> dict[str, Any]:
    return {"end": bound.end, "last": bound.last, "owner": owner}


def _read(tree: Any, owner: str) -> Bound | None:
    """The bound in `tree`; None where it is damaged, or not for trainers of `owner`."""
    if not isinstance(tree, dict) or tree.get("owner") != owner:
        return None
    end, last = tree.get("end"), tree.get("last")
    if not isinstance(end, int | float) or isinstance(end, bool) or not isinstance(last, bool):
        return None
    try:
        end = float(end)
    except OverflowError:
        return None
    return Bound(end, last) if math.isfinite(end) else None


class Watched:
    """The bound of this trainer, as it stands."""

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self.owner = owners.mine()
        try:
            given = parse_json(environ.get(BOUND) or "null")
        except ValueError:
            given = None
        self._last = _read(given, self.owner) or Bound()

    def now(self) -> Bound:
        """The newest bound that its owner gave; one that was given holds until it is replaced, whatever becomes of the file."""
        try:
            self._last = _read(read_json(self._path), self.owner) or self._last
        except (UserError, OSError):
            pass
        return self._last
