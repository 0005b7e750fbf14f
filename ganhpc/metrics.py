"""What a run tells while it trains: metrics.jsonl, TensorBoard, status.json. Only rank 0 writes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ganhpc.errors import UserError
from ganhpc.files import atomic_open, storage_errors, write_json
from ganhpc.run import Run, State


class Metrics:
    """The files of a run that grow. A resumed run goes on behind the step of its checkpoint: later lines are removed first."""

    def __init__(self, run: Run, step: int, *, active: bool = True) -> None:
        self._run = run
        self._active = active
        self._last_status = 0.0
        self._board: Any = None
        if active:
            self._cut(step)
            # TensorBoard takes a second to import, and only rank 0 of a real run needs it.
            from torch.utils.tensorboard import SummaryWriter

            with storage_errors(run.tensorboard):
                self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1 if step else None, flush_secs=10)

    def _cut(self, step: int) -> None:
        """Remove the lines of steps that the checkpoint does not know, and a line that a kill cut short."""
        path = self._run.metrics_jsonl
        if not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                if step and json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                break
        with atomic_open(path) as file:
            file.write("".join(kept).encode())

    def line(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """Add one object to metrics.jsonl, and its numbers to TensorBoard as kind/name."""
        if not self._active:
            return
        with storage_errors(self._run.metrics_jsonl):
            with self._run.metrics_jsonl.open("a") as file:
                file.write(json.dumps({"kind": kind, "step": step, **figures}, default=str) + "\n")
            for name, value in figures.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def images(self, name: str, step: int, images: Tensor) -> None:
        """Show `images` (float [N, C, H, W] in [0, 1]) in TensorBoard."""
        if self._active:
            self._board.add_images(name, images.detach().float().cpu(), step)

    def status(self, state: State, *, every: float = 0.0, **figures: Any) -> None:
        """Say where the run stands; at most once in `every` seconds."""
        now = time.time()
        if self._active and now - self._last_status >= every:
            self._last_status = now
            write_status(self._run, state, **figures)

    def close(self) -> None:
        """Flush and close."""
        if self._board is not None:
            try:
                self._board.close()
            except OSError as error:
                raise UserError(
                    f"can't finish the TensorBoard file in {self._run.tensorboard}: {error.strerror}."
                ) from error


def write_status(run: Run, state: State, **figures: Any) -> None:
    """Write status.json: the state, the figures, who writes and when."""
    who = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.time(),
        "launch": os.environ.get("GANHPC_LAUNCH", ""),
    }
    # Not durable: it is written every second, and after a power cut the checkpoint tells the truth.
    write_json(run.status_json, {"state": state.value, **figures, **who}, durable=False)
