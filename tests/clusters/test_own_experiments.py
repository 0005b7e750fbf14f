"""Experiments in a user's own folder, with a task beside them, on real schedulers: the job's script hands the folder on."""

from __future__ import annotations

import json

import pytest

from tests.clusters import machine
from tests.clusters.user import SYNTHETIC, User, read
from tests.runs.test_own_experiments import good

pytestmark = pytest.mark.cluster

TASK = '''"""The classifier's own, with networks beside it."""
from ganhpc.train.tasks.classifier import build, networks
from . import mine_nets
assert mine_nets.HERE
'''


@pytest.mark.parametrize("where", ["slurm", "oar"])
def test_a_run_of_ones_own_experiment(request: pytest.FixtureRequest, where: str) -> None:
    user: User = request.getfixturevalue(f"{where}_user")
    folder = user.folder / "my $HOME jobs"
    good(folder, fields='TASK: ClassVar[str] = "mine_task"')
    (folder / "mine_task.py").write_text(TASK)
    (folder / "mine_nets.py").write_text("HERE = True\n")
    machine.give(user.folder)
    own = {"GANHPC_JOBS": str(folder)}
    words = ("mine", *SYNTHETIC, "--epochs", "1", "--batch-size", "20", "--on", where, "--policy", "none", "--json")
    done = user.run(*words, env=own)
    assert done.returncode == 0, done.stderr
    run = user.folder / "runs" / "mine" / json.loads(done.stdout)["slots"][0]["run"]
    user.wait(run, ("done",), 100)  # typed without the variable, as after a new login
    assert read(run / "result.json")["state"] == "done"
    refused = user.run("resume", run.name)
    assert "Traceback" not in refused.stderr
    listed = user.run("results", "--json")
    assert listed.returncode == 0 and run.name.rpartition("-")[0] in listed.stdout, listed.stderr
