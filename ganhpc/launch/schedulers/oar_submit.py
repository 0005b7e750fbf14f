"""Submission through oarsub by submitit_oar's executor. Imported when a job is submitted: submitit takes its time."""

from __future__ import annotations

from submitit_oar.oar import OarExecutor

from ganhpc.launch.schedulers.base import PreparedJob
from ganhpc.launch.schedulers.submitit_bridge import OwnScript


class _Executor(OwnScript, OarExecutor):
    """submitit_oar's executor. Its own way of making the argv splits on blanks, so `-r "date time"` breaks."""


def submit(prepared: PreparedJob, seconds: float) -> str:
    """Submit through oarsub. Raises Refused."""
    executor = _Executor(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    return executor.send()
