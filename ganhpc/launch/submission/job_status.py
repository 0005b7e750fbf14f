"""Runs and jobs together: where each run stands, by its folder and by its scheduler, and what to type next."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged
from ganhpc.core.printable import shown
from ganhpc.core.typed_command import typed_command
from ganhpc.datasets import held_data
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import JOB_NAME, Job, JobState, Scheduler, find_job
from ganhpc.runs import job_origin, submission_record
from ganhpc.runs.definition_fields import experiment_of
from ganhpc.runs.run_files import RefusalSource
from ganhpc.runs.run_folder import Run, RunStatus, State

_LATE_SECONDS = 60.0
"""A start that a scheduler has named and that is past for longer means nothing any more."""

NEXT = {
    State.NEW: "resume {run}",
    State.WAITING: "cancel {run}",
    State.RUNNING: "logs {run} -f",
    State.DONE: "results",
    State.RESUMABLE: "resume {run}",
    State.LOST: "resume {run}",
    State.CRASHED: "logs {run}",
    State.CANCELLED: "resume {run}",
    State.REFUSED: "policy --check {run}",
}
"""Next command, by state."""


@dataclass(frozen=True)
class KnownJob:
    """A living job of a run: what was planned, and what the scheduler says."""

    entry: submission_record.Entry
    job: Job
    scheduler: str = ""
    asked: bool = True
    """True if its scheduler was asked here; another place's, or another person's, is not."""

    @property
    def start(self) -> float | None:
        """When it started, or is to start as its scheduler itself has named; None where it names no start that is to come."""
        if self.job.state is not JobState.WAITING:
            return self.job.start
        named = self.job.named_start
        return named if named and named > time.time() - _LATE_SECONDS else None

    def to_json(self) -> dict[str, Any]:
        job = self.job
        return {
            "id": job.id,
            "state": job.state.value,
            "native": job.native,
            "segment": self.entry["segment"],
            "kind": self.entry.get("kind"),
            "planned_start": self.entry.get("start"),
            "planned_end": self.entry.get("end"),
            "start": _iso(self.start),
            "end": _iso(job.end) if job.state is not JobState.WAITING or self.start else None,
            "message": job.message,
            "why": job.why,
            "scheduler": self.scheduler,
            "cluster": self.entry.get("cluster"),
            "user": self.entry.get("user"),
            "asked": self.asked,
        }


@dataclass(frozen=True)
class RunView:
    """One run as it stands."""

    run: Run
    run_status: RunStatus
    jobs: tuple[KnownJob, ...] = ()

    @property
    def next_command(self) -> str:
        """The command to type next. What a scheduler refused is typed again, once its cause is fixed."""
        words = (NEXT[State.CRASHED] if self.hindrance else self._next).split()
        if "{run}" not in words:
            return typed_command(*words, runs=self.run.runs)
        return typed_command(*(shown(self.run.folder) if word == "{run}" else word for word in words))

    def way_on(self, typed: str = "") -> str:
        """The next step as a clause; empty where that is the verb `typed` again."""
        if self.hindrance:
            return f"to go on: {self.hindrance}"
        return "" if self._next.split()[0] == typed else f"next: {self.next_command}"

    @functools.cached_property
    def hindrance(self) -> str:
        """A sentence on why `resume` would be refused; empty where nothing is in its way, or it is not what comes next."""
        if self._next != NEXT[State.RESUMABLE]:
            return ""
        try:
            held_data.require_places(self.run.folder, self.run.experiment().definition)
        except UserError as error:
            return str(error)
        return ""

    @property
    def _next(self) -> str:
        """A value of NEXT."""
        state, source = self.run_status.state, self.run_status.refused_by
        if state is State.REFUSED and source is not RefusalSource.POLICY:
            state = State.NEW if source is RefusalSource.SCHEDULER else State.CRASHED
        if state in (State.LOST, State.RESUMABLE) and self.run_status.job_failed:
            state = State.CRASHED  # the log tells why; the same again would fail again
        if self.run_status.damaged:
            state = State.CRASHED
        if self.jobs and not any(known.asked for known in self.jobs):
            state = State.CRASHED  # its log is here, its jobs are elsewhere
        return NEXT[state]

    @property
    def time_left(self) -> float | None:
        """Seconds of its budget that it has not used; None where no time bounds it, or where it has not begun."""
        status = self.run_status.status
        budget = status.get("budget_seconds")
        return max(0.0, budget - (status.get("seconds") or 0.0)) if budget else None

    @property
    def next_slot(self) -> KnownJob | None:
        """The first of its jobs that waits."""
        return next((known for known in self.jobs if known.job.state is JobState.WAITING), None)

    def to_json(self) -> dict[str, Any]:
        status = self.run_status.status
        figures = {
            key: status.get(key) for key in ("step", "epoch", "epochs_planned", "seconds", "budget_seconds", "last")
        }
        slot = self.next_slot
        return {
            "run": self.run.name,
            "experiment": experiment_of(self.run.folder),
            "folder": str(self.run.folder),
            "state": self.run_status.state.value,
            "reason": self.run_status.reason,
            **figures,
            "time_left": self.time_left,
            "jobs": [known.to_json() for known in self.jobs],
            "next_slot": slot.to_json() if slot else None,
            "next_command": self.next_command,
            "hindrance": self.hindrance,
        }


def look(runs: Sequence[Run], scheduler: Callable[[str], Scheduler]) -> tuple[list[RunView], list[str]]:
    """(a view of each run, sentences on schedulers that could not be asked).

    What a scheduler says of ended jobs is written into the run's record, so that it is asked once and never forgets it.
    """
    asked: dict[str, list[tuple[Run, submission_record.Entry]]] = {}
    for run in runs:
        # A record that can't be used is told of by the standing of its run, and hides no other.
        with suppress(Damaged):
            tree = submission_record.read(run)
            if run.result() is not None:
                continue
            for entry in submission_record.open_jobs(tree):
                asked.setdefault(entry.get("scheduler") or tree.get("scheduler", ""), []).append((run, entry))
    living: dict[str, list[KnownJob]] = {}
    trouble: list[str] = []
    for name, entries in asked.items():
        others = [(run, entry) for run, entry in entries if job_origin.of_another_person(entry)]
        mine = [(run, entry) for run, entry in entries if not job_origin.of_another_person(entry)]
        try:
            others += _ask(scheduler(name), mine, living, trouble) if mine else []
        except UserError as error:
            trouble.append(str(error))
            for run, entry in mine:
                _silent(run, name, entry, "its scheduler does not answer", living)
        for run, entry in others:
            _silent(run, name, entry, "", living)
    return [_view(run, living.get(str(run.folder), [])) for run in runs], trouble


def _silent(
    run: Run, name: str, entry: submission_record.Entry, message: str, living: dict[str, list[KnownJob]]
) -> None:
    """A job of which nothing new is known; without a message: since it is not asked here."""
    if id := entry["job_id"]:
        asked = bool(message)
        if not asked:
            place = job_origin.described([{**entry, "scheduler": name}], registry.place)
            message = f"{place.removeprefix(f'job {id} ')}: not asked here, and left alone"
        job = Job(id, JobState.UNKNOWN, message=message)
        living.setdefault(str(run.folder), []).append(KnownJob(entry, job, name, asked))


def _ask(
    scheduler: Scheduler,
    entries: Sequence[tuple[Run, submission_record.Entry]],
    living: dict[str, list[KnownJob]],
    trouble: list[str],
) -> list[tuple[Run, submission_record.Entry]]:
    """Ask the scheduler of jobs of this person; returns those that are of another place."""
    queue, here = scheduler.queue(), scheduler.origin
    gone: list[tuple[Run, submission_record.Entry]] = []
    others: list[tuple[Run, submission_record.Entry]] = []
    for run, entry in entries:
        if job := find_job(entry, queue):
            # Submitted by hand, sent again by OAR, a launcher that was killed, or an older version, which noted no place.
            if entry["job_id"] != job.id or not here.is_of(entry) or entry.get("forgotten"):
                with _noted(trouble):
                    submission_record.note_id(run, entry["tag"], job.id, here=here)
            living.setdefault(str(run.folder), []).append(KnownJob(entry, job, scheduler.name))
        elif not here.may_ask(entry):
            others.append((run, entry))
        elif entry["job_id"]:
            gone.append((run, entry))
    if gone:
        others += _write_off(scheduler, gone, trouble)
    return others


def _write_off(
    scheduler: Scheduler, gone: Sequence[tuple[Run, submission_record.Entry]], trouble: list[str]
) -> list[tuple[Run, submission_record.Entry]]:
    """Note the ends of jobs that are in the queue no more; returns those of older versions that this place does not know."""
    here = scheduler.origin
    known = scheduler.jobs([id for _, entry in gone if (id := entry["job_id"])])
    notes: dict[str, tuple[Run, dict[str, str], list[str]]] = {}
    others = []
    for run, entry in gone:
        job = known.get(entry["job_id"] or "", Job("", JobState.UNKNOWN))
        _, ended, forgotten = notes.setdefault(str(run.folder), (run, {}, []))
        # Where the scheduler keeps no tag of an ended job, the place, the person, the number and the name must do.
        sure = job.tag == entry["tag"] if job.tag else here.is_of(entry) and job.name == JOB_NAME
        if sure and not job.state.alive and job.state is not JobState.UNKNOWN:
            ended[entry["tag"]] = job.state.value
        elif here.is_of(entry) and not (sure and job.state.alive):
            forgotten.append(entry["tag"])
        elif not sure and entry.get("ended") is None:
            others.append((run, entry))
    for run, ended, forgotten in notes.values():
        with _noted(trouble):
            submission_record.note_ended(run, ended, forgotten)
    return others


@contextmanager
def _noted(trouble: list[str]) -> Iterator[None]:
    """A record that can't be written (another's folder, a full disk) is told of, and keeps no other run from being shown."""
    try:
        yield
    except UserError as error:
        trouble.append(str(error))


def _view(run: Run, jobs: Sequence[KnownJob]) -> RunView:
    run_status = run.run_status()
    if run_status.damaged or run_status.state in (State.DONE, State.RUNNING, State.CANCELLED):
        return RunView(run, run_status, tuple(jobs))
    running = next((known for known in jobs if known.job.state is JobState.RUNNING), None)
    waiting = next((known for known in jobs if known.job.state is JobState.WAITING), None)
    others = [known for known in jobs if not known.asked]
    if running:
        reason = f"job {running.job.id} has started, its training not yet"
        if running.job.why:
            reason = f"job {running.job.id}: {running.job.why}"
        run_status = dataclasses.replace(run_status, state=State.RUNNING, reason=reason)
    elif waiting:
        before = f"; so far: {run_status.reason}" if run_status.status.get("state") else ""
        run_status = dataclasses.replace(run_status, state=State.WAITING, reason=f"for job {waiting.job.id}{before}")
    elif others and run_status.state is State.WAITING:
        run_status = dataclasses.replace(run_status, reason=f"for job {others[0].job.id}, {others[0].job.message}")
    return RunView(run, run_status, tuple(jobs))


def _iso(moment: float | None) -> str | None:
    return None if moment is None else dt.datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
