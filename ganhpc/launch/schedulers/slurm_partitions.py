"""Slurm's partitions: the longest job that one allows, which the reason of a job behind others does not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ganhpc.launch.policy.policy import format_seconds

_HIDING = ("Dependency", "BeginTime", "None", "")
"""Reasons beside which Slurm does not say that a partition never starts the job."""


def hides(reason: str) -> bool:
    """True if a job that waits for this reason may be one that its partition never starts."""
    return reason.strip("()") in _HIDING


def never_starts(walltime: float, names: Sequence[str], told: str) -> str:
    """Why none of the partitions `names` starts a job of `walltime` seconds; empty where one may. `told`: the answer of `scontrol show partition`."""
    limits = {found[1]: found[2] for found in re.finditer(r"PartitionName=(\S+).*?\bMaxTime=(\S+)", told, re.DOTALL)}
    longest = [duration(limits.get(name, "")) for name in names]
    if not longest or any(limit is None or limit >= walltime for limit in longest):
        return ""
    most = max(limit for limit in longest if limit is not None)
    return (
        f"partition {', '.join(names)} allows jobs of {format_seconds(round(most))}, and it asks for {format_seconds(round(walltime))}: cancel it, and launch "
        "it under a policy of shorter jobs, or with another --queue"
    )


def duration(text: str) -> float | None:
    """Seconds of a time limit: 59:00, 1:00:00, 2-00:00:00; None where there is no limit."""
    if not (found := re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
