"""The agreement between a trainer and whoever starts it: exit codes, names in the environment, the bond of life. Never imports torch."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Mapping

EXIT_RESUMABLE = 75
"""The trainer stopped with a checkpoint: the run can be resumed."""
EXIT_FAULT = 74
"""An error of a file system ended the training, and may pass: the run goes on from its last checkpoint when it is started again."""
DIE_WITH_PARENT = "GANHPC_DIE_WITH_PARENT"
"""Set where the trainer is to end with the process that started it."""
LAUNCH = "GANHPC_LAUNCH"
"""Names the launch that this trainer belongs to; status.json keeps it."""
OMP_TYPED = "GANHPC_OMP_NUM_THREADS"
"""OMP_NUM_THREADS as the user set it (empty: not at all): torchrun sets it to 1 for its children where it is unset."""


_CPP_LOG = "TORCH_CPP_LOG_LEVEL"


def without_warnings(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep torch's C++ side from warnings, such as of hosts whose names no server knows; none where the user set a level."""
    return {} if _CPP_LOG in environ else {_CPP_LOG: "ERROR"}


def on_one_machine(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of trainers that are all on this machine: gloo, too, would look the machine's name up."""
    return {} if "GLOO_SOCKET_IFNAME" in environ else {"GLOO_SOCKET_IFNAME": "lo"}


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: a trainer doesn't outlive the launcher that watches it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
