"""What the fake OAR knows: one JSON file in the folder that FAKE_OAR names, its clock, and the form of its words."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

VARIABLE = "FAKE_OAR"
SECURITY = 60  # seconds that OAR keeps free after every job (SCHEDULER_JOB_SECURITY_TIME)
ENDED = ("Terminated", "Error")
Job = dict[str, Any]


class State:
    """All jobs and settings. `now` is the machine's time, or the instant a test has set."""

    def __init__(self, data: dict[str, Any]):
        self.data = data
        self.jobs: dict[str, Job] = data.setdefault("jobs", {})

    def setting(self, name: str) -> Any:
        """clock, user, hosts, cores, late, dialect, trouble: see FakeOar."""
        return self.data["settings"][name]

    @property
    def now(self) -> int:
        clock = self.setting("clock")
        return int(time.time() if clock is None else clock)

    def count(self, what: str) -> int:
        """The next number of a sequence."""
        self.data[what] = self.data.get(what, 0) + 1
        return int(self.data[what])

    def all_jobs(self) -> list[Job]:
        return [self.jobs[key] for key in sorted(self.jobs, key=int)]

    def event(self, job: Job, kind: str, text: str, when: int) -> None:
        """Add a line to the history of a job; each of them carries a number that orders them."""
        job["events"].append(
            {"event_id": self.count("event"), "type": kind, "description": text, "date": when}
            | {"job_id": job["id"], "to_check": "NO"}
        )


def folder() -> Path:
    """The folder of the state, which FakeOar prepares."""
    return Path(os.environ[VARIABLE])


@contextlib.contextmanager
def opened(where: Path) -> Iterator[State]:
    """The state for the length of a block, for one process at a time; written whole at the end."""
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = where / "state.json"
        state = State(json.loads(file.read_text()))
        yield state
        new = where / "state.new"
        new.write_text(json.dumps(state.data, indent=1))
        new.rename(file)


def date(instant: int) -> str:
    """An instant as OAR prints it: local time of the system."""
    return datetime.fromtimestamp(instant).strftime("%Y-%m-%d %H:%M:%S")


def instant(text: str) -> int:
    """The instant that a date of OAR's stands for; the time of day may be cut short."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        with contextlib.suppress(ValueError):
            return int(datetime.strptime(text, form).timestamp())
    raise ValueError(text)


def duration(seconds: int) -> str:
    """h:m:s without leading zeros, as OAR prints a walltime."""
    return f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
