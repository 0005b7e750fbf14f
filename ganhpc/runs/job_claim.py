"""The claim of a job on its run: one job at a time trains a run, on whichever machines the jobs are. Written by the node side.

{"owner", "scheduler", "cluster", "id", "host", "tag", "folder"} in claim.json; whoever has it touches the file again and again.
A job whose run another living job has claimed ends at once. Locks don't reach across machines on every file system, and a trainer that
was killed a moment ago looks alive for a while; so the scheduler is asked for the other job, and where it can't be, the file is watched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.files import is_copy, raise_passing, read_json, write_json
from ganhpc.core.locks import folder_lock
from ganhpc.core.printable import printable
from ganhpc.runs import file_owner as owners
from ganhpc.runs.run_files import is_job_id, is_text
from ganhpc.runs.run_folder import STALE_SECONDS, Run

BEAT_SECONDS = 10.0
"""Seconds between two touches of a claim."""
_FOLLOW_SECONDS = STALE_SECONDS + 60
"""Seconds that the other nodes of a job wait for its first one to claim the run."""


@dataclass(frozen=True)
class Job:
    """A job as its claim names it."""

    owner: str
    """Its name, with its count of restarts (ganhpc.runs.file_owner)."""
    scheduler: str
    cluster: str
    id: str
    host: str
    tag: str = ""
    """The launcher's name for it; claims of older versions have none."""

    @staticmethod
    def mine(owner: str, scheduler: str = "", cluster: str = "", id: str = "", tag: str = "") -> Job:
        """A job on this machine."""
        return Job(owner, scheduler, cluster, id, os.uname().nodename, tag)

    def is_same(self, other: Job) -> bool:
        """True if both are one job, before and after it was sent again. Clusters of one name give the same numbers, but no tag twice."""
        if self.tag and other.tag and self.tag != other.tag:
            return False
        key = (self.scheduler, self.cluster, self.id)
        return self.owner == other.owner or (bool(self.id) and key == (other.scheduler, other.cluster, other.id))

    def __str__(self) -> str:
        return printable(f"job {self.id} ({self.host})" if self.id else f"another job ({self.host})")


class Claim:
    """This job's claim on a run. `lives` asks its scheduler whether the job with a number, and with a tag where it has one, trains: None
    where it can't tell."""

    def __init__(self, run: Run, job: Job, lives: Callable[[str, str], bool | None]) -> None:
        self.path, self.folder, self.job, self.lives = Path(run.folder) / "claim.json", run.folder, job, lives
        self.touched = 0.0

    def take(self) -> str:
        """Claim the run; returns an empty text, or the sentence on the job that has it. Raises UserError where it can't be written."""
        patience, first = time.monotonic() + STALE_SECONDS + 10, self._beat()
        over: Job | None = None
        while True:
            with folder_lock(self.folder):
                holder = self.holder()
                if holder is None or holder.is_same(self.job) or holder == over:
                    write_json(
                        self.path, {**asdict(self.job), "folder": str(Path(self.folder).absolute())}, durable=False
                    )
                    return ""
            alive = self._alive(holder)
            if alive or (alive is None and self._beat() not in (None, first)):
                return f"{holder} trains this run already: this one, {self.job}, ends at once"
            if alive is False or time.monotonic() > patience:
                over = holder
            else:
                time.sleep(0.5)

    def follow(self) -> str:
        """On another node of the job: wait until the first one has claimed the run; else the sentence on why not."""
        patience = time.monotonic() + _FOLLOW_SECONDS
        while time.monotonic() < patience:
            holder = None
            with suppress(StorageFault):  # it is looked for again
                holder = self.holder()
            if holder and holder.owner == self.job.owner:
                return ""
            if holder and not holder.is_same(self.job) and self._alive(holder):
                return f"{holder} trains this run already: {self.job} ends at once"
            time.sleep(0.5)
        return "the first node of this job has not begun to train: nothing to do"

    def beat(self) -> None:
        """Show that this job lives."""
        if time.monotonic() - self.touched > BEAT_SECONDS:
            self.touched = time.monotonic()
            with suppress(OSError):
                os.utime(self.path)

    def drop(self) -> None:
        """Give the run to the next job."""
        with suppress(OSError, UserError), folder_lock(self.folder):
            if (holder := self.holder()) and holder.owner == self.job.owner:
                self.path.unlink()

    def holder(self) -> Job | None:
        """The job that has claimed the run, if one has; what lies in a copy of the run's folder claims the original. Raises StorageFault for a
        fault that may pass, behind which a living job's claim may be."""
        try:
            tree: dict[str, Any] = read_json(self.path) or {}
        except UserError as error:
            raise_passing(error)
            return None
        if is_copy(Path(self.folder), tree.get("folder")):
            return None
        fields = [tree.get(key, "" if key == "tag" else None) for key in Job.__dataclass_fields__]
        # Its scheduler is asked for the number: no other word may become one of a command's.
        known = all(map(is_text, fields)) and (not tree["id"] or is_job_id(tree["id"]))
        return Job(*map(str, fields)) if known else None

    def _alive(self, holder: Job) -> bool | None:
        if owners.is_over(holder.owner):
            return False
        if not holder.id:
            return True if owners.is_alive_here(holder.owner) else None
        mine = (self.job.scheduler, self.job.cluster)
        return self.lives(holder.id, holder.tag) if (holder.scheduler, holder.cluster) == mine else None

    def _beat(self) -> int | None:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return None
