"""Submission through sbatch by submitit's executor. Imported when a job is submitted: submitit takes its time."""

from __future__ import annotations

import re

from submitit.core.utils import FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from ganhpc.launch.schedulers.base import PreparedJob, Refused
from ganhpc.launch.schedulers.submitit_bridge import OwnScript

_UNCLEAR = re.compile(
    r"timed out|Zero Bytes were transmitted|Unexpected message received|(receive|shutdown) failure|Insane message length|longer than data received",
    re.I,
)
"""Words of a connection that broke while the server had the request: it may have taken the job."""
_TAKEN = re.compile(r"^Submitted batch job \d+", re.MULTILINE)
"""sbatch's word for a job that it has handed over, whatever a wrapper of the site makes of it."""


class _Executor(OwnScript, SlurmExecutor):
    """submitit's Slurm executor."""

    @classmethod
    def affinity(cls) -> int:
        """Submitting takes no srun on this machine, without which submitit would refuse."""
        return 2

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        # submitit takes the first "job N" of all that is printed, a site's greeting included.
        text = string if isinstance(string, str) else string.decode(errors="replace")
        found = re.findall(r"Submitted batch job (\d+)", text)
        # A wrapper of the site, or --parsable in one, prints the number alone, or the number and the cluster.
        found = found or re.findall(r"^\s*(\d+)(?:;[\w.-]+)?\s*$", text, re.MULTILINE)
        if len(set(found)) != 1:
            raise FailedSubmissionError(text.strip()[-200:] or "sbatch printed nothing")
        return str(found[0])


def submit(prepared: PreparedJob, seconds: float) -> str:
    """Submit through sbatch. Raises Refused."""
    executor = _Executor(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    try:
        return executor.send()
    except Refused as refused:
        words = str(refused) if refused.unsure else _last_line(str(refused), "sbatch: error:")
        taken = _TAKEN.search(str(refused))
        unsure = refused.unsure or bool(taken) or bool(_UNCLEAR.search(words))
        raise Refused(f"{taken[0]}, and then {words}" if taken else words, refused.code, unsure=unsure) from None


def _last_line(text: str, mark: str) -> str:
    """The last line of `text` with `mark`, without it; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if mark in line]
    return re.sub(rf".*{re.escape(mark)}\s*", "", (marked or lines or ["no reason given"])[-1])
