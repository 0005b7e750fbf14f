"""A fake OAR for quick tests: strict copies of oarsub, oarstat and oardel over a state in a folder.

    fake = FakeOar(tmp_path, now=datetime(2026, 11, 23, 17, 30))
    subprocess.run([...], env=os.environ | fake.env)       # oarsub, oarstat, oardel are found first on PATH
    fake.advance(60); fake.run_job(1); fake.finish(2, exit_code=3)

Its words, return codes and quirks are OAR 2.5.9's as seen (test_fake_against_real.py holds the same conversations with
both); what it does not imitate ends with return code 99 and says so. Jobs don't run by themselves: `run_job` runs the
command of one, `finish` states how one has ended, and a job that nobody ends is killed at its walltime.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.clusters.fake_oar import simulate
from tests.clusters.fake_oar.state import VARIABLE, Job, duration, opened

BIN = Path(__file__).parent / "bin"


class FakeOar:
    """One fake cluster.

    now: the clock stands there until moved; None: the machine's time. user: who submits (root is refused). hosts,
    cores: its size, one GPU a core. reservations: how many may wait. late: seconds by which every reservation starts
    late. dialect: 2, or 3 for OAR 3's JSON keys and its refusal of postpone and deadline. job: the number before the
    first job's.
    """

    def __init__(self, folder: Path, now: datetime | None = None, **settings: Any):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {"user": "student", "hosts": 2, "cores": 4, "reservations": 2, "late": 0, "dialect": 2, "job": 0}
        if unknown := set(settings) - set(defaults):
            raise TypeError(f"unknown settings {sorted(unknown)}")
        clock = None if now is None else now.timestamp()
        all_settings = defaults | settings | {"clock": clock, "trouble": {}}
        data = {"settings": all_settings, "job": all_settings["job"], "jobs": {}}
        (folder / "state.json").write_text(json.dumps(data))

    @property
    def env(self) -> dict[str, str]:
        """The variables that make a program find the fake commands, and those their state."""
        # A real OAR that comes up beside the tests changes the machine's own settings.
        own = {"OARCONFFILE": str(self.folder / "oar.conf")}
        return {VARIABLE: str(self.folder), "PATH": f"{BIN}:{os.environ['PATH']}", **own}

    def run(self, cmd: Sequence[str | Path], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command with the fake ones on its PATH."""
        where = {} if cwd is None else {"PWD": str(cwd)}
        env = os.environ | self.env | where
        words = [str(word) for word in cmd]
        return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)

    def advance(self, seconds: float) -> None:
        """Move a clock that stands, and let happen what happens meanwhile."""
        with opened(self.folder) as state:
            state.data["settings"]["clock"] += seconds
            simulate.settle(state)

    def set_clock(self, now: datetime) -> None:
        """Make the clock stand at `now`."""
        with opened(self.folder) as state:
            state.data["settings"]["clock"] = now.timestamp()
            simulate.settle(state)

    def trouble(self, command: str, kind: str) -> None:
        """From now on `command` hangs ("hang"), prints noise first ("noise"), fails (any other text), or works ("")."""
        with opened(self.folder) as state:
            state.data["settings"]["trouble"][command] = kind

    def job(self, number: int) -> Job:
        """All that is known of a job, `signals` sent to it included."""
        with opened(self.folder) as state:
            simulate.settle(state)
            return state.jobs[str(number)]

    def finish(self, number: int, exit_code: int = 0, signal: int = 0, took: float = 1) -> None:
        """End a running job: its command has ended, `took` seconds after now (for a clock that stands)."""
        with opened(self.folder) as state:
            simulate.settle(state)
            job = state.jobs[str(number)]
            if job["state"] != "Running":
                raise ValueError(f"job {number} is {job['state']}, not Running")
            if state.data["settings"]["clock"] is not None:
                state.data["settings"]["clock"] += took
            simulate.finish(state, job, exit_code << 8 | signal, state.now)
            simulate.settle(state)

    def run_job(self, number: int, env: dict[str, str] | None = None, took: float = 1) -> int:
        """Run the command of a running job to its end as OAR's node does, and end it; returns the exit code."""
        job = self.job(number)
        nodes = self.folder / f"nodes-{number}"
        with opened(self.folder) as state:
            nodes.write_text("\n".join(simulate.hosts_of(state, job) * (job["size"] or 1)) + "\n")
        own = {
            "OAR_JOB_ID": str(number), "OAR_JOBID": str(number), "OAR_JOB_NAME": job["name"] or "",
            "OAR_NODEFILE": str(nodes), "OAR_NODE_FILE": str(nodes), "OAR_WORKDIR": job["directory"],
            "OAR_JOB_WALLTIME": duration(job["walltime"]), "OAR_JOB_WALLTIME_SECONDS": str(job["walltime"]),
            "PWD": job["directory"],
        }  # fmt: skip
        where = Path(job["directory"])
        with (
            (where / simulate.file_of(job, "stdout")).open("ab") as out,
            (where / simulate.file_of(job, "stderr")).open("ab") as err,
        ):
            shell = ["/bin/bash", "-c", job["command"]]
            done = subprocess.run(
                shell, cwd=where, env=os.environ | self.env | own | (env or {}), stdout=out, stderr=err
            )
        code = done.returncode
        self.finish(number, exit_code=max(code, 0), signal=max(-code, 0), took=took)
        return code
