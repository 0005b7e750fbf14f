"""`launch.py cancel RUN`: take a run's jobs back; a training that runs saves a checkpoint first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from ganhpc.cli.common_options import RUNS, Sections
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.choice import answering
from ganhpc.launch.submission import job_status, submit
from ganhpc.launch.submission.job_status import KnownJob, RunView
from ganhpc.runs import find_run, submission_record
from ganhpc.runs.run_folder import State

PATIENCE_SECONDS = 30.0
"""Seconds that a trainer has for its last checkpoint before its job is ended."""


def cancel(words: tuple[str, ...], runs: str, abandon: bool = False) -> None:
    """Cancel the runs that the words mean; `abandon`: write off their jobs of other places too. Raises UserError where a scheduler
    would not."""
    for run in find_run.find_runs(words, Path(runs)):
        name = submission_record.read(run).get("scheduler")
        if not name:
            (view,), _ = job_status.look([run], answering)
            say(_unsubmitted(view))
            continue
        registry.title(name)  # no other word of a record becomes a lock's name
        with submit.one_launcher(name):
            (view,), trouble = job_status.look([run], answering)
            if trouble:
                raise UserError(f"{run} is not cancelled: {trouble[0]}")
            say(_cancel(view, abandon))


def _unsubmitted(view: RunView) -> str:
    """A run on this machine, under the eyes of its launcher."""
    if not view.run.ask_holder_to_stop("cancelled"):
        return f"{view.run} has no jobs: it is {view.run.run_status().state}."
    return f"{view.run} is asked to save and stop; to go on: {view.run.command('resume')}"


def _cancel(view: RunView, abandon: bool) -> str:
    run = view.run
    others = [known for known in view.jobs if not known.asked]
    if others and not abandon:
        return _left_alone(view, others)
    if not view.jobs and view.run_status.state is not State.RUNNING:
        return f"{run} has no jobs that wait or run: it is {view.run_status.state}; {view.way_on()}"
    # First the word that keeps jobs which start meanwhile from training, then those that wait, so that none takes the place.
    submission_record.note_cancelled(run)
    waiting = [known for known in view.jobs if known.job.state is JobState.WAITING]
    _take_back(waiting)
    run.ask_holder_to_stop("cancelled")
    patience = time.monotonic() + PATIENCE_SECONDS
    while run.is_held() and time.monotonic() < patience:
        time.sleep(0.2)
    running = [known for known in view.jobs if known.job.state is not JobState.WAITING and known.asked]
    _take_back(running)
    done = [*waiting, *running, *others]
    submission_record.note_ended(run, {known.entry["tag"]: JobState.CANCELLED.value for known in done})
    jobs = ", ".join(known.job.id for known in done) or "none"
    kept = "its last checkpoint is kept" if run.has_checkpoint() else "there was no checkpoint yet"
    return f"{run} is cancelled (jobs: {jobs}); {kept}; to go on: {run.command('resume')}"


def _take_back(jobs: Sequence[KnownJob]) -> None:
    for known in jobs:
        answering(known.scheduler).cancel(known.job.id)


def _left_alone(view: RunView, others: Sequence[KnownJob]) -> str:
    """The sentence on a run with jobs that can't be asked here; where some can, those are taken back."""
    mine = [known for known in view.jobs if known.asked]
    _take_back(mine)
    submission_record.note_ended(view.run, {known.entry["tag"]: JobState.CANCELLED.value for known in mine})
    taken = f"; taken back: job {', '.join(known.job.id for known in mine)}" if mine else ""
    there = "; ".join(f"job {known.job.id} is {known.job.message}" for known in others)
    return (
        f"{view.run} is not cancelled: {there}{taken}. Type the same command there; or, where nobody can ask that place any more, "
        f"type --elsewhere to write its jobs off: one that starts all the same ends at once."
    )


def main(words: tuple[str, ...], runs: str, every: bool, abandon: bool = False) -> None:
    """Check what was typed, then cancel."""
    if bool(words) == every:
        raise UserError("name the runs to cancel, or type --all for every one that waits or runs.")
    if every:
        views, _ = job_status.look(find_run.find_runs((), Path(runs)), answering)
        words = tuple(str(v.run.folder) for v in views if v.jobs or v.run_status.state is State.RUNNING)
        if not words:
            say("nothing waits or runs.")
            return
    cancel(words, runs, abandon)


command = Sections(
    "cancel",
    callback=lambda words, runs, every, abandon: main(words, runs, every, abandon),
    help=(
        "Take back the jobs of runs; a training that runs saves a checkpoint first.\n\n"
        "RUN is a run's folder, its name, or a part of it."
    ),
)
command.params.append(click.Argument(["words"], nargs=-1, metavar="RUN..."))
command.add(
    "Options",
    RUNS(),
    click.Option(["--all", "every"], is_flag=True, help="every run that waits or runs below --runs"),
    click.Option(
        ["--elsewhere", "abandon"],
        is_flag=True,
        help="write off jobs of other places and people, which can't be asked here",
    ),
)
