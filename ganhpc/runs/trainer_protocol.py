"""The agreement between a trainer and whoever starts it: exit codes, names in the environment, the bond of life. Never imports torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from ganhpc.core.scheduler_environment import OMP_TYPED

EXIT_RESUMABLE = 75
"""The trainer stopped with a checkpoint: the run can be resumed."""
STOPPING_SHARE = 0.25
"""Share of a program's segment that it may have for stopping, at most."""
EXIT_FAULT = 74
"""An error of a file system ended the training, and may pass: the run goes on from its last checkpoint when it is started again."""
DIE_WITH_PARENT = "GANHPC_DIE_WITH_PARENT"
"""Set where the trainer is to end with the process that started it."""
LAUNCH = "GANHPC_LAUNCH"
"""Names the launch that this trainer belongs to; status.json keeps it."""
TAG = "GANHPC_TAG"
"""Names the job that this trainer belongs to, as its entry in request.json does."""


def environment(environ: Mapping[str, str], *, one_machine: bool) -> dict[str, str]:
    """Variables that a trainer gets beside those of `environ`, its starter's; what the user has set stays. `one_machine`: all of its
    processes are on this machine.

    torch's C++ side is kept from warnings, such as of hosts whose names no server knows; on one machine gloo, too, would look the
    machine's name up. The OMP_NUM_THREADS that was typed is kept beside torchrun's own.
    """
    usual = {"TORCH_CPP_LOG_LEVEL": "ERROR"} | ({"GLOO_SOCKET_IFNAME": "lo"} if one_machine else {})
    typed = environ.get(OMP_TYPED, environ.get("OMP_NUM_THREADS", ""))
    return {
        **{key: value for key, value in usual.items() if key not in environ},
        OMP_TYPED: typed,
        DIE_WITH_PARENT: "1",
    }


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: a trainer doesn't outlive the launcher that watches it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def end_as(code: int) -> NoReturn:
    """End this process as the one did that it stood for: with the exit code, or by the signal -`code`."""
    if code < 0:
        with suppress(OSError, ValueError):  # SIGKILL and SIGSTOP have no handlers
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
