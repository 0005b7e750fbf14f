"""`launch.py cancel RUN`: take a run's jobs back; a training that runs saves a checkpoint first."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ganhpc import lookup, overview, record, sending
from ganhpc.cli.params import RUNS, Sections
from ganhpc.cli.status import schedulers
from ganhpc.errors import UserError
from ganhpc.overview import View
from ganhpc.run import State
from ganhpc.schedulers.base import JobState

PATIENCE_SECONDS = 30.0
"""How long a trainer has for its last checkpoint before its job is ended."""


def cancel(words: tuple[str, ...], runs: str) -> None:
    """Cancel the runs that the words mean. Raises UserError where a scheduler would not."""
    for run in lookup.find_runs(words, Path(runs)):
        name = record.read(run).get("scheduler")
        if not name:
            (view,), _ = overview.look([run], schedulers)
            click.echo(_unsubmitted(view))
            continue
        with sending.one_launcher(name):
            (view,), trouble = overview.look([run], schedulers)
            if trouble:
                raise UserError(f"{run} is not cancelled: {trouble[0]}")
            click.echo(_cancel(view))


def _unsubmitted(view: View) -> str:
    """A run on this machine, under the eyes of its launcher."""
    if not view.run.ask_holder_to_stop("cancelled"):
        return f"{view.run} has no jobs: it is {view.run.standing().state}."
    return f"{view.run} is asked to save and stop; to go on: python launch.py resume {view.run.name}"


def _cancel(view: View) -> str:
    run = view.run
    if not view.jobs and view.standing.state is not State.RUNNING:
        return f"{run} has no jobs that wait or run: it is {view.standing.state}; next: {view.next_command}"
    # First the word that keeps jobs which start meanwhile from training, then those that wait, so that none takes the place.
    record.note_cancelled(run)
    scheduler = schedulers(record.read(run)["scheduler"])
    waiting = [known.job.id for known in view.jobs if known.job.state is JobState.WAITING]
    for id in waiting:
        scheduler.cancel(id)
    run.ask_holder_to_stop("cancelled")
    patience = time.monotonic() + PATIENCE_SECONDS
    while run.is_held() and time.monotonic() < patience:
        time.sleep(0.2)
    running = [known.job.id for known in view.jobs if known.job.state is not JobState.WAITING]
    for id in running:
        scheduler.cancel(id)
    record.note_ended(run, dict.fromkeys((*waiting, *running), JobState.CANCELLED.value))
    jobs = ", ".join((*waiting, *running)) or "none"
    kept = "its last checkpoint is kept" if run.has_checkpoint() else "there was no checkpoint yet"
    return f"{run} is cancelled (jobs: {jobs}); {kept}; to go on: python launch.py resume {run.name}"


def main(words: tuple[str, ...], runs: str, every: bool) -> None:
    """Check what was typed, then cancel."""
    if bool(words) == every:
        raise UserError("name the runs to cancel, or type --all for every one that waits or runs.")
    if every:
        views, _ = overview.look(lookup.find_runs((), Path(runs)), schedulers)
        words = tuple(str(v.run.folder) for v in views if v.jobs or v.standing.state is State.RUNNING)
        if not words:
            click.echo("nothing waits or runs.")
            return
    cancel(words, runs)


command = Sections("cancel", callback=lambda words, runs, every: main(words, runs, every), help=(
    "Take back the jobs of runs; a training that runs saves a checkpoint first.\n\n"
    "RUN is a run's folder, its name, or a part of it."
))  # fmt: skip
command.params.append(click.Argument(["words"], nargs=-1, metavar="RUN..."))
command.add(
    "Options", RUNS(), click.Option(["--all", "every"], is_flag=True, help="every run that waits or runs below --runs")
)
