"""Writing status.json, by the trainer: without torch, since a stop may come before it is loaded."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from ganhpc.core.files import write_json
from ganhpc.runs import file_owner
from ganhpc.runs.run_folder import Run, State


def write_status(run: Run, state: State, **figures: Any) -> None:
    """Write status.json: the state, the figures, who writes and when."""
    who = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.time(),
        "launch": os.environ.get("GANHPC_LAUNCH", ""),
        "owner": file_owner.mine(),
    }
    # Not durable: it is written every second, and after a power cut the checkpoint tells the truth.
    write_json(run.status_json, {"state": state.value, **figures, **who}, durable=False)
