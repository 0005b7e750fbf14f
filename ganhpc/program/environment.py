"""Messages to a program: variables in its environment, and a file with the time that is left."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.scheduler_environment import OMP_TYPED
from ganhpc.core.settings import ROOT
from ganhpc.program.worker import STOP
from ganhpc.runs import file_owner, job_deadline, last_words
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_protocol import DIE_WITH_PARENT, EXIT_RESUMABLE, LAUNCH

FIGURES_FILE = "figures.jsonl"
STOP_FILE = "program-stop"
TIME_FILE = "time-left.json"
_IMPORTABLE = str(ROOT / "ganhpc" / "program" / "importable")
"""The folder on a program's search path. The checkout's own would hide a `jobs` or `tests` of the user's, installed or without `__init__.py`."""
_OURS = (DIE_WITH_PARENT, LAUNCH, OMP_TYPED, last_words.VARIABLE, file_owner.OWNER, job_deadline.BOUND)
"""Variables between the launcher and its trainers, which are nothing to a program: one that starts `launch.py` itself would mistake them."""


@dataclass(frozen=True)
class Place:
    """The processes of a program: those on this node, and all."""

    tasks: int = 1
    nodes: int = 1
    node: int = 0
    first: str = "127.0.0.1"
    port: int = 29_400

    @property
    def world(self) -> int:
        return self.tasks * self.nodes

    def variables(self, local: int) -> dict[str, str]:
        """The rank of one process, as torchrun gives it; nothing where there is but one, which would wait for others."""
        if self.world == 1:
            return {}
        rank = self.node * self.tasks + local
        found = {"RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": self.world, "LOCAL_WORLD_SIZE": self.tasks}
        found |= {"GROUP_RANK": self.node, "MASTER_PORT": self.port}
        return {name: str(value) for name, value in found.items()} | {"MASTER_ADDR": self.first}


def variables(
    run: Run, segment: int, seed: int, left: float, place: Place, environ: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a program: the job's, and the facts of this segment. `left`: seconds to the end of this segment."""
    kept = {name: value for name, value in environ.items() if name not in _OURS}
    folder = run.folder.absolute()
    added = {
        "GANHPC_RUN": str(folder),
        "GANHPC_CHECKPOINTS": str(folder / "checkpoints"),
        "GANHPC_TENSORBOARD": str(folder / "tb"),
        "GANHPC_FIGURES": str(folder / FIGURES_FILE),
        "GANHPC_SEGMENT": str(segment),
        "GANHPC_SEED": str(seed),
        "GANHPC_SECONDS_LEFT": str(int(left)) if math.isfinite(left) else "",
        "GANHPC_TIME_FILE": str(folder / TIME_FILE),
        STOP: str(folder / STOP_FILE),
        "GANHPC_RESUMABLE_EXIT": str(EXIT_RESUMABLE),
        "GANHPC_RANK": str(place.node * place.tasks),
        "GANHPC_WORLD_SIZE": str(place.world),
        "PYTHONUNBUFFERED": "1",
    }
    # `python` is the one that the launcher runs with; `ganhpc.program` can be imported, behind what the program has itself.
    path = os.pathsep.join(filter(None, [str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]))
    libraries = [word for word in kept.get("PYTHONPATH", "").split(os.pathsep) if word and word != str(ROOT)]
    return {**kept, **added, "PATH": path, "PYTHONPATH": os.pathsep.join([*libraries, _IMPORTABLE])}


@dataclass
class TimeFile:
    """The file with the time left. It is written anew where the scheduler, or the budget, has changed it."""

    run: Run
    _stop_at: float = math.nan

    def write(self, budget: float, job: float, ask: float) -> None:
        """`budget` and `job`: the seconds left of each; `ask`: seconds before their end at which the program is told to stop."""
        left = min(budget, job)
        stop_at = time.time() + left - ask
        if stop_at == self._stop_at or abs(stop_at - self._stop_at) < 1.0:
            return
        self._stop_at = stop_at
        tree: dict[str, Any] = {"seconds_left": _finite(left), "budget_seconds_left": _finite(budget)}
        tree |= {"job_seconds_left": _finite(job), "stops_at": _finite(stop_at), "written": time.time()}
        with suppress(UserError, OSError):  # a full disk: the program has the first bound from its environment
            write_json(self.run.folder / TIME_FILE, tree, durable=False)


def _finite(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None
