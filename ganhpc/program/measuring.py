"""Parameters and operations of a program's network, counted once for a run by a process of its own (--measure)."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.program import ending, environment, outcome
from ganhpc.program.environment import Place
from ganhpc.program.processes import Processes
from ganhpc.runs import last_words
from ganhpc.runs.run_folder import Run

_LOOK_SECONDS = 0.5
_LEAST_SECONDS = 10.0
"""Seconds before the end of its job at which the counting is ended."""


def measure(
    run: Run, experiment: Any, mark: str, guardian: int, *, left: Callable[[], float], asked: Callable[[], object]
) -> None:
    """Have the network counted, where that is needed and not done yet; a stop request ends it.

    Args:
        run: the run, whose log has what the user's function prints.
        experiment: its definition.
        mark: the word in the environment by which the segment's processes are known.
        guardian: the process that ends them where this one is killed.
        left: the seconds to the end of the job.
        asked: something true once the segment is to stop; called twice a second.

    Raises UserError where the network is over its budget, or the counting fails, or does not end before its job.
    """
    target = run.folder.absolute() / outcome.MEASURED
    if experiment.measure is None or target.exists():
        return
    words = [sys.executable, "-m", "ganhpc.train.describe.measure_program", experiment.measure]
    words += [str(target), str(experiment.budget.budget_params or 0)]
    env = environment.variables(run, 0, experiment.seed, math.inf, Place(), os.environ)
    ear = last_words.Listener()
    late = False
    try:
        processes = Processes(
            words,
            {**env, **ear.environment()},
            experiment.folder,
            run.log,
            Place(),
            mark=mark,
            guardian=guardian,
            torchrun=False,
            resumable=frozenset(),
        )
        try:
            while processes.running(asked=False) and not asked() and not late:
                late = left() < _LEAST_SECONDS
                time.sleep(_LOOK_SECONDS)
        finally:
            code = processes.end()
    finally:
        said = ear.close()
    if late and code:
        raise UserError(
            f"--measure {experiment.measure} did not end before its job: let it return a network, and not train one."
        )
    if (code or not target.exists()) and not asked():
        # A function that ends its process has returned no network, and nothing was held to the budget.
        failed = f"--measure {experiment.measure} {ending.code_in_words(code)} before the network was counted"
        way = "let it return (network, example input), and end nothing"
        raise UserError(said.reason if said else f"{failed}; the run's log has its words: {way}.")
