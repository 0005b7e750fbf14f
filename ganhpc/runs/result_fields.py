"""Fields that result.json has of every run, whether a trainer or a user's program made it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run, State

OF_PROGRAMS = frozenset(
    {
        "experiment",
        "variant",
        "run",
        "state",
        "preset",
        "seed",
        "signature",
        "group",
        "data",
        "headline",
        "better",
        "budget_params",
        "train_seconds",
        "budget_seconds",
        "budget_used",
        "epochs",
        "steps",
        "ended_by",
        "segments",
        "processes",
        "device",
        "python",
        "ganhpc",
        "finished",
    }
)
"""Fields that the result of a user's program has, whatever the program says under these names."""


def identity(run: Run, experiment: Experiment) -> dict[str, Any]:
    """The names and signatures by which tables know a finished run: the signature is that which it was begun with, in a version of then."""
    recorded = ""
    with suppress(UserError):
        recorded = run.recorded_signature()
    return {
        "experiment": experiment.NAME,
        "variant": experiment.variant,
        "run": run.name,
        "state": State.DONE.value,
        "preset": experiment.preset,
        "seed": experiment.seed,
        "signature": recorded or experiment.signature,
        "group": experiment.group,
    }


def processor() -> str:
    """The processor's name, with the number of cores that this process may run on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.machine()
    return f"{model}, {counted(len(os.sched_getaffinity(0)), 'core')}"
