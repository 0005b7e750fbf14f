"""Submission through oarsub by submitit_oar's executor. Imported when a job is submitted: submitit takes its time."""

from __future__ import annotations

import re

from submitit.core.utils import FailedSubmissionError
from submitit_oar.oar import OarExecutor

from ganhpc.launch.schedulers.base import PreparedJob
from ganhpc.launch.schedulers.submitit_bridge import OwnScript


class _Executor(OwnScript, OarExecutor):
    """submitit_oar's executor. Its own way of making the argv splits on blanks, so `-r "date time"` breaks."""

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        # submitit_oar takes the first number of all that is printed, a site's greeting included. Of several jobs, which a rule of the site
        # may have made, it is the first.
        text = string if isinstance(string, str) else string.decode(errors="replace")
        found = re.findall(r"^\s*OAR_JOB_ID\s*=\s*(\d+)\s*$", text, re.MULTILINE) or re.findall(
            r"OAR_JOB_ID=(\d+)", text
        )
        if not found:
            raise FailedSubmissionError(text.strip()[-200:] or "oarsub printed nothing")
        return str(found[0])


def submit(prepared: PreparedJob, seconds: float) -> str:
    """Submit through oarsub. Raises Refused."""
    executor = _Executor(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    return executor.send()
