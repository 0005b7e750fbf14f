"""The contents of one run folder for a report. Tolerates damaged files: each is named, and hides nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ganhpc.analysis.report.translation import is_finite
from ganhpc.analysis.results import rows
from ganhpc.analysis.results.rows import Row
from ganhpc.core.errors import UserError
from ganhpc.core.files import LARGE, Damaged, open_regular, parse_json, read_json
from ganhpc.core.printable import printable_lines, printable_tree
from ganhpc.core.settings import ROOT
from ganhpc.datasets.data_path import FIRST, data_fields
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import Kind
from ganhpc.runs.network_description import Description
from ganhpc.runs.run_files import read_metrics
from ganhpc.runs.run_folder import Run

_DESCRIBE_SECONDS = 180
"""Longest wait for the networks of a run that has no description."""

_Tree = dict[str, Any]
Points = list[tuple[float, float]]


@dataclass
class RunData:
    """One run: its row of the table, and its files. `problems` names what could not be read."""

    run: Run
    row: Row
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run) -> RunData:
        """Raises UserError where the folder holds no run."""
        row = rows.row(run)
        return cls(run, {**printable_tree(row), "folder": row["folder"]})

    @property
    def is_done(self) -> bool:
        return self.row["state"] == "done"

    @property
    def headline(self) -> str:
        """The figure that a reader looks at first."""
        return str(
            self.row.get("headline") or ("test_accuracy" if self.row.get("test_accuracy") is not None else "loss")
        )

    @property
    def data(self) -> str:
        """The data set; of a run on several, all of them: `A: lines, B: negatives`."""
        fields = data_fields(self.definition)
        if len(fields) < 2:
            return str(self.row.get("data"))
        letters = (field.removeprefix("data_").upper() if field != FIRST else "A" for field in fields)
        return ", ".join(f"{letter}: {self.definition[field]}" for letter, field in zip(letters, fields, strict=True))

    @cached_property
    def kind(self) -> Kind:
        """The family of its experiment; of an experiment that is not there any more, by the networks and figures of the run."""
        name = str(self.definition.get("experiment", self.row.get("experiment")))
        if name in known_experiments.names():
            return known_experiments.find(name).KIND
        if "generator" in self.networks_named:
            return Kind.GAN
        is_classifier = self.definition.get("task") == "classifier" or self.row.get("test_accuracy") is not None
        return Kind.CLASSIFIER if is_classifier else Kind.OTHER

    @property
    def networks_named(self) -> list[str]:
        return list(_tree(self._stored.get("networks")))

    def _read(self, path: Path) -> _Tree:
        try:
            return _tree(printable_tree(read_json(path, LARGE) or {}))
        except Damaged as error:
            self.problems.append(f"{path.name}: {error}")
            return {}

    @cached_property
    def definition(self) -> _Tree:
        return self._read(self.run.experiment_json)

    @cached_property
    def choices(self) -> _Tree:
        return self._read(self.run.choices_json)

    @cached_property
    def evaluation(self) -> _Tree:
        return self._read(self.run.evaluation_json)

    @cached_property
    def status(self) -> _Tree:
        return self._read(self.run.status_json)

    @cached_property
    def _stored(self) -> _Tree:
        return self._read(self.run.description_json)

    @property
    def step_operations(self) -> _Tree:
        """add, mul, max, other and total of one training step over all processes, or {}."""
        return _tree(_tree(self._stored.get("step")).get("ops"))

    @property
    def peak(self) -> _Tree:
        """Measurement of the device's peak, or {}."""
        return _tree(self._stored.get("peak"))

    @cached_property
    def lines(self) -> list[_Tree]:
        """The objects of metrics.jsonl; a line that is not whole is left out."""
        try:
            whole, broken = read_metrics(self.run.metrics_jsonl)
        except Damaged as error:
            self.problems.append(f"{self.run.metrics_jsonl.name}: {error}")
            return []
        if broken:
            self.problems.append(f"{self.run.metrics_jsonl.name}: {broken} × ✗")
        return [printable_tree(line) for line in whole]

    @cached_property
    def curve(self) -> list[_Tree]:
        """The evaluations, before the first epoch and after each."""
        stored = self.evaluation.get("curve")
        found = stored if isinstance(stored, list) else [line for line in self.lines if line.get("kind") == "epoch"]
        return [point for point in found if isinstance(point, dict) and is_finite(point.get("epoch"))]

    def series(self, key: str) -> Points:
        """(epoch, value) of the evaluations that have the figure."""
        return _points(self.curve, key)

    def training(self, key: str, most: int = 400) -> Points:
        """(epoch, value) of a figure of single steps; where few were kept, the means of epochs. At most about `most` of them."""
        found = _points((line for line in self.lines if line.get("kind") == "train"), key)
        if len(found) < 10:
            found = self.series(f"train_{key}") or self.series(key)
        return found[:: max(1, len(found) // most)]

    def rate(self, key: str, most: int = 400) -> Points:
        """(epoch, value) of a learning rate: of single steps, and at the ends of epochs. All points about a jump are kept."""
        steps = _points((line for line in self.lines if line.get("kind") == "train"), key)
        found = sorted({*steps, *self.series(key)})
        every = max(1, len(found) // most)
        ends = {k for k in range(1, len(found)) if found[k][1] != found[k - 1][1]}
        wanted = set(range(0, len(found), every)) | {len(found) - 1}
        if len(ends) <= most // 4:
            wanted |= ends | {k - 1 for k in ends}
        return [found[k] for k in sorted(wanted) if k >= 0]

    @cached_property
    def training_names(self) -> list[str]:
        """The figures of a training step, learning rates left out."""
        names = [key for line in self.lines if line.get("kind") == "train" for key in line]
        names += [key.removeprefix("train_") for point in self.curve for key in point if key.startswith("train_")]
        return [n for n in dict.fromkeys(names) if n not in ("kind", "step", "epoch") and not n.startswith("lr")]

    @cached_property
    def rate_names(self) -> list[str]:
        names = [key for point in (*self.curve, *self.lines) for key in point if key == "lr" or key.startswith("lr_")]
        return list(dict.fromkeys(names))

    def networks(self, say: Callable[[str], None]) -> dict[str, Description]:
        """The networks in full: as the trainer wrote them, else built anew in a process of its own. {} where neither can be."""
        tree = self._stored if self._stored.get("networks") else self._described_anew(say)
        try:
            return {str(n): Description.from_json(d) for n, d in _tree(tree.get("networks")).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.problems.append(f"{self.run.description_json.name}: {error!r}")
            return {}

    def _described_anew(self, say: Callable[[str], None]) -> _Tree:
        if not self.definition:
            return {}
        say(f"{self.run}: its networks are not described in the folder; building them anew ..")
        command = [sys.executable, "-m", "ganhpc.train.describe", str(self.run.folder.resolve())]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=_DESCRIBE_SECONDS, check=False
            )
            return _tree(parse_json(done.stdout))
        except subprocess.TimeoutExpired:
            reason = f"{_DESCRIBE_SECONDS} s"
        except (OSError, ValueError):
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "?"
        self.problems.append(f"{self.run.description_json.name}: {reason}")
        return {}

    @cached_property
    def grids(self) -> list[Path]:
        """The pictures of samples, in the order of their steps."""
        try:
            return sorted(self.run.samples.glob("step-*.png"))
        except OSError:
            return []

    def epoch_of(self, step: int) -> float | None:
        """The epoch that ends with `step`, by the evaluations."""
        known = [(p["step"], p["epoch"]) for p in self.curve if is_finite(p.get("step")) and p["step"] and p["epoch"]]
        return step * known[-1][1] / known[-1][0] if known else None

    def log_tail(self, most: int = 15) -> str:
        """The last lines that the run printed."""
        try:
            with open_regular(self.run.log) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
                text = file.read(20_000).decode(errors="replace")
        except (OSError, Damaged):
            return ""
        return "\n".join(printable_lines(text.strip())[-most:])


def all_of(runs: Iterable[Run]) -> list[RunData]:
    """The material of each run, in order; a folder that holds none is left out."""
    found = []
    for run in runs:
        try:
            found.append(RunData.of(run))
        except UserError:
            continue
    return found


def _tree(value: Any) -> _Tree:
    return value if isinstance(value, dict) else {}


def _points(found: Iterable[_Tree], key: str) -> Points:
    pairs = [(line.get("epoch"), line.get(key)) for line in found]
    return sorted((float(x), float(y)) for x, y in pairs if is_finite(x) and is_finite(y))
