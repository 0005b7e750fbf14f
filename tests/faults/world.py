"""The place in which the commands of the campaign are typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from ganhpc.cli import main as cli
from ganhpc.launch.schedulers import local
from ganhpc.runs.run_folder import Run
from tests.clusters.fake_oar import FakeOar
from tests.faults import campaign
from tests.faults.campaign import Fault, Outcome


class World:
    """A place with everything that a command may touch, below `world`, and a fake OAR beside it that no fault reaches."""

    def __init__(self, place: Path) -> None:
        self.place, self.home = place, place / "world"
        self.home.mkdir(parents=True)
        self.runs = self.home / "runs"
        self.oar = FakeOar(place / "oar")
        (self.home / "free.toml").write_text('base = "student"\nedges = []\n')
        self.environ = {
            "XDG_STATE_HOME": str(self.home / "state"), "XDG_CACHE_HOME": str(self.home / "cache"), "XDG_CONFIG_HOME": str(self.home / "conf"),
            "GANHPC_CONFIG": "/dev/null", "GANHPC_RUNS": str(self.runs), "LOGNAME": "student", "COLUMNS": "150", "PWD": str(self.home),
            **self.oar.env,
        }  # fmt: skip

    def run(self, command: Callable[[World], object], fault: Fault | None = None) -> Outcome:
        return campaign.run(self.place, lambda: command(self), fault, self.environ)

    def all(self) -> list[Run]:
        return list(Run.all(self.runs)) if self.runs.is_dir() else []

    def queued(self) -> dict[str, str]:
        """The jobs of the fake OAR that wait or run: number -> name."""
        jobs = json.loads((self.place / "oar" / "state.json").read_text())["jobs"]
        alive = ("Waiting", "Running", "Hold", "toLaunch", "Launching", "Resuming", "Suspended")
        return {number: job["name"] for number, job in jobs.items() if job["state"] in alive}


def typed(*words: str) -> Callable[[World], object]:
    """`python launch.py WORDS`, in the world's folder; this machine's queue takes jobs and nobody runs them."""

    def command(world: World) -> object:
        import os

        os.chdir(world.home)
        sys.argv = ["launch.py", *words]
        with mock.patch.object(local, "_start_runner"):
            return cli.main()

    return command
