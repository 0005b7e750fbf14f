"""The jobs of the slow tests: a minute or more each, all started at once."""

from __future__ import annotations

from pathlib import Path

from tests.clusters import machine
from tests.clusters.conversation import ENDED, Real
from tests.clusters.oar import Oar
from tests.clusters.slurm import Slurm
from tests.clusters.slurm_jobs import Jobs

LOOP = "while true; do sleep 0.5; done"
CATCH = (
    "import signal, time\n"
    "for number in (signal.SIGUSR2, signal.SIGTERM):\n"
    "    signal.signal(number, lambda number, _: print(signal.Signals(number).name, time.time(), flush=True))\n"
    "print('ready', time.time(), flush=True)\n"
    "while True: signal.pause()\n"
)


def _empty(name: str) -> Path:
    """A new folder, without what a session that was killed has left there."""
    folder = machine.home() / name
    machine.remove(folder)
    folder.mkdir()
    return folder


class SlowSlurm:
    """Jobs that reach their limit of one minute: `plain`; `warned` by a signal to the batch shell; and warned by a
    signal to its `step`.
    """

    def __init__(self, slurm: Slurm):
        self.folder = _empty("slow slurm")
        self.jobs = Jobs(slurm, machine.give(self.folder))
        catch = f"trap 'echo SIGNAL' %s; echo started; {LOOP}"
        step = f"trap 'echo BATCH' USR2; srun bash -c \"{catch % 'USR2'}\""
        self.plain = self.jobs.submit(catch % "TERM", "--time=1")
        self.warned = self.jobs.submit(catch % "USR2", "--time=1", "--signal=B:USR2@30")
        self.step = self.jobs.submit(step, "--time=1", "--signal=USR2@30")

    def __enter__(self) -> SlowSlurm:
        return self

    def __exit__(self, *_: object) -> None:
        machine.remove(self.folder)


class SlowOar:
    """`signalled` is to checkpoint 45 s before its end after a minute; `again` ends with 99 after 62 s, and so is submitted again."""

    def __init__(self, oar: Oar):
        self.folder = _empty("slow oar")
        (self.folder / "catch.py").write_text(CATCH)
        self.real = Real(oar, machine.give(self.folder))
        once = "[ -e again ] || { touch again; sleep 62; exit 99; }"
        self.again = self.real.submit("-l", "core=1,walltime=0:05:00", "-t", "idempotent", "-n", "again", once)
        short = ("-l", "core=1,walltime=0:01:00", "--checkpoint", "45", "-n", "signalled")
        self.signalled = self.real.submit(*short, "exec /usr/bin/python3 catch.py")
        # Seen on a busy machine: both ran twice, it seems because a test stopped OAR's server while it was launching them.
        for job in (self.again, self.signalled):
            self.real.wait(job, ("Running", *ENDED), 120)

    def __enter__(self) -> SlowOar:
        return self

    def __exit__(self, *_: object) -> None:
        machine.remove(self.folder)
