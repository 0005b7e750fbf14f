"""submitit's executors, with the script and the command line of ours in the place of theirs.

submitit hands over, reads the job's id and keeps the script under it; nothing of ours is pickled.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor
from submitit_oar.oar import OarExecutor

from ganhpc.core.scheduler_environment import for_commands
from ganhpc.launch.schedulers.base import PreparedJob, Refused


class _Ours:
    """What both executors override: the text of the script, and the words of the command."""

    prepared: PreparedJob
    seconds: float

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        del command, uid
        # submitit writes it in the locale's encoding, which may lack a letter of a setup line.
        return self.prepared.script.encode("ascii", "backslashreplace").decode()

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        del submission_file_path
        # submitit waits for ever; a server that hangs must not hang its user.
        words = ["timeout", "--kill-after=5", f"{self.seconds:g}", *self.prepared.argv]
        # submitit hands on all of its own environment, and Slurm that to the job.
        clean = for_commands()
        out = [word for name in os.environ if name not in clean for word in ("-u", name)]
        sets = [f"{name}={value}" for name, value in clean.items() if os.environ.get(name) != value]
        # From a plain folder: the one in which the command was typed may be gone, or have a name that the scheduler stumbles over.
        return ["sh", "-c", 'cd / && PWD=/ exec "$@"', "sh", "env", *out, *sets, *words]

    def send(self) -> str:
        """Submit; returns the job's id. Raises Refused."""
        path = self.prepared.script_path
        try:
            with redirect_stderr(StringIO()):  # submitit prints what the command said; our sentence says it
                return str(self._submit_command("").job_id)  # type: ignore[attr-defined]
        except (FailedJobError, FailedSubmissionError) as error:
            raise _refused(error, self.seconds) from None
        finally:
            for left in path.parent.glob(".submission_file_*"):
                left.unlink(missing_ok=True)


def _refused(error: Exception, seconds: float) -> Refused:
    """What went wrong: the command's words, or that it gave none in time."""
    cause = error.__cause__
    if not isinstance(cause, subprocess.CalledProcessError):  # it said yes, and no number of a job
        return Refused(f"its answer makes no sense ({_first_line(error)})", unsure=True)
    if cause.returncode in (124, 137):  # of timeout(1)
        return Refused(f"no answer in {seconds:g} s", unsure=True)
    return Refused(f"{cause.output or ''}\n{cause.stderr or ''}", cause.returncode)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


class _OurSlurm(_Ours, SlurmExecutor):
    """submitit's Slurm executor."""

    @classmethod
    def affinity(cls) -> int:
        """Submitting takes no srun on this machine, without which submitit would refuse."""
        return 2

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        # submitit takes the first "job N" of all that is printed, a site's greeting included.
        text = string if isinstance(string, str) else string.decode()
        found = re.findall(r"Submitted batch job (\d+)", text)
        # A wrapper of the site, or --parsable in one, prints the number alone, or the number and the cluster.
        found = found or re.findall(r"^\s*(\d+)(?:;[\w.-]+)?\s*$", text, re.MULTILINE)
        if len(set(found)) != 1:
            raise FailedSubmissionError(text.strip()[-200:] or "sbatch printed nothing")
        return str(found[0])


class _OurOar(_Ours, OarExecutor):
    """submitit_oar's executor. Its own way of making the argv splits on blanks, so `-r "date time"` breaks."""


def submit_slurm(prepared: PreparedJob, seconds: float) -> str:
    """Submit through sbatch. Raises Refused."""
    executor = _OurSlurm(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    try:
        return executor.send()
    except Refused as refused:
        words = str(refused) if refused.unsure else _last_line(str(refused), "sbatch: error:")
        raise Refused(words, refused.code, unsure=refused.unsure) from None


def submit_oar(prepared: PreparedJob, seconds: float) -> str:
    """Submit through oarsub. Raises Refused."""
    executor = _OurOar(prepared.script_path.parent)
    executor.prepared, executor.seconds = prepared, seconds
    return executor.send()


def _last_line(text: str, mark: str) -> str:
    """The last line of `text` with `mark`, without it; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if mark in line]
    return re.sub(rf".*{re.escape(mark)}\s*", "", (marked or lines or ["no reason given"])[-1])
