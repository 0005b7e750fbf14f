"""Writing status.json: without torch, since a stop may come before it is loaded."""

from __future__ import annotations

import os
import time
from typing import Any

from ganhpc.core.files import write_json
from ganhpc.runs import file_owner
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_protocol import LAUNCH, TAG


def write_status(run: Run, state: State, owner: str | None = None, **figures: Any) -> None:
    """Write status.json: the state, the figures, who writes and when. `owner`: of the trainer; None: this process is the trainer."""
    who = {
        "host": os.uname().nodename,
        "machine": file_owner.machine(),
        **run.folder_identity(),
        "pid": os.getpid(),
        "time": time.time(),
        "launch": os.environ.get(LAUNCH, ""),
        "owner": owner or file_owner.mine(),
        "tag": os.environ.get(TAG, ""),
    }
    # Not durable: it is written every second, and after a power cut the checkpoint tells the truth.
    write_json(run.status_json, {"state": state.value, **figures, **who}, durable=False)
