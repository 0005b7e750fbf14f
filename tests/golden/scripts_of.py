"""The scripts and commands of fixed requests, word for word: `python -m tests.golden.scripts_of` writes them anew."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock
from zoneinfo import ZoneInfo

from ganhpc.core.settings import ROOT, Settings
from ganhpc.launch.planner.planner import Plan, Remainder, Slot
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers import job_script, oar_output
from ganhpc.launch.schedulers.base import JobRequest, PreparedJob, Scheduler
from ganhpc.launch.schedulers.local import Local
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import night_script
from ganhpc.launch.submission.prepare import Submission

FOLDER = Path(__file__).with_name("scripts")
PARIS = ZoneInfo("Europe/Paris")
RUN = Path("/home/student/my runs/cifar/default-256k-0123456789")
COMMON = {
    "python": "/opt/python3",
    "setup": ("module load conda", "source ~/my env/bin/activate"),
    "time_zone": "Europe/Paris",
}
SITES = {
    "oar": Settings(**COMMON, queue="default", project="gan", properties="gpu_model = 'GTX 1080 Ti'"),
    "slurm": Settings(**COMMON, partition="gpu", account="a team", qos="normal", options=("--exclude=node7",)),
    "local": Settings(**COMMON),
}
CLASSES: dict[str, type[Scheduler]] = {"oar": Oar, "slurm": Slurm, "local": Local}


def request(kind: str, segment: int = 1, hour: int = 19, **values: object) -> JobRequest:
    """A job of an hour in the evening of 23 November 2026."""
    start = dt.datetime(2026, 11, 23, hour, 1, tzinfo=PARIS)
    base = {"tag": f"beefcafe-{segment}-00ff", "run": RUN, "segment": segment, "seconds": 3600, "kind": kind}
    return JobRequest(**{**base, "start": start, "launch": "beefcafe", **values})  # type: ignore[arg-type]


ONE = request("begin", deadline=dt.datetime(2026, 11, 24, 8, 59, tzinfo=PARIS), gpus_per_node=1, most=3600)
TWO = request("now", nodes=2, gpus_per_node=4, tasks_per_node=4, alone=False, after=("17", "18"), again=True)
RESERVED = request("reservation", segment=2, until=dt.datetime(2026, 11, 24, 8, 59, tzinfo=PARIS))


def requests(name: str) -> dict[str, JobRequest]:
    """The requests of one scheduler, by the word in their file's name."""
    return {"one-node": ONE, "two-nodes": TWO, **({"reservation": RESERVED} if name == "oar" else {})}


@contextmanager
def paris_clock() -> Iterator[None]:
    """This machine's clock on Paris time: oarsub and sbatch take dates as the machine has them."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Paris"
    time.tzset()
    meeting = mock.patch.dict(os.environ, XDG_STATE_HOME="/var/state")
    try:
        with (
            mock.patch.object(oar_output, "system_zone", lambda: PARIS),
            mock.patch.object(job_script, "HANDED_ON", ()),
            meeting,
        ):
            yield
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


@cache
def texts() -> dict[str, str]:
    """File name -> what it must hold."""
    with paris_clock():
        return _texts()


def _texts() -> dict[str, str]:
    found = {}
    for name, cls in CLASSES.items():
        scheduler = cls(SITES[name])
        for kind, asked in requests(name).items():
            found[f"{name}-{kind}.sh"] = shown(scheduler.prepare(asked))
        found[f"{name}-night.sh"] = clean(night_script.text(night(scheduler), dt.date(2026, 11, 23)))
    return found


def shown(prepared: PreparedJob) -> str:
    """A script with its command, without this machine's paths."""
    return clean(f"{prepared.script.rstrip()}\n\n$ {prepared.command}\n")


def clean(text: str) -> str:
    return text.replace(sys.executable, "/launcher/python").replace(str(ROOT), "/checkout")


def night(scheduler: Scheduler) -> Submission:
    """Two slots and a remainder."""
    kind = "queue" if scheduler.name == "local" else "begin"
    asked = [request(kind, 1), request("queue" if kind == "queue" else "chain", 2, hour=20)]
    slots = [
        Slot(RUN.name, a.segment, a.start, a.start + dt.timedelta(hours=1), a.kind, f"It starts at {a.start:%H:%M} because.", a.start)
        for a in asked
        if a.start
    ]  # fmt: skip
    window = Window(slots[0].start, slots[-1].end)
    plan = Plan(tuple(slots), (Remainder("began-1", 60, "no more fits."),), window)
    jobs = tuple(scheduler.prepare(a) for a in asked)
    return Submission(plan, jobs, scheduler, load_policy("student"), "beefcafe")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
