"""The nodes of a job that run a program together: the first one says that a segment begins, and each how its part has ended.

program-nodes/N.json in the run's folder, written by node N alone: {"owner", "segment", "seconds", "stop_seconds", "code", "reason"}. The
owner, a job and its count of restarts, tells the files of this job from older ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_json, write_json
from ganhpc.core.files import storage_errors as storing
from ganhpc.program.environment import Place
from ganhpc.program.ledger import Ledger
from ganhpc.runs.run_files import is_amount, is_count, is_text
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_protocol import EXIT_FAULT, EXIT_RESUMABLE

_FOLDER = "program-nodes"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class NodeEnd:
    """The end of a node's part."""

    node: int
    code: int
    reason: str

    @property
    def failed(self) -> bool:
        return self.code not in (0, EXIT_RESUMABLE, EXIT_FAULT)


class SegmentNodes:
    """The nodes, as this one sees them. Of one node, nothing is written."""

    def __init__(self, run: Run, place: Place, owner: str) -> None:
        self._folder, self._place, self._owner = run.folder / _FOLDER, place, owner
        self._said: dict[str, Any] = {"owner": owner}

    def begin(self, account: Ledger) -> None:
        """On the first node: the others may start. Raises StorageFault."""
        self._said |= {"segment": account.segments, "seconds": account.seconds, "stop_seconds": account.stop_seconds}
        self._write()

    def wait(self, asked: Callable[[], str | None]) -> Ledger | NodeEnd | str:
        """On another node: the account with which the first one has begun; its end, where it has not; or the reason of a stop request."""
        while True:
            tree = self._read(0)
            if is_count(tree.get("segment")) and is_amount(tree.get("seconds")) and "code" not in tree:
                took = tree["stop_seconds"] if is_amount(tree.get("stop_seconds")) else None
                return Ledger(seconds=tree["seconds"], segments=tree["segment"] - 1, stop_seconds=took)
            if (ended := self._end_of(0)) is not None:
                return ended
            if (reason := asked()) is not None:
                return reason
            time.sleep(_LOOK_SECONDS)

    def end(self, code: int, reason: str) -> None:
        """This node's part has ended so. No error is raised: a full disk keeps no node from its end."""
        self._said |= {"code": code, "reason": reason[:2000]}
        with suppress(UserError, OSError):
            self._write()

    def failed(self) -> NodeEnd | None:
        """The first of the other nodes whose part has failed."""
        return next((each for each in self._ends() if each.failed), None)

    def wait_for_the_others(self, seconds: float) -> None:
        """Wait until all of them have ended, so long at most."""
        patience = time.monotonic() + seconds
        while time.monotonic() < patience and len(self._ends()) < self._place.nodes - 1:
            time.sleep(_LOOK_SECONDS)

    def _ends(self) -> list[NodeEnd]:
        others = (node for node in range(self._place.nodes) if node != self._place.node)
        return [end for node in others if (end := self._end_of(node)) is not None]

    def _end_of(self, node: int) -> NodeEnd | None:
        tree = self._read(node)
        known = isinstance(tree.get("code"), int) and is_text(tree.get("reason"))
        return NodeEnd(node, tree["code"], tree["reason"]) if known else None

    def _read(self, node: int) -> dict[str, Any]:
        with suppress(UserError, OSError):
            tree = read_json(self._folder / f"{node}.json")
            return tree if tree and tree.get("owner") == self._owner else {}
        return {}

    def _write(self) -> None:
        if self._place.nodes > 1:
            with storing(self._folder):
                self._folder.mkdir(exist_ok=True)
            write_json(self._folder / f"{self._place.node}.json", self._said, durable=False)
