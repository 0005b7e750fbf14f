"""Submitting to a real Slurm and looking at what became of it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.clusters.machine import wait_until
from tests.clusters.slurm import Slurm

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE"}


class Jobs:
    """Jobs of one test on one cluster, whose files lie in `folder`."""

    def __init__(self, slurm: Slurm, folder: Path):
        self.slurm, self.folder = slurm, folder

    def submit(self, command: str, *options: str) -> str:
        words = ["sbatch", "--parsable", "--output=%j.txt", *options, f"--wrap={command}"]
        return self.slurm.as_user(words, cwd=self.folder, check=True).stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """`scontrol show job` as pairs: the only source of states without accounting."""
        text = self.slurm.as_user(["scontrol", "show", "job", job]).stdout
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def wait(self, job: str, *states: str, seconds: float = 120) -> dict[str, str]:
        wanted = set(states) or ENDED
        wait_until(lambda: self.show(job).get("JobState") in wanted, seconds, f"{wanted} of job {job}", pause=0.5)
        return self.show(job)

    def sacct(self, job: str, *fields: str) -> list[str]:
        """One line of fields, separated by |, for each of a job's runs."""
        words = ["sacct", "-n", "-P", "-X", "-D", "-j", job, f"--format={','.join(fields)}"]
        return self.slurm.as_user(words, check=True).stdout.split("\n")[:-1]

    def output(self, job: str) -> str:
        file = self.folder / f"{job}.txt"
        return file.read_text() if file.exists() else ""
