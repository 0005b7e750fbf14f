"""Jobs that wait, are held, are given other walltimes, or make room for others, on the real schedulers."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

from tests.clusters import machine, oar
from tests.clusters.early import edge, plan
from tests.clusters.slurm import Slurm
from tests.clusters.user import ENDLESS, SMALL, User, read

pytestmark = pytest.mark.cluster
PATIENCE = 120.0
"""Seconds for whatever a scheduler does of itself, on a busy machine."""


def root(user: User, *words: str) -> str:
    """A command of the cluster's administrator."""
    env = {"PATH": f"{machine.user_env()['PATH']}:/usr/sbin:/sbin"} | getattr(user.cluster, "env", {})
    done = subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def why(user: User, run: Path, *wanted: str, seconds: float = PATIENCE) -> dict[str, Any]:
    """Wait until the run's first job waits for a reason with one of the words; returns the job as `status --json` has it."""
    seen: dict[str, Any] = {}

    def there() -> bool:
        if isinstance(user.cluster, oar.Oar):
            user.cluster.nudge()
        seen.update(user.see(run))
        return any(word in job["why"] for job in seen["jobs"][:1] for word in wanted)

    try:
        machine.wait_until(there, seconds, f"{wanted} of {run.name}", pause=1)
    except machine.ClusterError as error:
        raise machine.ClusterError(f"{error}: {seen.get('jobs')}") from None
    return dict(seen["jobs"][0])


def table(user: User, run: Path) -> str:
    """What `status` prints, on one line."""
    done = user.run("status", str(run), env={"COLUMNS": "400"})
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def no_start(user: User, run: Path, job: dict[str, Any]) -> None:
    """Neither form of `status` names a start, and the table has the reason."""
    assert job["start"] is None and job["end"] is None
    said = table(user, run)
    assert f"job {job['id']}, segment 1: waits: {job['why']}" in said, said
    assert "expected to start" not in said.partition("segment 2")[0]


# -- why a job waits ------------------------------------------------------------------------------------------------------


def test_a_job_for_drained_nodes_names_no_start(slurm_bare: Slurm, checkout: Path) -> None:
    """On the Slurm without long trainings: behind jobs of other tests that wait, too, its reason would be their priority."""
    user = User("slurm", slurm_bare, checkout, "drained")
    try:
        root(user, "scontrol", "update", "nodename=ALL", "state=drain", "reason=x")
        try:
            run = user.launch("--time", "10m", policy="free")
            no_start(user, run, why(user, run, "drained, down or reserved"))
        finally:
            root(user, "scontrol", "update", "nodename=ALL", "state=resume")
        user.trains(run)
    finally:
        user.close()


def test_a_held_job_says_who_holds_it(slurm_user: User) -> None:
    user = slurm_user
    root(user, "scontrol", "update", "nodename=ALL", "state=drain", "reason=x")
    try:
        run = user.launch("--time", "10m")
        (job,) = user.jobs(run)
        user.cluster.as_user(["scontrol", "hold", job["job_id"]], check=True)
    finally:
        root(user, "scontrol", "update", "nodename=ALL", "state=resume")
    no_start(user, run, why(user, run, "held by its user"))
    root(user, "scontrol", "release", job["job_id"])
    user.wait(run, ("running",))


def test_a_job_longer_than_its_partition_allows_names_no_start(slurm_user: User) -> None:
    user = slurm_user
    (user.folder / "hours.toml").write_text('max_job = "2h"\n')
    root(user, "scontrol", "create", "partition=short", "nodes=ALL", "maxtime=30")
    try:
        run = user.launch("--time", "1h", "--partition", "short", policy="hours")
        no_start(user, run, why(user, run, "more time than its partition allows"))
        user.run("cancel", str(run))
    finally:
        root(user, "scontrol", "delete", "partition=short")


def test_a_job_before_a_maintenance_is_not_promised_for_now(slurm_user: User) -> None:
    user = slurm_user
    root(
        user, "scontrol", "create", "reservation=care", "starttime=now+5minutes", "duration=60", "users=root",
        "nodes=ALL", "flags=maint,ignore_jobs",
    )  # fmt: skip
    try:
        run = user.launch("--time", "10m")
        job = why(user, run, "maintenance", "reserved", "drained")
        assert job["start"] is None or job["start"] > time.strftime("%Y-%m-%dT%H:%M", time.localtime(time.time() + 600))
    finally:
        root(user, "scontrol", "delete", "reservation=care")


