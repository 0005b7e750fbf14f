"""submitit's executors, with the project's own script and command line instead of theirs.

submitit hands over, reads the job's id and keeps the script under it; nothing of ours is pickled. slurm_submit.py and oar_submit.py have
the executor of their scheduler.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError

from ganhpc.core.scheduler_environment import for_commands
from ganhpc.launch.schedulers.base import PreparedJob, Refused


class OwnScript:
    """Overrides of an executor: the text of the script, and the words of the command."""

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
        return ["sh", "-c", 'command cd / && PWD=/ exec "$@"', "sh", "env", *out, *sets, *words]

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
    """The refusal: the command's words, or that it gave none in time."""
    cause = error.__cause__
    if not isinstance(cause, subprocess.CalledProcessError):  # it said yes, and no number of a job
        return Refused(f"its answer makes no sense ({_first_line(error)})", unsure=True)
    if cause.returncode in (124, 137):  # of timeout(1)
        return Refused(f"no answer in {seconds:g} s", unsure=True)
    return Refused(f"{cause.output or ''}\n{cause.stderr or ''}", cause.returncode)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
