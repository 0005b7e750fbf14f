"""On real schedulers: a job that was killed leaves nothing that the next trainer obeys, and ended jobs count against the day quota."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine
from tests.clusters.machine import wait_until
from tests.clusters.user import SMALL, User, read

pytestmark = pytest.mark.cluster

QUOTA = """
working_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
day_start = "00:00"
day_end = "23:59"
day_quota = "2m"
cores = 8
quota_free_job = "1s"
min_slot = "1s"
gap = "2s"
"""


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    where = request.param
    made = User(where, request.getfixturevalue(f"{where}_cluster"), checkout, f"owner {where}")
    yield made
    made.close()


def end(user: User, job: str) -> None:
    """End the job without a warning to anybody in it."""
    done: subprocess.CompletedProcess[str]
    command = ["scancel", "--signal=KILL", "--full", job] if user.where == "slurm" else ["oardel", job]
    done = user.cluster.as_user(command)
    assert done.returncode == 0, done.stderr


def test_a_run_whose_job_was_killed_goes_on_here_under_the_bound_of_nobody(user: User) -> None:
    run = user.launch("--time", "20s", policy="free")
    user.freeze(run)
    told = read(run / "deadline.json")
    assert told["last"] is True and told["owner"].startswith(f"{user.where} job ")
    (job,) = user.jobs(run)
    end(user, job["job_id"])
    user.wait(run, ("resumable", "cancelled"))
    old = {**told, "end": 1000.0}
    (run / "deadline.json").write_text(json.dumps(old))
    done = user.run("resume", str(run), "--on", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read(run / "result.json")["train_seconds"] > 15, "it had all of its time"


ENDED = """
import json, sys, time
from ganhpc.core.settings import load
from ganhpc.launch.schedulers.registry import named
here = named(sys.argv[1], load())
living = [job.id for job in here.queue()]
ended = {job.id: job.end - job.start for job in here.ended_since(time.time() - 12 * 3600) if job.id not in living}
print(json.dumps([living, ended]))
"""


def test_an_ended_job_counts_against_the_quota_of_its_day(user: User) -> None:
    zone = f"Etc/GMT{dt.datetime.now(dt.UTC).hour - 12:+d}"  # there it is past noon now; + is west in these names
    (user.folder / "quota.toml").write_text(f'time_zone = "{zone}"\n{QUOTA}')
    # What earlier clusters of this machine have run is no part of this day.
    (machine.home() / f".local/state/ganhpc/submitted-{user.where}.jsonl").unlink(missing_ok=True)
    run = user.launch("--time", "10s", policy="free")
    user.settles(run, "done")
    (job,) = read(run / "request.json")["jobs"]
    env = {"PYTHONPATH": str(user.checkout), "GANHPC_CONFIG": str(user.folder / "config.toml")}

    def told() -> tuple[list[str], dict[str, float]] | None:
        said = user.cluster.as_user([user.python, "-c", ENDED, user.where], env=env, cwd=user.folder)
        assert said.returncode == 0, said.stderr
        living, ended = json.loads(said.stdout)
        return (living, ended) if job["job_id"] in ended else None

    living, ended = wait_until(told, 180, "the end of the job as the scheduler tells it", pause=1)  # type: ignore[misc]
    assert 10 <= ended[job["job_id"]] < 60, "what it took, and not its walltime"
    words = ("--time", "2m", "--seed", "5", "--on", user.where, "--policy", "quota.toml", "--dry-run", "--json")
    planned = user.run(*SMALL, *words)
    assert planned.returncode == 0, planned.stderr
    slots = json.loads(planned.stdout)["slots"]
    assert "T23:59:00" in slots[-1]["start"], (
        "of the day's two minutes not all are left, so the rest begins where the day ends"
    )
    today = sum(seconds_of(slot) for slot in slots[:-1])
    left = 120 - sum(ended.values())  # other tests' jobs of this user count too
    assert today <= max(0, left + 1)
    assert living or left < 62 or today >= left - 2, "and no more is taken for used"


def seconds_of(slot: dict[str, str]) -> float:
    return (dt.datetime.fromisoformat(slot["end"]) - dt.datetime.fromisoformat(slot["start"])).total_seconds()