@pytest.mark.slow  # behind the trainings of test_oar.py: OAR ends the jobs of nodes that are made absent
def test_a_held_job_of_oar_and_one_without_nodes_name_no_start(oar_user: User) -> None:
    user = oar_user
    for host in oar.HOSTS:
        root(user, "oarnodesetting", "-s", "Absent", "-h", host)
    try:
        run = user.launch("--time", "10m")
        no_start(user, run, why(user, run, "OAR names no start"))
        (job,) = user.jobs(run)
        user.cluster.as_user(["oarhold", job["job_id"]], check=True)
        no_start(user, run, why(user, run, "held: `oarresume`"))
    finally:
        for host in oar.HOSTS:
            root(user, "oarnodesetting", "-s", "Alive", "-h", host)
    user.cluster.nudge()  # type: ignore[union-attr]
    no_start(user, run, why(user, run, "held: `oarresume`"))
    user.cluster.as_user(["oarresume", job["job_id"]], check=True)
    user.wait(run, ("running",))


def test_a_reservation_that_waits_names_its_start(oar_user: User) -> None:
    user = oar_user
    tree = plan(user, "--time", "4m", policy=edge(user, 5, max_reservations=2))  # longer than what fits before the edge
    pinned = [slot for slot in tree["slots"] if slot["kind"] == "reservation"]
    assert pinned, tree["slots"]
    run = user.folder / "runs" / SMALL[0] / pinned[0]["run"]
    jobs = {job["segment"]: job for job in user.see(run)["jobs"]}
    for slot in pinned:
        job = jobs[slot["segment"]]
        assert "advance reservation" in job["why"]
        assert dt.datetime.fromisoformat(job["start"]) == dt.datetime.fromisoformat(slot["start"])


# -- walltimes that change ------------------------------------------------------------------------------------------------


def ends_at(run: Path, moment: float) -> None:
    """Wait until the trainer has heard of the job's new end."""
    machine.wait_until(
        lambda: abs((read(run / "deadline.json").get("end") or 0) - moment) < 2, 150, f"{moment} in {run}", pause=1
    )


def end_of(run: Path) -> float:
    return float(read(run / "deadline.json")["end"])


@pytest.mark.slow
def test_a_walltime_changed_by_the_site_reaches_the_trainer_within_the_rule(slurm_user: User, oar_user: User) -> None:
    """On both at once, since a node asks its scheduler once a minute: longer than the rule, then shorter; longer, then longer than the rule."""
    (oar_user.folder / "half.toml").write_text('max_job = "30m"\ngap = "2s"\nmin_slot = "10s"\n')
    on_slurm = slurm_user.launch("--time", "8m")  # the policy's longest job is one of half an hour
    on_oar = oar_user.launch("--time", "8m", policy="half")
    slurm_user.trains(on_slurm)
    oar_user.trains(on_oar)
    ((limited,), (walled,)) = slurm_user.jobs(on_slurm), oar_user.jobs(on_oar)
    start = float(squeue(slurm_user, limited["job_id"], "%S"))
    assert end_of(on_slurm) == start + limited["seconds"] // 60 * 60 < start + 1200
    before = end_of(on_oar)
    changes = (
        (("60", 1800), ("+0:10:00", 600)),
        (("15", 900), ("+1:00:00", 1800 - walled["seconds"])),
    )
    for (limit, seconds), (change, later) in changes:
        root(slurm_user, "scontrol", "update", f"jobid={limited['job_id']}", f"timelimit={limit}")
        done = oar_user.cluster.as_user(["oarwalltime", walled["job_id"], change])
        assert done.returncode == 0, done.stdout + done.stderr
        ends_at(on_slurm, start + seconds)
        ends_at(on_oar, before + later)
    assert slurm_user.see(on_slurm)["jobs"][0]["end"]


def squeue(user: User, job: str, field: str) -> str:
    words = ["squeue", "-h", "-j", job, "-o", field]
    return user.cluster.as_user(words, env={"SLURM_TIME_FORMAT": "%s"}).stdout.strip()


# -- room for others ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cancel", "requeue"])
@pytest.mark.slow
def test_a_preempted_job_of_slurm(slurm_user: User, mode: str) -> None:
    user = slurm_user
    root(user, "scontrol", "create", "partition=low", "nodes=ALL", f"preemptmode={mode}", "prioritytier=0")
    try:
        run = user.launch(*ENDLESS, "--partition", "low", "--nodes", "2", policy="free")
        step = user.trains(run)["step"]
        words = ["sbatch", "--parsable", "--output=/dev/null", "--exclusive", "--nodes=2", "--time=1", "--wrap=sleep 8"]
        user.cluster.as_user([*words, "--partition=main"], check=True)
        if mode == "cancel":
            seen = user.settles(run, "resumable")
            assert [job["ended"] for job in user.jobs(run)] == ["preempted"]
            assert "preempted" in seen["reason"]
            assert seen["next_command"].startswith("python launch.py resume ")
        else:
            machine.wait_until(
                lambda: "resumed at step" in (run / "log.txt").read_text(), PATIENCE, "it goes on", pause=1
            )
            assert user.trains(run)["step"] >= step
            assert len(user.jobs(run)) == 1
    finally:
        user.run("cancel", "--all")
        root(user, "scancel", "-u", machine.USER)
        machine.wait_until(lambda: not squeue_all(user), 60, "an empty queue", pause=1)
        root(user, "scontrol", "delete", "partition=low")


