"""Logger of a run: metrics.jsonl, TensorBoard, status.json. Only rank 0 writes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self

from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, open_to_write, storage_errors
from ganhpc.runs.progress import Progress, Stopped
from ganhpc.runs.run_files import metric_lines
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from ganhpc.runs.tensorboard_hparams import End
from ganhpc.train.logging.tensorboard_writer import TensorBoardWriter
from ganhpc.train.tasks.task import Task


class RunLogger:
    """The files of a run that grow. A resumed run goes on behind its checkpoint: what came later is removed first."""

    def __init__(self, run: Run, resumed: Progress | None, *, active: bool = True) -> None:
        """`resumed`: where the checkpoint stands that the run goes on from; None where it begins."""
        self._run = run
        self._active = active
        self._last_status = 0.0
        self._written: dict[str, int] = {}
        self._curves: TensorBoardWriter | None = None
        if active:
            self._cut(resumed)
            self._curves = (
                TensorBoardWriter(run, resumed.step, resumed.evaluated) if resumed else TensorBoardWriter(run, None)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close, and say how the run ended where it did: one that stops or is killed has not ended yet."""
        if self._curves and kind is None:
            self._curves.end(End.SUCCESS)
        elif self._curves and isinstance(error, Exception) and not isinstance(error, Stopped):
            self._curves.end(End.FAILURE)
        self.close()

    def _cut(self, resumed: Progress | None) -> None:
        """Remove the lines of steps that the checkpoint does not know, and a line that a kill cut short."""
        path = self._run.metrics_jsonl
        if not os.path.lexists(path):
            return
        kept = []
        for line, tree in metric_lines(path):
            kind, step = (tree.get("kind"), tree.get("step")) if tree else (None, None)
            last = -1 if resumed is None else resumed.evaluated if kind == "epoch" else resumed.step
            if isinstance(kind, str) and kind != "final" and isinstance(step, int) and step <= last:
                kept.append(line + b"\n")
                self._written |= {kind: step}
        with atomic_open(path) as file:
            file.write(b"".join(kept))

    def line(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """Add one object to metrics.jsonl, and its numbers to TensorBoard as kind/name."""
        if self._curves is None or (kind == "train" and step <= self._written.get(kind, -1)):
            return  # The second: it was written between the checkpoint and a kill.
        with storage_errors(self._run.metrics_jsonl):
            with open_to_write(self._run.metrics_jsonl, append=True) as file:
                file.write((json.dumps({"kind": kind, "step": step, **figures}, default=str) + "\n").encode())
            self._curves.scalars(kind, step, figures)

    def series(self, name: str, points: Iterable[tuple[int, float]]) -> None:
        """Draw a curve over something else than steps in TensorBoard, once a run is over."""
        if self._curves:
            with storage_errors(self._run.tensorboard):
                for place, value in points:
                    self._curves.scalars("final", place, {name: value})

    def images(self, name: str, step: int, images: Tensor) -> None:
        """Show `images` (float [N, C, H, W] in [0, 1]) in TensorBoard."""
        if self._curves:
            with storage_errors(self._run.tensorboard):
                self._curves.images(name, step, images)

    def histogram(self, name: str, step: int, values: Tensor) -> None:
        """Show the distribution of `values` (any shape) in TensorBoard."""
        if self._curves:
            with storage_errors(self._run.tensorboard):
                self._curves.histogram(name, step, values)

    def graph(self, task: Task) -> None:
        """Draw the networks in TensorBoard; one that can't be traced is left out with a warning, for a picture is worth no run."""
        if not self._curves:
            return
        try:
            with storage_errors(self._run.tensorboard):
                self._curves.graph(task.modules, task.example_inputs)
        except UserError:
            raise
        except Exception as error:  # torch's tracer runs the networks' own code
            print(f"warning: TensorBoard shows no graph: {type(error).__name__}: {error}", flush=True)

    def flush(self) -> None:
        """Have everything in the files, before a checkpoint says that it is."""
        if self._curves:
            with storage_errors(self._run.tensorboard):
                self._curves.flush()

    def status(self, state: State, *, every: float = 0.0, **figures: Any) -> None:
        """Say where the run stands; at most once in `every` seconds."""
        now = time.time()
        if self._active and now - self._last_status >= every:
            self._last_status = now
            write_status(self._run, state, **figures)

    def close(self) -> None:
        """Flush and close."""
        if self._curves is not None:
            self._curves.close()
