"""Parameters and operations of a program's network, counted once for a run by a process of its own (--measure)."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.program import descendants, environment, outcome
from ganhpc.program.environment import Place
from ganhpc.runs import last_words
from ganhpc.runs.run_folder import Run


def measure(run: Run, experiment: Any, mark: str) -> None:
    """Have the network counted, where that is asked for and not done yet. `mark`: of the segment's processes.

    Raises UserError where it is over its budget, or the counting fails.
    """
    target = run.folder.absolute() / outcome.MEASURED
    if experiment.measure is None or target.exists():
        return
    words = [sys.executable, "-m", "ganhpc.train.describe.measure_program", experiment.measure]
    words += [str(target), str(experiment.budget.budget_params or 0)]
    env = environment.variables(run, 0, experiment.seed, math.inf, Place(), os.environ)
    ear = last_words.Listener()
    try:
        env |= ear.environment() | {descendants.MARK: mark}
        done = subprocess.run(words, cwd=experiment.folder or None, env=env, stdin=subprocess.DEVNULL, check=False)
    finally:
        said = ear.close()
    if done.returncode:
        failed = f"--measure {experiment.measure} failed (exit code {done.returncode}); its words are above."
        raise UserError(said.reason if said else failed)
