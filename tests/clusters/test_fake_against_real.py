"""The fake OAR must answer as the real one does: the same conversations are held with both and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clusters import machine
from tests.clusters.conversation import ENDED, Real, Talk, difference, hold
from tests.clusters.oar import Oar

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slow_slurm")]
CORE = ("-l", "core=1,walltime=0:02:00")
ALL = ("-l", "nodes=2,walltime=1:00:00")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the jobs' user, with two scripts in it."""
    folder = machine.home() / "conversation"
    folder.mkdir(exist_ok=True)
    lines = {
        "good.sh": "#OAR -l core=1,walltime=0:01:00\n#OAR -n scanned\n#OAR -t idempotent\n",
        "late.sh": "#OAR -l core=1\n#OAR -r 2030-01-01 10:00:00\n",
    }
    for name, text in lines.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}exit 4\n")
        (folder / name).chmod(0o755)
    machine.give(folder)
    yield folder
    machine.remove(folder)


def refusals(talk: Talk) -> None:
    talk.say("oarsub")
    talk.say("oarsub", *CORE, "sleep", "1")
    talk.say("oarsub", "--bad", "date")
    talk.say("oarsub", "-a", "x", "date")
    for request in ("core=999", "cor=1", "core=x", "core=1,walltime=xx"):
        talk.say("oarsub", "-l", request, "date")
    talk.say("oarsub", *CORE, "-p", "nosuch=1", "date")
    talk.say("oarsub", *CORE, "-p", "gpu_count=9", "date")
    talk.say("oarsub", *CORE, "-q", "nosuch", "date")
    talk.say("oarsub", *CORE, "-t", "nonsense", "date")
    talk.say("oarsub", *CORE, "-t", "postpone=tomorrow", "date")
    talk.say("oarsub", *CORE, "-O", "a+b", "date")
    talk.say("oarsub", *CORE, "-E", "a:b", "date")
    for name in ("/srv/lab@nancy/log", "caf\u00e9", "it's", 'a"b', "$HOME", "~/x", "a,b"):
        talk.say("oarsub", *CORE, "-O", name, "date")
        talk.say("oarsub", *CORE, "-E", name, "date")
    for start in ("10:00", "2030-01-01", "2030-01-01 10:00", "2030-01-01T10:00:00"):
        talk.say("oarsub", *CORE, "-r", start, "date")
    talk.say("oarsub", *CORE, "-t", "besteffort", "-r", talk.at(), "date")
    talk.say("oarsub", "-S", "./late.sh")
    talk.say("oarsub", *CORE, "-n", "it's", "date")
    talk.say("oarsub", "-V")


def unknown_jobs(talk: Talk) -> None:
    for words in (["-s"], ["-J"], ["-f", "-J"], ["-e"], ["-s", "-J"]):
        talk.say("oarstat", *words, "-j", "99999")
    talk.say("oarstat", "-J", "-f", "-u")
    talk.say("oarstat")
    talk.say("oarstat", "--nosuch")
    for words in (["99999"], ["x"], ["-c", "99999"], ["-s", "USR1", "99999"], []):
        talk.say("oardel", *words)


def a_failing_job(talk: Talk) -> None:
    job = talk.submit("-J", "-l", "host=2/core=1,walltime=0:02:00", "-n", "it is", "-p", "gpu_count=4", "exit 3")
    talk.side.end(job)
    tell(talk, job)
    talk.say("oarstat", "-s", "-J", "-j", str(job))
    talk.say("oarstat", "-J", "-j", str(job))
    talk.say("oardel", str(job))
    talk.say("oardel", str(job))


def a_killed_command(talk: Talk) -> None:
    job = talk.submit(*CORE, "--project", "gan", "-O", "out.%jobid%", "-E", "err.%jobid%", "kill -9 $$")
    talk.side.end(job)
    tell(talk, job)


def a_cancelled_job(talk: Talk) -> None:
    job = talk.submit(*CORE, "-n", "long", "sleep 1000")
    talk.side.wait(job, ("Running",), 120)
    talk.say("oarstat")
    talk.say("oardel", str(job))
    talk.side.wait(job, ENDED, 120)
    tell(talk, job)


def a_cancelled_hold(talk: Talk) -> None:
    job = talk.submit(*CORE, "--hold", "date")
    talk.say("oarstat", "-s", "-j", str(job))
    talk.say("oardel", "-c", str(job))
    talk.say("oardel", str(job))
    talk.side.wait(job, ENDED, 120)
    tell(talk, job)


def a_chain(talk: Talk) -> None:
    parent = talk.submit(*CORE, "sleep 3; exit 7")
    child = talk.submit(*CORE, "-a", str(parent), "date")
    orphan = talk.submit(*CORE, "-a", "99999", "date")
    talk.side.end(parent)
    talk.side.end(child)
    for job in (parent, child):
        tell(talk, job)
    talk.say("oarstat", "-s", "-j", str(orphan))
    talk.say("oardel", str(orphan))
    talk.side.wait(orphan, ENDED, 120)
    # Behind jobs that have ended, well or not, or were deleted before they began.
    late = talk.submit(*CORE, "-a", str(parent), "-a", str(child), "-a", str(orphan), "date")
    talk.side.end(late)
    tell(talk, late)


