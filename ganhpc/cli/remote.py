"""Launching through a scheduler: plan, print or send, say what comes next."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc import script, script_text, sending, submit
from ganhpc.data import held_data
from ganhpc.errors import UserError
from ganhpc.experiment import Experiment
from ganhpc.policy import Policy, load_policy
from ganhpc.run import Run
from ganhpc.schedulers.base import SAID, Job, Scheduler
from ganhpc.sending import Sent
from ganhpc.site import Site
from ganhpc.units import format_duration
from ganhpc.window import Window


@dataclass(frozen=True)
class Place:
    """Where and under which rules a command launches, and at which moment."""

    scheduler: Scheduler
    policy: Policy
    policy_source: str
    """What names the policy, for a later command: a name, or a file's whole path."""
    now: dt.datetime
    tz: dt.tzinfo

    @staticmethod
    def of(scheduler: Scheduler, policy: str | None, now: str | None, site: Site, default: str = "student") -> Place:
        """The policy is the named one, the configured one, or `default`. Raises UserError for what can't be read."""
        name = policy or site.policy or default
        loaded = load_policy(name, [Path.cwd() / "policies"])
        tz = submit.zone(site, loaded)
        source = str(Path(name).resolve()) if name.endswith(".toml") or "/" in name else name
        return Place(scheduler, loaded, source, moment(now, tz), tz)


def moment(text: str | None, tz: dt.tzinfo, option: str = "--now") -> dt.datetime:
    """A moment from the command line, else the present. Without an offset it is the site's wall clock. Raises UserError."""
    if text is None:
        return dt.datetime.now(tz)
    try:
        given = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{option} {text!r} is not a moment: write it as 2026-11-23T17:30:00, with an offset or on the site's clock."
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=tz)


def launch(
    experiments: Sequence[Experiment],
    runs: Path,
    place: Place,
    *,
    new: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    segments: int | None = None,
) -> None:
    """Submit the runs under the policy, or print what would be submitted."""
    console = Console(stderr=as_json, highlight=False)
    if dry_run:
        wanted = [submit.Wanted(Run.planned(runs, e, new=new), e, segments) for e in experiments]
        for w in wanted:
            held_data.compare(w.run.folder, w.experiment.definition, finished=w.run.result_json.exists())
        submission = submit.prepare(wanted, place.scheduler, place.policy, place.now, queue_if_here(place.scheduler))
        submit.check_whole(submission)
        print_dry(submission, console, as_json)
        return
    opened = [submit.Wanted(Run.open(runs, e, new=new), e, segments) for e in experiments]
    hold_data(opened, console)
    send(opened, place, console, as_json=as_json)


def send(
    opened: Sequence[submit.Wanted],
    place: Place,
    console: Console,
    *,
    as_json: bool = False,
    window: Callable[[Sequence[Job]], Window] | None = None,
    part: bool = False,
    folder: Path | None = None,
) -> None:
    """Submit what of the runs is not done, nor submitted, already.

    `window` bounds the plan, by the jobs there are; `part`: what has no place in it may be left over; `folder`: where the plan is
    written as a script.
    """
    wanted = [w for w in opened if not w.run.result_json.exists()]
    said = [
        f"{w.run} is done already: `python launch.py results` shows it, --new trains it afresh."
        for w in opened
        if w not in wanted
    ]
    fetch_data(wanted, console)
    submission, sent = None, []
    if wanted:
        with sending.one_launcher(place.scheduler.name):
            queue = place.scheduler.queue()
            wanted, living = sending.survey(wanted, queue, place.scheduler.origin)
            said += living
            if wanted:
                submission = submit.prepare(
                    wanted, place.scheduler, place.policy, place.now, queue, window(queue) if window else None
                )
                _check(submission, wanted, part)
                sent = sending.send(submission, wanted, place.policy_source)
                if folder:
                    script.write(submission, wanted, folder, place.policy_source, sent)
    if as_json:
        click.echo(json.dumps({**_tree(submission), "sent": [job.id for job in sent], "said": said}, indent=1))
        return
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True)
    if submission and sent:
        console.print(timeline(submission, sent))
        say_remaining(submission, console)
        console.print(
            "next: `python launch.py status --watch` follows them; `python launch.py logs RUN -f` reads along."
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


def hold_data(opened: Sequence[submit.Wanted], console: Console) -> None:
    """See that the pictures of the runs are those that they began with, done or not. Raises UserError."""
    from ganhpc.cli import local

    seen: dict[str, held_data.Contents] = {}
    for w in opened:
        local.hold_data(w.run, w.experiment, console, seen)


def fetch_data(wanted: Sequence[submit.Wanted], console: Console) -> None:
    """Nodes have no way out to the internet, mostly: fetch here what can be fetched."""
    from ganhpc.cli.local import ensure_data

    for experiment in {(w.experiment.data, w.experiment.resources.data_root): w.experiment for w in wanted}.values():
        ensure_data(experiment, console)


def queue_if_here(scheduler: Scheduler) -> list[Job]:
    """The living jobs, where the scheduler is here at all: a dry run works without it."""
    return scheduler.queue() if scheduler.found.here else []


def print_dry(submission: submit.Submission, console: Console, as_json: bool) -> None:
    """The plan, then every script and command, as they would be sent."""
    if as_json:
        click.echo(json.dumps(submission.to_json(), indent=1))
        return
    console.print(timeline(submission))
    say_remaining(submission, console)
    for job in submission.jobs:
        click.echo(f"\n# {script_text.comment(str(job.script_path))}\n{job.script.rstrip()}\n\n$ {job.command}")


def say_remaining(submission: submit.Submission, console: Console) -> None:
    """What of the runs the plan has no place for."""
    for left in submission.plan.remaining:
        console.print(f"[yellow]left[/]  {format_duration(left.seconds)} of {left.run}: {left.reason}", soft_wrap=True)


def timeline(submission: submit.Submission, sent: Sequence[Sent] = ()) -> Table:
    """The slots of a plan in order, with why each begins and ends where it does. Reads well from 80 columns on."""
    policy = submission.policy
    table = Table(
        title=f"{SAID[submission.scheduler.name]}, policy {policy.name}{f': {policy.title}' if policy.title else ''}",
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
        experiment = submission.jobs[k].request.run.parent.name
        run = Text(f"{experiment}/{slot.run}", style="cyan").append(
            f", segment {slot.segment}, {format_duration(slot.seconds)} ({slot.kind})", style="default"
        )
        table.add_row(
            sent[k].id if sent else str(k + 1),
            f"{slot.start:%H:%M:%S} - {slot.end:%H:%M:%S}",
            run + Text(f"\n{why}", style="dim"),
        )
        day = date
    return table
