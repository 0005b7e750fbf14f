"""An experiment for the tests of schedulers, added as a user would add one: a file for jobs/ and one for ganhpc/train/tasks/.

Its steps sleep, so that a training takes its time on any machine, and leaves the processor to others.
"""

from __future__ import annotations

import shutil
from pathlib import Path

STEP_SECONDS = "PACED_STEP_SECONDS"
"""The environment variable that says how long a step sleeps; without it none does."""


def add(checkout: Path) -> None:
    """Add the experiment `paced` to a checkout."""
    here = Path(__file__).parent
    shutil.copy(here / "job.py", checkout / "jobs" / "paced.py")
    shutil.copy(here / "task.py", checkout / "ganhpc" / "train" / "tasks" / "paced.py")
