"""The job inside which a command was typed: an interactive one, a notebook's, an editor's."""

from __future__ import annotations

import importlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Inside:
    """A job of `scheduler` (slurm or oar) on whose node this process runs."""

    scheduler: str
    id: str

    def end(self) -> float | None:
        """When the job ends, in seconds since 1970, as its scheduler says now; None where it doesn't say."""
        end: float | None = importlib.import_module(f"ganhpc.launch.schedulers.{self.scheduler}").job_end()
        return end


def inside() -> Inside | None:
    """The job, or None on any other machine: `salloc` and `oarsub -C` set a job's variables on the frontend too."""
    if (job := os.environ.get("SLURM_JOB_ID", "")).isdigit() and os.environ.get("SLURMD_NODENAME"):
        return Inside("slurm", job)
    if (job := os.environ.get("OAR_JOB_ID", "")).isdigit() and _is_one_of(os.environ.get("OAR_NODEFILE", "")):
        return Inside("oar", job)
    return None


def _is_one_of(nodes: str) -> bool:
    """Whether this machine is named in the file `nodes`."""
    try:
        names = set(Path(nodes).read_text().split())
    except (OSError, ValueError):
        return False
    own = {socket.gethostname(), socket.getfqdn(), "localhost"}
    short = {each.partition(".")[0] for each in own}
    return any(name.partition(".")[0] in short for name in names) or any(map(_is_this_machine, names))


def _is_this_machine(name: str) -> bool:
    """Whether an address of `name` is this machine's own: a node may have other names than the one that it says of itself."""
    try:
        addresses = {(family, address[0]) for family, _, _, _, address in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, str(address)) for family, address in addresses)


def _can_bind(family: int, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
