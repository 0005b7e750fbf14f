"""What ganhpc relies on of OAR beyond what the fake imitates: files, signals, ends, resubmission, late reservations."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from tests.clusters import daemons, machine
from tests.clusters.conversation import ENDED, Real
from tests.clusters.machine import wait_until
from tests.clusters.oar import Oar
from tests.clusters.slow import CATCH, SlowOar

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slow_oar")]


@pytest.fixture(scope="module")
def real(oar_cluster: Oar) -> Iterator[Real]:
    folder = machine.home() / "oar facts"
    folder.mkdir(exist_ok=True)
    (folder / "catch.py").write_text(CATCH)
    yield Real(oar_cluster, machine.give(folder))
    machine.remove(folder)


def at(seconds: float) -> str:
    return (datetime.now() + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def stopped_server(oar: Oar) -> Iterator[None]:
    """OAR's server stands still inside the block."""
    servers = [p.pid for p in daemons.belonging(oar.name, oar.is_ours) if "/Almighty" in p.command]
    assert servers
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)


def lines(real: Real, file: str) -> list[str]:
    path = real.folder / file
    return path.read_text().splitlines() if path.exists() else []


def test_files_with_spaces_and_the_launching_folder(real: Real) -> None:
    (real.folder / "a b").mkdir()
    machine.give(real.folder / "a b")
    where = real.folder / "a b"
    job = real.submit(
        "-l", "core=1,walltime=0:01:00", "-d", str(where), "-O", f"{where}/o %jobid%", "pwd; echo 'it is'; exit 3"
    )
    real.end(job)
    assert (where / f"o {job}").read_text() == f"{where}\nit is\n"
    assert real.facts(job)["exit_code"] == 768


def test_oarsub_believes_pwd_rather_than_the_folder_it_is_in(real: Real) -> None:
    words = ["oarsub", "-l", "core=1,walltime=0:01:00", "--hold", "date"]
    done = real.oar.as_user(words, env={"PWD": "/tmp"}, cwd=real.folder, check=True)
    job = int(done.stdout.rpartition("OAR_JOB_ID=")[2])
    assert real.facts(job)["launchingDirectory"] == "/tmp"
    real.run(["oardel", str(job)])


def test_a_missing_folder_is_an_error_and_a_missing_script_is_not(real: Real) -> None:
    lost = real.submit("-l", "core=1,walltime=0:01:00", "-d", "/nosuch", "date")
    script = real.submit("-l", "core=1,walltime=0:01:00", "./nosuch.sh")
    real.wait(lost, ENDED, 120)
    real.wait(script, ENDED, 120)
    assert (real.facts(lost)["state"], real.facts(lost)["exit_code"]) == ("Error", None)
    wait_until(lambda: "WORKING_DIRECTORY" in real.events(lost), 120, "the reason")
    assert (real.facts(script)["state"], real.facts(script)["exit_code"]) == ("Terminated", 127 << 8)


def test_a_cancelled_and_an_expired_job_are_told_apart_by_their_events(real: Real) -> None:
    expired = real.submit("-l", "core=1,walltime=0:00:05", "-n", "expired", "exec /usr/bin/python3 catch.py")
    cancelled = real.submit("-l", "core=1,walltime=0:05:00", "sleep 1000")
    real.wait(cancelled, ("Running",), 120)
    real.run(["oardel", str(cancelled)])
    for job in (expired, cancelled):
        real.wait(job, ENDED, 120)
        assert (real.facts(job)["state"], real.facts(job)["exit_code"]) == ("Error", None)
    assert "WALLTIME" in real.events(expired)
    assert "WALLTIME" not in real.events(cancelled)
    assert "FRAG_JOB_REQUEST" in real.events(cancelled)
    assert [line.split()[0] for line in lines(real, f"OAR.expired.{expired}.stdout")] == ["ready"], (
        "no TERM before KILL"
    )
    assert "KILLED" in lines(real, f"OAR.expired.{expired}.stderr")[-1]


