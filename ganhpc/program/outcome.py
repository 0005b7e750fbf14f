"""The outcome of a program's run: result.json, one row of a table, and the curve of its figures."""

from __future__ import annotations

import platform
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ganhpc import __version__
from ganhpc.core.files import Damaged, read_json, write_json
from ganhpc.program.ledger import Ledger
from ganhpc.program.said_figures import SaidFigures, without_step
from ganhpc.runs import result_fields
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_files import is_count, is_text
from ganhpc.runs.run_folder import Run

MEASURED = "measured.json"
"""Parameters and operations of the program's network, as its own function gave it."""


def write(
    run: Run, experiment: Experiment, ledger: Ledger, said: SaidFigures, ended_by: str, processes: int
) -> dict[str, Any]:
    """Write evaluation.json and, last, result.json, whose existence means done. Raises StorageFault."""
    headline = said.headline(getattr(experiment, "headline", None))
    # A figure of the program's own hides none of the run's.
    figures = without_step(said.last)
    write_json(run.evaluation_json, {"curve": said.curve})
    result = {
        **figures,
        **result_fields.identity(run, experiment),
        "data": None,
        "headline": headline,
        "better": getattr(experiment, "better", "higher"),
        **_measured(run),
        "budget_params": experiment.budget.budget_params,
        "train_seconds": ledger.seconds,
        "budget_seconds": experiment.budget.time,
        "budget_used": ledger.seconds / experiment.budget.time if experiment.budget.time else None,
        "epochs": said.last.get("epoch"),
        "steps": int(said.last.get("step", ledger.changes)),
        "ended_by": ended_by,
        "segments": ledger.segments,
        "processes": processes,
        "device": result_fields.processor(),  # what else the program computes on is its own affair
        "python": platform.python_version(),
        "ganhpc": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(run.result_json, result)
    return result


def _measured(run: Run) -> dict[str, Any]:
    """Parameters, MACs and operations, where they were measured."""
    with suppress(Damaged):
        tree = read_json(run.folder / MEASURED) or {}
        counts = {name: tree[name] for name in ("params", "frozen_params", "macs", "ops") if is_count(tree.get(name))}
        return counts | ({"torch": tree["torch"]} if is_text(tree.get("torch")) else {})
    return {}
