"""Processes of this machine by their numbers, also those that /proc hides from other users (hidepid)."""

from __future__ import annotations

import os
from pathlib import Path

HIDDEN = "hidden"
"""Birth of a process that lives, as far as this user may know."""


def exists(pid: int) -> bool:
    """True if a process has the number, whoever's it is and whether or not /proc shows it."""
    if pid <= 0:  # to signal these means a group, or everybody
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def born(pid: int) -> str | None:
    """When the process began, in ticks since the machine's start; HIDDEN where it is not shown, None where there is none, or only its remains."""
    try:
        # A process may call itself anything: its name there is bytes of any encoding.
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return HIDDEN if exists(pid) else None
    return None if len(stat) < 20 or stat[0] == "Z" else stat[19]
