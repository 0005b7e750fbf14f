"""The job inside which a command was typed: an interactive one, a notebook's, an editor's."""

from __future__ import annotations

from typing import NamedTuple

from ganhpc.launch.schedulers import registry


class Inside(NamedTuple):
    """A job of `scheduler`, a cluster's, on whose node this process runs."""

    scheduler: str
    id: str

    def end(self) -> float | None:
        """When the job ends, in seconds since 1970, as its scheduler says now; None where it doesn't say."""
        return registry.node_side(self.scheduler).job_end()


def inside() -> Inside | None:
    """The job, or None on any other machine: a job's variables may be set on the frontend too."""
    for name in registry.CLUSTERS:
        if job := registry.node_side(name).enclosing_job():
            return Inside(name, job)
    return None