def test_oarsh_reaches_every_node_as_the_jobs_user(real: Real) -> None:
    job = real.submit(
        "-l", "host=2/gpu=1,walltime=0:01:00", "-n", "nodes", "-p", "gpu_model='GTX 1080 Ti'",
        "for node in $(uniq $OAR_NODEFILE); do oarsh $node 'id -un; pwd'; getent hosts $node; done",
    )  # fmt: skip
    real.end(job)
    printed = lines(real, f"OAR.nodes.{job}.stdout")
    assert printed[0::3] == [machine.USER] * 2
    assert printed[1::3] == [str(machine.home())] * 2
    assert [line.split()[0] for line in printed[2::3]] == ["127.0.0.1"] * 2


def test_a_reservation_that_starts_late_keeps_its_end(real: Real) -> None:
    start = at(5)
    command = "echo $OAR_JOB_WALLTIME_SECONDS $(date +%s)"
    job = real.submit("-l", "core=1,walltime=0:02:00", "-r", start, "-n", "late", command)
    with stopped_server(real.oar):  # a quiet server does the same: it looks at its clock once a minute
        time.sleep(9)
    real.end(job)
    facts = real.facts(job)
    (printed,) = lines(real, f"OAR.late.{job}.stdout")
    walltime, began = map(int, printed.split())
    asked = int(datetime.strptime(start, "%Y-%m-%d %H:%M:%S").timestamp())
    assert "REDUCE_RESERVATION_WALLTIME" in [event["type"] for event in facts["events"]]
    assert facts["startTime"] + facts["walltime"] == asked + 120
    assert walltime == facts["walltime"] < 118
    assert 0 <= began - facts["startTime"] < 10


def test_a_deadline_needs_the_walltime_and_a_minute(real: Real) -> None:
    one = ("-l", "core=1,walltime=0:01:00")
    enough, short = (real.submit(*one, "-t", f"deadline={at(seconds)}", "date") for seconds in (150, 110))
    real.end(enough)
    assert real.state(short) == "Waiting", "it will be in Error once the deadline has passed"
    real.run(["oardel", str(short)])


def test_a_postponed_job_waits(real: Real) -> None:
    date = at(6)
    job = real.submit("-l", "core=1,walltime=0:01:00", "-t", f"postpone={date}", "date")
    real.end(job)
    assert real.facts(job)["startTime"] >= datetime.strptime(date, "%Y-%m-%d %H:%M:%S").timestamp()


@pytest.mark.slow
def test_a_slow_job_gets_usr2_again_and_again_and_then_kill(slow_oar: SlowOar) -> None:
    real, job = slow_oar.real, slow_oar.signalled
    real.wait(job, ENDED, 120)
    facts = real.facts(job)
    printed = [line.split() for line in lines(real, f"OAR.signalled.{job}.stdout")]
    assert [words[0] for words in printed] == ["ready"] + ["SIGUSR2"] * (len(printed) - 1)
    times = [float(words[1]) for words in printed[1:]]
    assert len(times) >= 2
    # up to 10 s late, and as much again where another test has stopped the server meanwhile
    assert -1 < times[0] - (facts["startTime"] + 60 - 45) < 25
    assert all(5 < later - earlier < 30 for earlier, later in pairwise(times))
    events = [event["type"] for event in facts["events"]]
    assert {"CHECKPOINT", "CHECKPOINT_SUCCESSFULL", "WALLTIME"} <= set(events)


@pytest.mark.slow
def test_a_slow_job_that_ends_with_99_is_submitted_again(slow_oar: SlowOar) -> None:
    real, job = slow_oar.real, slow_oar.again
    real.wait(job, ENDED, 120)
    assert real.facts(job)["exit_code"] == 99 << 8
    assert "RESUBMIT_JOB_AUTOMATICALLY" in real.events(job)
    children = [real.facts(number) for number in range(job + 1, job + 100) if real.state(number)]
    (child,) = [facts for facts in children if facts["resubmit_job_id"] == job]
    assert (child["name"], child["types"]) == ("again", ["idempotent"])
    real.end(child["Job_Id"])
    assert real.facts(child["Job_Id"])["exit_code"] == 0, "exit 0 ends the chain"
