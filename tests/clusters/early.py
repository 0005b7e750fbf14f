"""What takes minutes by its nature (walltimes, edges, OAR's 60 s): launched early in a session, looked at last."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from tests.clusters.oar import Oar
from tests.clusters.slurm import Slurm
from tests.clusters.user import ENDLESS, SMALL, User


class Hung:
    """A training that stands still until its job is killed at its walltime, which is a minute."""

    def __init__(self, cluster: Oar | Slurm, checkout: Path):
        where = "oar" if isinstance(cluster, Oar) else "slurm"
        self.user = User(where, cluster, checkout, f"hung-{where}")
        (self.user.folder / "once.toml").write_text('max_job = "1m"\ngap = "2s"\nmin_slot = "10s"\n')
        self.run = self.user.launch(*ENDLESS, "--segments", "1", policy="once")
        self.user.freeze(self.run)


class Again:
    """A training of unknown length, which OAR is to send again.

    Its job is longer than a session of tests: one that ends by itself every few minutes ends the chain where a busy machine saves late.
    """

    def __init__(self, cluster: Oar, checkout: Path):
        self.user = User("oar", cluster, checkout, "again")
        (self.user.folder / "long.toml").write_text('max_job = "2h"\ngap = "2s"\nmin_slot = "10s"\n')
        self.run = self.user.launch("--epochs", "20000", policy="long")
        self.user.trains(self.run)


class Held:
    """Jobs before and behind an edge three minutes from now, without reservations. They mind no other jobs of the test user, of
    which there are many at that time.
    """

    def __init__(self, cluster: Oar, checkout: Path):
        self.user = User("oar", cluster, checkout, "held")
        self.tree = plan(self.user, "--time", "4m", policy=edge(self.user, 3, max_reservations=0))


def edge(user: User, minutes: int, job: str = "2m", **rules: object) -> str:
    """A policy with an edge so many minutes from now; returns its name. It lets jobs run beside those of other tests."""
    there = dt.datetime.now() + dt.timedelta(minutes=minutes)
    lines = [
        f'edges = ["{there:%H:%M}"]', 'edge_days = "every"', 'end_before_edge = "60s"', 'start_after_edge = "60s"',
        f'max_job = "{job}"', 'gap = "61s"', 'min_slot = "30s"', *(f"{k} = {v}" for k, v in rules.items()),
    ]  # fmt: skip
    (user.folder / "edge.toml").write_text("\n".join(lines) + "\n")
    return "edge"


def plan(user: User, *words: str, policy: str) -> dict[str, Any]:
    """Submit; returns what the launcher printed as JSON."""
    done = user.run(*SMALL, *words, "--on", "oar", "--policy", f"{policy}.toml", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
