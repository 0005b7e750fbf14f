"""Programs of users in segments that keep the rules: their node side, and what they may import: `from ganhpc.program import figures`.

`figures(step=100, loss=0.3, accuracy=0.91)` tells `status`, `results` and reports how far a program is; without `launch.py` it does nothing.
This file needs the standard library alone and may be copied.

Side: compute. May import: core, datasets, runs; never torch.
"""

import contextlib
import json
import os


def figures(**values: object) -> None:
    """Add one line of named numbers (also of torch or NumPy) to the run's figures; `step` says where they belong. No error is raised."""
    path = os.environ.get("GANHPC_FIGURES")
    if path and os.environ.get("RANK", "0") == "0":
        # A tensor with several values raises what it likes: a line less is better than a training less.
        with contextlib.suppress(Exception):
            line = json.dumps({name: float(value) for name, value in values.items()})  # type: ignore[arg-type]
            # A fifo that nobody reads is not waited for.
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
            try:
                os.write(handle, f"{line}\n".encode())
            finally:
                os.close(handle)
