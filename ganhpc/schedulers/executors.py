"""submitit's executors, with the script and the command line of ours in the place of theirs.

submitit hands over, reads the job's id and keeps the script under it; nothing of ours is pickled.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor
from submitit_oar.oar import OarExecutor

from ganhpc.files import atomic_open
from ganhpc.schedulers.base import Prepared, Refused


class _Ours:
    """What both executors override: the text of the script, and the words of the command."""

    prepared: Prepared
    seconds: float

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        del command, uid
        return self.prepared.script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        del submission_file_path
        # submitit waits for ever; a server that hangs must not hang its user.
        return ["timeout", "--kill-after=5", f"{self.seconds:.0f}", *self.prepared.argv]

    def send(self) -> str:
        """Submit; returns the job's id. Raises Refused."""
        path = self.prepared.script_path
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            file.write(self.prepared.script.encode())
        path.chmod(0o755)
        try:
            return str(self._submit_command("").job_id)  # type: ignore[attr-defined]
        except (FailedJobError, FailedSubmissionError) as error:
            cause = error.__cause__
            code = cause.returncode if isinstance(cause, subprocess.CalledProcessError) else None
            said = str(getattr(cause, "output", "") or "") + str(error)
            raise Refused(f"no answer in {self.seconds:.0f} s" if code in (124, 137) else said, code) from None


class OurSlurm(_Ours, SlurmExecutor):
    """submitit's Slurm executor."""


class OurOar(_Ours, OarExecutor):
    """submitit_oar's executor. Its own way of making the argv splits on blanks, so `-r "date time"` breaks."""


def submit_slurm(prepared: Prepared, seconds: float) -> str:
    """Submit through sbatch. Raises Refused."""
    executor = OurSlurm(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    try:
        return executor.send()
    except Refused as refused:
        raise Refused(_last_line(str(refused), "sbatch: error:"), refused.code) from None


def submit_oar(prepared: Prepared, seconds: float) -> str:
    """Submit through oarsub. Raises Refused."""
    executor = OurOar(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    return executor.send()


def _last_line(text: str, mark: str) -> str:
    """The last line of `text` with `mark`, without it; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if mark in line]
    return re.sub(rf".*{re.escape(mark)}\s*", "", (marked or lines or ["no reason given"])[-1])