def squeue_all(user: User) -> str:
    return user.cluster.as_user(["squeue", "-h", "-p", "low"]).stdout.strip()


@pytest.mark.parametrize(("most", "event"), [("5m", "(metasched) requested a checkpoint"), ("3m", "BESTEFFORT_KILL")])
@pytest.mark.slow
def test_a_besteffort_job_of_oar_that_is_ended_for_another_was_preempted(oar_user: User, most: str, event: str) -> None:
    """OAR asks a job of five minutes, which has --checkpoint, to save; it kills a shorter one at once."""
    user = oar_user
    (user.folder / "lowly.toml").write_text(f'max_job = "{most}"\ngap = "2s"\nmin_slot = "10s"\n')
    run = user.launch(*ENDLESS, "--type", "besteffort", "--segments", "1", policy="lowly")
    user.trains(run)
    words = ["oarsub", "-l", "/nodes=2,walltime=0:1:0", "-O", "/dev/null", "-E", "/dev/null", "sleep 5"]
    user.cluster.as_user(words, check=True)
    seen = user.settles(run, "resumable")
    (job,) = user.jobs(run)
    said = user.cluster.as_user(["oarstat", "-e", "-j", job["job_id"]]).stdout
    assert event in said
    assert job["ended"] == "preempted", said
    assert "preempted" in seen["reason"]
    assert seen["next_command"].startswith("python launch.py resume ")


# -- chains that a limit has cut short --------------------------------------------------------------------------------------

LIMIT = """\
#!/bin/sh
# A site that takes {most} jobs at most from this folder's user: other tests' jobs may be in the queue too.
taken={folder}/taken
[ "$1" = --version ] && exec {real} "$@"
if [ "$(cat "$taken" 2>/dev/null | wc -l)" -ge {most} ]; then
    echo {words} >&2
    exit {code}
fi
{real} "$@" && echo one >> "$taken"
"""
QOS = "'sbatch: error: QOSMaxSubmitJobPerUserLimit' 'Batch job submission failed: Job violates accounting/QOS policy'"


def limited(user: User, command: str, most: int, words: str, code: int) -> dict[str, str]:
    """A folder with a `command` that refuses, first on the PATH."""
    folder = user.folder / "limit"
    folder.mkdir()
    real = subprocess.run(["which", command], capture_output=True, text=True, check=True).stdout.strip()
    (folder / command).write_text(LIMIT.format(most=most, folder=quote(str(folder)), words=words, code=code, real=real))
    (folder / command).chmod(0o755)
    machine.give(folder)
    return {"PATH": f"{folder}:{machine.user_env()['PATH']}"}


def check_chain(user: User, env: dict[str, str]) -> list[str]:
    """Three segments, of which two are submitted under the limit; then the same command while the first trains."""
    words = (*SMALL, "--time", "12m", "--on", user.where, "--policy", "free.toml", "--json")
    first = user.run(*words, env=env)
    assert first.returncode != 0 and "refused job 3 of" in first.stderr, first.stderr + first.stdout
    (run,) = (user.folder / "runs" / SMALL[0]).iterdir()
    user.trains(run)
    sent = [job["job_id"] for job in user.jobs(run)]
    again = user.run(*words, env=env)
    assert "outside of any known job" not in again.stdout + again.stderr
    assert "refused job 1 of" in again.stderr, "the limit is still there"
    done = user.run(*words)
    assert done.returncode == 0, done.stderr
    jobs = [job for job in user.jobs(run) if job["job_id"]]
    assert [job["segment"] for job in jobs] == list(range(1, len(jobs) + 1)) and len(jobs) >= 3
    assert [job["last"] for job in jobs] == [False] * (len(jobs) - 1) + [True]
    assert [job["job_id"] for job in jobs[:2]] == [id for id in sent if id]
    assert sum(job["work"] for job in jobs) == pytest.approx(720, abs=60)
    again = user.run(*words)
    assert "is submitted already, as job" in again.stdout and len(user.jobs(run)) == len(jobs)
    return [job["job_id"] or "" for job in jobs]


def test_the_missing_jobs_of_a_chain_on_slurm(slurm_user: User) -> None:
    user = slurm_user
    env = limited(user, "sbatch", 2, QOS, 1)
    ids = check_chain(user, env)
    assert f"afterany:{ids[1]}(unfulfilled)" in squeue(user, ids[2], "%E")


def test_the_missing_jobs_of_a_chain_on_oar(oar_user: User) -> None:
    user = oar_user
    words = "'[ADMISSION RULE] Error: you have too many submitted jobs (2 at most)'"
    ids = check_chain(user, limited(user, "oarsub", 2, words, 254))
    said = user.cluster.as_user(["oarstat", "-f", "-j", ids[2]]).stdout
    assert f"dependencies = {ids[1]}" in " ".join(said.split()), said