def reservations(talk: Talk) -> None:
    first = talk.submit(*ALL, "-r", talk.at(), "-n", "first", "date")
    talk.say("oarstat", "-J", "-f", "-j", str(first))
    talk.submit("-J", *ALL, "-r", talk.at(), "date")
    talk.submit(*ALL, "-r", talk.at(hours=1), "date")
    busy = talk.submit(*ALL, "-r", talk.at(hours=1, minutes=1), "date")
    tell(talk, busy)
    talk.submit(*ALL, "-r", talk.at(hours=-1), "date")
    second = talk.submit(*ALL, "-r", talk.at(hours=1, minutes=1, seconds=1), "date")
    talk.say("oarsub", *ALL, "-r", talk.at(hours=9), "date")
    talk.say("oarsub", *ALL, "-r", talk.at(days=-4), "date")
    talk.say("oardel", str(first), str(second))
    talk.side.wait(first, ENDED, 120)
    talk.side.wait(second, ENDED, 120)
    tell(talk, second)
    talk.submit(*ALL, "-r", talk.at(days=-4), "date")


def postponed_and_dead(talk: Talk) -> None:
    dead = talk.submit(*CORE, "-t", f"deadline={talk.at(days=-4)}", "date")
    waiting = talk.submit(*CORE, "-t", f"postpone={talk.at()[:16]}", "-t", f"deadline={talk.at(days=1)}", "date")
    talk.side.wait(dead, ENDED, 120)
    tell(talk, dead)
    talk.say("oarstat", "-s", "-j", str(waiting))
    talk.say("oardel", str(waiting))
    talk.side.wait(waiting, ENDED, 120)


def a_scanned_script(talk: Talk) -> None:
    job = talk.submit("-S", "./good.sh one two")
    talk.side.end(job)
    tell(talk, job)
    again = talk.submit("--resubmit", str(job))
    talk.side.end(again)
    tell(talk, again)


def signals(talk: Talk) -> None:
    job = talk.submit(*CORE, "trap '' USR1 USR2; sleep 1000")
    talk.side.wait(job, ("Running",), 120)
    talk.say("oarsub", "--resubmit", str(job))
    talk.say("oardel", "-c", str(job))
    talk.say("oardel", "-s", "SIGUSR1", str(job))
    talk.say("oardel", str(job))
    talk.side.wait(job, ENDED, 120)
    tell(talk, job)


def out_of_time(talk: Talk) -> None:
    job = talk.submit("-l", "core=1,walltime=0:00:05", "sleep 1000")
    talk.side.wait(job, ENDED, 120)
    tell(talk, job)


def working_folders(talk: Talk) -> None:
    for name in ("plain", "a@b+c", "a $x"):
        folder = Path(talk.side.folder / name)
        folder.mkdir(exist_ok=True)
        job = talk.submit(*CORE, "-d", str(folder), "-O", "/dev/null", "-E", "/dev/null", "date")
        talk.side.end(job)
        tell(talk, job)
    for name in ("/", "/no/such/folder", str(talk.side.folder / "it's")):  # the last one puts its node out of service
        job = talk.submit(*CORE, "-d", name, "-O", "/dev/null", "-E", "/dev/null", "true")
        if name == "/":
            talk.side.end(job)
        else:
            talk.side.wait(job, ENDED, 120)
        tell(talk, job)


def tell(talk: Talk, job: int) -> None:
    """All that oarstat says of an ended job."""
    talk.say("oarstat", "-s", "-j", str(job))
    talk.say("oarstat", "-J", "-f", "-j", str(job))
    talk.say("oarstat", "-e", "-j", str(job))


TALKS = [
    refusals, unknown_jobs, a_failing_job, a_killed_command, a_cancelled_job, a_cancelled_hold, a_chain, reservations,
    postponed_and_dead, a_scanned_script, signals, out_of_time, working_folders,
]  # fmt: skip


def empty(real: Real) -> None:
    """Delete the jobs that other tests have left: both sides must begin with all resources free."""
    for line in real.run(["oarstat"]).stdout.splitlines()[2:]:
        real.run(["oardel", line.split()[0]])
        real.end(int(line.split()[0]))


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.__name__)
def test_the_fake_oar_answers_as_the_real_one(
    talk: Callable[[Talk], None], oar_cluster: Oar, folder: Path, tmp_path: Path
) -> None:
    empty(Real(oar_cluster, folder))
    real, fake = hold(talk, oar_cluster, folder, tmp_path)
    oar_cluster.heal()
    assert not (different := difference(real, fake)), different
