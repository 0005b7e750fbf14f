"""A user of a cluster: someone with a checkout, a folder of their own and `python launch.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clusters import machine
from tests.clusters.machine import wait_until
from tests.clusters.oar import Oar
from tests.clusters.paced import STEP_SECONDS
from tests.clusters.slurm import Slurm

SYNTHETIC = ("--data", "synthetic", "--train-images", "200", "--device", "cpu")
SMALL = ("paced", *SYNTHETIC)
"""A training in steps that sleep: it lasts, and leaves the processor to the others (tests/clusters/paced)."""
ENDLESS = ("--epochs", "3000")
"""A second each at least, so longer than any test; and short enough for a resumed run to be a dozen jobs, not hundreds."""
CIFAR = ("cifar", "--preset", "course", *SYNTHETIC)
POLICIES = {
    # Jobs of one minute, one at a time.
    "minute": 'max_job = "1m"\nmax_jobs = 1\ngap = "2s"\nmin_slot = "10s"\n',
    # Jobs of five minutes, as many as one likes.
    "free": 'max_job = "5m"\ngap = "2s"\nmin_slot = "10s"\n',
    # Jobs of half an hour, one at a time.
    "alone": 'max_job = "30m"\nmax_jobs = 1\ngap = "2s"\nmin_slot = "10s"\n',
}
# The same arithmetic in every job, whatever the cores; and ten steps a second at most.
SETTINGS = f'setup = ["export OMP_NUM_THREADS=1", "export {STEP_SECONDS}=0.1"]\n'
RESOURCES = {"oar": 'resources = "/host=1/core=1"\n', "slurm": ""}
"""A core for each, so that the jobs of several tests run side by side: on OAR a job has a whole node otherwise."""
PAST = ("done", "crashed", "refused", "cancelled", "lost", "resumable")
AT_REST = 30
"""Looks, a second or more apart: between two jobs of a chain, and behind a job that has just ended, there is a moment without a job."""
BEGUN = ("--from", "2000-01-01T00:00:00", "--until", "2099-01-01T00:00:00")
"""Options of a night that has begun and that the hour of the test does not end: just before nine, no job fits into the usual one."""

PATIENCE = 420.0
"""How long anything may take that a scheduler and a training do at once where nobody is in their way; a busy machine takes minutes."""


def gone(user: User) -> Path:
    """A Python that is found good where jobs are submitted, and that no node can start."""
    path = user.folder / "gone"
    lines = ("#!/bin/sh", f'[ "$1" != -c ] || exec {user.python} "$@"', 'echo "$0: not on this node" >&2', "exit 127")
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


class User:
    """See the module. `where`: oar or slurm."""

    def __init__(self, where: str, cluster: Oar | Slurm, checkout: Path, name: str):
        self.where, self.cluster, self.checkout = where, cluster, checkout
        self.folder = machine.home() / name
        machine.remove(self.folder)
        self.folder.mkdir()
        for policy, text in POLICIES.items():
            (self.folder / f"{policy}.toml").write_text(text)
        (self.folder / "config.toml").write_text(SETTINGS + RESOURCES.get(where, ""))
        machine.give(self.folder)
        self.python = machine.readable_python("torch")

    def run(
        self, *words: str, timeout: float = 300, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`python launch.py words...` in the user's folder."""
        own = {"GANHPC_CONFIG": str(self.folder / "config.toml"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        command = [self.python, self.checkout / "launch.py", *words]
        return self.cluster.as_user(command, env={**own, **(env or {})}, cwd=self.folder, timeout=timeout)

    def launch(self, *words: str, policy: str = "alone", job: Sequence[str] = SMALL) -> Path:
        """Submit a small training; returns its folder."""
        done = self.run(*job, *words, "--on", self.where, "--policy", f"{policy}.toml", "--json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        tree = json.loads(done.stdout)
        assert tree["sent"], tree
        return self.folder / "runs" / job[0] / tree["slots"][0]["run"]

    def see(self, run: Path) -> dict[str, Any]:
        """What `status --json` says of a run."""
        done = self.run("status", str(run), "--json")
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        assert not tree["trouble"], tree
        return dict(tree["runs"][0])

    def wait(self, run: Path, states: Sequence[str], seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until the run is in one of the states; returns what status says then.

        Raises ClusterError, with the run's reason and the end of its log, after `seconds`, or as soon as it has stayed
        in a state of the past, without a job that could change it, for AT_REST looks in a row.
        """
        seen: dict[str, Any] = {}
        at_rest = 0

        def there() -> bool:
            nonlocal at_rest
            if isinstance(self.cluster, Oar):
                self.cluster.nudge()
            seen.update(self.see(run))
            at_rest = at_rest + 1 if seen["state"] in PAST and not seen["jobs"] else 0
            return seen["state"] in states or at_rest >= AT_REST

        try:
            wait_until(there, seconds, f"{run.name} is {' or '.join(states)}", pause=1)
        except machine.ClusterError as error:
            raise machine.ClusterError(f"{error}: {self._told(run, seen)}") from None
        if seen["state"] not in states:
            raise machine.ClusterError(f"{run.name} will not be {' or '.join(states)}: {self._told(run, seen)}")
        return seen

    def _told(self, run: Path, seen: dict[str, Any]) -> str:
        """State, reason, jobs and end of the log of a run, for the message of a test that fails."""
        log = run / "log.txt"
        end = log.read_text(errors="replace")[-3000:] if log.is_file() else "no log"
        return f"{seen.get('state')}, {seen.get('reason')}; jobs: {seen.get('jobs')}\n{end}"

    def settles(self, run: Path, *states: str) -> dict[str, Any]:
        """Wait until the run is in one of the states and no job of it is left; a scheduler ends a job a little after its command."""

        def there() -> dict[str, Any] | None:
            said = self.wait(run, states)
            return said if not said["jobs"] else None

        found = wait_until(there, PATIENCE, f"the end of the jobs of {run.name}", pause=1)
        assert isinstance(found, dict)
        return found

    def trains(self, run: Path, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until the run has a checkpoint and goes on; returns its status file."""

        def there() -> dict[str, Any] | None:
            if isinstance(self.cluster, Oar):
                self.cluster.nudge()
            status = read(run / "status.json")
            goes_on = status.get("state") == "running" and "step" in status  # of one that starts there is no step yet
            return status if goes_on and any(run.glob("checkpoints/step-*.json")) else None

        found = wait_until(there, seconds, f"{run.name} trains", pause=0.3)
        assert isinstance(found, dict)
        return found

    def freeze(self, run: Path) -> None:
        """Stop the trainer as if its machine hung: it neither saves nor ends by itself."""
        os.kill(self.trains(run)["pid"], signal.SIGSTOP)

    def jobs(self, run: Path) -> list[dict[str, Any]]:
        """The run's jobs, as its record has them."""
        return list(read(run / "request.json")["jobs"])

    def close(self) -> None:
        """Take every job back, and the folder away."""
        self.run("cancel", "--all")
        machine.remove(self.folder)


def read(path: Path) -> dict[str, Any]:
    """The object in a file; {} while there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def fifo_for_log(run: Path) -> None:
    """Replace a run's log by a fifo while its job waits, or runs: opening one to write waits for a reader."""
    (run / "log.txt").unlink()
    os.mkfifo(run / "log.txt")
    machine.give(run / "log.txt")
