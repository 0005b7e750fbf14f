"""Launching through a scheduler: plan, print or send, say what comes next."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc.cli.launching import opening
from ganhpc.cli.output import in_markup, say, screen
from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.printable import printable
from ganhpc.core.storage_errors import remove_leftovers
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import format_duration
from ganhpc.datasets import held_data
from ganhpc.datasets.data_path import data_fields
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.schedulers import script_text
from ganhpc.launch.schedulers.base import Job, Scheduler
from ganhpc.launch.submission import night_script
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.launch.submission.submit import SubmittedJob
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run

_MOST_ROUNDS = 20
"""Plans that one launch makes anew, at most, since submitting took its time."""


def launch(
    experiments: Sequence[Experiment],
    runs: Path,
    place: LaunchContext,
    *,
    new: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    segments: int | None = None,
) -> None:
    """Submit the runs under the policy, or print what would be submitted."""
    console = screen(stderr=as_json, highlight=False)
    if dry_run:
        wanted = [submit.Wanted(Run.planned(runs, e, new=new), e, segments) for e in experiments]
        compare_data(wanted)
        queue = queue_if_here(place.scheduler)
        todo, said = to_send(wanted, place.scheduler, queue)
        submission = submit.prepare(todo, place.scheduler, place.policy, place.now, queue)
        submit.check_whole(submission)
        print_dry(submission, console, as_json, said)
        return
    opened = open_runs(runs, experiments, console, new=new, segments=segments)
    send(opened, place, console, as_json=as_json)


@dataclass
class _Round:
    """State of one launch: said and submitted so far."""

    said: list[str]
    parts: list[tuple[submit.Submission, list[SubmittedJob]]] = field(default_factory=list)

    @property
    def sent(self) -> list[SubmittedJob]:
        return [job for _, jobs in self.parts for job in jobs]


def send(
    opened: Sequence[submit.Wanted],
    place: LaunchContext,
    console: Console,
    *,
    as_json: bool = False,
    window: Callable[[Sequence[Job], dt.datetime], Window] | None = None,
    part: bool = False,
    folder: Path | None = None,
    shown: submit.Submission | None = None,
    agree: Callable[[submit.Submission], bool] = lambda _: True,
) -> None:
    """Submit what of the runs is not done, nor submitted, already.

    `window` bounds the plan, by the jobs there are and the moment; `part`: what has no place in it may be left over; `folder`: where
    the plan is written as a script. `shown`: the plan that the user has agreed to. The plan that is submitted is made under the lock
    of the launchers, at that moment; one that differs from `shown` is submitted only where `agree` (which shows it) says so.
    """
    wanted = [w for w in opened if not w.run.is_done()]
    done = [w.run for w in opened if w not in wanted]
    made = _Round([_is_done(run) for run in done])
    fetch_data(wanted, console)
    if folder:
        remove_leftovers(folder)
    while wanted:
        with sending.one_launcher(place.scheduler.name):
            changed = _submit(wanted, place, made, window, part, shown)
            if changed is None and folder and made.sent:
                _keep_script(made, wanted, folder, place)
        if changed is None:
            break
        # Asked without the lock, so that a user who thinks keeps no other launcher waiting.
        if not agree(changed):
            return
        shown = changed
    _print_submitted(made, console, as_json, opened[0].run.runs)


def _keep_script(made: _Round, wanted: Sequence[submit.Wanted], folder: Path, place: LaunchContext) -> None:
    """Write what was submitted as a script. Where there is no room for it, the jobs are submitted all the same, and told of."""
    try:
        night_script.write(submit.joined(made.parts), wanted, folder, place.policy_source, made.sent)
    except UserError as error:
        made.said.append(f"the jobs are submitted; the night's script could not be written: {error}")


def _is_done(run: Run) -> str:
    return f"{run} is done already: `{typed_command('results', runs=run.runs)}` shows it, --new trains it afresh."


def to_send(
    wanted: Sequence[submit.Wanted], scheduler: Scheduler, queue: Sequence[Job], *, noting: bool = False
) -> tuple[list[submit.Wanted], list[str]]:
    """(what of planned runs a submission would send at this moment, sentences on the rest). `noting` as in `submit.survey`; else nothing
    is written."""
    left = [w for w in wanted if not w.run.is_done()]
    said = [_is_done(w.run) for w in wanted if w.run.is_done()]
    if not scheduler.found.here:
        return left, said
    todo, living = sending.survey(left, queue, scheduler.origin, noting=noting)
    return todo, [*said, *living]


def _submit(
    wanted: Sequence[submit.Wanted],
    place: LaunchContext,
    made: _Round,
    window: Callable[[Sequence[Job], dt.datetime], Window] | None,
    part: bool,
    shown: submit.Submission | None,
) -> submit.Submission | None:
    """Plan and submit until nothing is left to submit; returns the plan, unsent, where it is not the one that was `shown`.

    Under the lock, and the clock is read behind all that may have taken time. Where submitting itself takes so long that what is left
    of the plan lies in the past, that part is planned again.
    """
    for _ in range(_MOST_ROUNDS):
        queue = place.scheduler.queue()
        todo, living = sending.survey(wanted, queue, place.scheduler.origin)
        made.said += [] if made.parts else living
        if not todo:
            return None
        now = place.now
        bounds = window(queue, now) if window else None
        submission = submit.prepare(todo, place.scheduler, place.policy, now, queue, bounds)
        _check(submission, todo, part)
        if shown and submit.differs(submission, shown):
            return submission
        sent = sending.send(submission, todo, place.policy_source, lambda: place.now)
        made.parts.append((submission, sent))
        if len(sent) == len(submission.jobs):
            return None
        shown = submit.without(shown, len(sent)) if shown else None
    raise BusyError(
        "submitting takes longer than the plan allows: type the command again once the scheduler answers faster."
    )


def _print_submitted(made: _Round, console: Console, as_json: bool, runs: Path) -> None:
    """Print what was submitted and what to type next."""
    submission = submit.joined(made.parts) if made.parts else None
    if as_json:
        say(json.dumps({**_tree(submission), "sent": [job.id for job in made.sent], "said": made.said}, indent=1))
        return
    print_lines(made.said, console)
    if submission and made.sent:
        console.print(timeline(submission, made.sent))
        console.print(_asks(submission), soft_wrap=True, markup=False)
        print_remaining(submission, console)
        status, logs = typed_command("status", "--watch", runs=runs), typed_command("logs", "RUN", "-f", runs=runs)
        console.print(
            f"next: `{status}` follows them; `{logs}` reads along.",
            markup=False,
            soft_wrap=True,
        )


def _tree(submission: submit.Submission | None) -> dict[str, Any]:
    return submission.to_json() if submission else {"slots": [], "remaining": []}


def _check(submission: submit.Submission, wanted: Sequence[submit.Wanted], part: bool) -> None:
    if part and submission.plan.slots:
        return
    try:
        submit.check_whole(submission)
    except UserError as error:
        sending.note_refused(wanted, error)
        raise


def open_runs(
    runs: Path, experiments: Sequence[Experiment], console: Console, *, new: bool, segments: int | None = None
) -> list[submit.Wanted]:
    """The runs with their folders made, and seen to have the pictures that they began with, done or not. Raises UserError."""
    seen: dict[str, held_data.Contents] = {}
    opened = [submit.Wanted(opening.open_run(runs, e, seen, new=new), e, segments) for e in experiments]
    for w in opened:
        opening.hold_data(w.run, w.experiment, console, seen)
    return opened


def compare_data(wanted: Sequence[submit.Wanted]) -> None:
    """The same of planned runs, without writing anything."""
    seen: dict[str, held_data.Contents] = {}
    for w in wanted:
        opening.compare_data(w.run, w.experiment, seen)


def fetch_data(wanted: Sequence[submit.Wanted], console: Console) -> None:
    """Nodes have no way out to the internet, mostly: fetch here what can be fetched."""
    sets = {}
    for experiment in (w.experiment for w in wanted):
        words = tuple(experiment.definition[field] for field in data_fields(experiment.definition))
        sets[words, experiment.resources.data_root] = experiment
    for experiment in sets.values():
        opening.ensure_data(experiment, console)


def queue_if_here(scheduler: Scheduler) -> list[Job]:
    """The living jobs, where the scheduler is here at all: a dry run works without it."""
    return scheduler.queue() if scheduler.found.here else []


def print_dry(submission: submit.Submission, console: Console, as_json: bool, said: Sequence[str] = ()) -> None:
    """Sentences on what would not be sent, then the plan, and every script and command, as they would be."""
    if as_json:
        say(json.dumps({**submission.to_json(), "said": list(said)}, indent=1))
        return
    print_lines(said, console)
    if said and not submission.jobs and not submission.plan.remaining:
        return
    console.print(timeline(submission))
    console.print(_asks(submission), soft_wrap=True, markup=False)
    print_remaining(submission, console)
    for job in submission.jobs:
        say(f"\n# {script_text.comment(str(job.script_path))}\n{job.script.rstrip()}\n\n$ {job.command}")


def print_lines(said: Sequence[str], console: Console) -> None:
    """Print sentences, each on lines of its own."""
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True)


def _asks(submission: submit.Submission) -> str:
    """Resources that each job asks for, in a sentence."""
    if not submission.scheduler.command or not submission.jobs:
        return ""
    request, site = submission.jobs[0].request, submission.scheduler.site
    gpus = f"{request.gpus_per_node or 'no'} GPU{'s' * (request.gpus_per_node > 1)}"
    usual = request.gpus_per_node and (request.typed_gpus, site.gpus_per_node) == (None, None)
    usual = usual and submission.scheduler.own_gpus() is None
    way = "; --device cpu asks for none, gpus_per_node in the settings for others" if usual else ""
    if own := submission.scheduler.asked_resources(request):
        return f"each job asks for {own}."
    return f"each job asks for {request.nodes} node{'s' * (request.nodes > 1)} with {gpus}{' each' * (request.nodes > 1)}{way}."


def print_remaining(submission: submit.Submission, console: Console) -> None:
    """Print the rest of the runs that the plan has no place for."""
    for left in submission.plan.remaining:
        console.print(
            f"[yellow]left[/]  {format_duration(left.seconds)} of {in_markup(left.run)}: {in_markup(left.reason)}",
            soft_wrap=True,
        )


def timeline(submission: submit.Submission, sent: Sequence[SubmittedJob] = ()) -> Table:
    """The slots of a plan in order, with why each begins and ends where it does. Reads well from 80 columns on."""
    policy = submission.policy
    table = Table(
        title=in_markup(
            f"{submission.scheduler.title}, policy {policy.name}{f': {policy.title}' if policy.title else ''}"
        ),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("job" if sent else "", justify="right", no_wrap=True)
    table.add_column("from - to", no_wrap=True)
    table.add_column("run, and why then", overflow="fold")
    day = None
    for k, slot in enumerate(submission.plan.slots):
        date = f"{slot.start:%a %d %b %Y}"
        if date != day:
            table.add_row("", Text(date, style="bold"), "")
        note = sent[k].note if sent else ""
        why = f"{slot.reason} {note[:1].upper()}{note[1:]}." if note else slot.reason
        run = Text(printable(Run(submission.jobs[k].request.run).title), style="cyan").append(
            f", segment {slot.segment}, {format_duration(slot.seconds)} ({slot.kind})", style="default"
        )
        table.add_row(
            sent[k].id if sent else str(k + 1),
            slot.times,
            run + Text(f"\n{why}", style="dim"),
        )
        day = date
    return table
