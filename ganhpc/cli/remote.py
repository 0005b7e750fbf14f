"""Launching through a scheduler: plan, print or send, say what comes next."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ganhpc import submit
from ganhpc.errors import UserError
from ganhpc.experiment import Experiment
from ganhpc.policy import Policy, load_policy
from ganhpc.run import Run
from ganhpc.schedulers.base import Job, Scheduler
from ganhpc.site import Site
from ganhpc.units import format_duration


def policy_of(name: str | None, site: Site, scheduler: Scheduler | None) -> Policy:
    """The policy in force: named, configured, or student on a scheduler and none on this machine."""
    return load_policy(name or site.policy or ("student" if scheduler else "none"), [Path.cwd() / "policies"])


def moment(text: str | None, site: Site) -> dt.datetime:
    """`--now`, else the present. A time without an offset is the site's wall clock. Raises UserError."""
    tz = submit.zone(site)
    if text is None:
        return dt.datetime.now(tz)
    try:
        given = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"--now {text!r} is not a moment: write it as 2026-11-23T17:30:00, with an offset or on the site's clock."
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=tz)


def launch(
    experiments: Sequence[Experiment],
    runs: Path,
    scheduler: Scheduler,
    policy: Policy,
    now: dt.datetime,
    *,
    new: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Submit the runs under the policy, or print what would be submitted."""
    console = Console(stderr=as_json, highlight=False)
    if dry_run:
        wanted = [submit.Wanted(Run.planned(runs, e, new=new), e) for e in experiments]
        submission = submit.prepare(wanted, scheduler, policy, now, _queue_if_here(scheduler))
        submit.check_whole(submission)
        print_dry(submission, console, as_json)
        return
    wanted = [
        submit.Wanted(run, e) for e in experiments if not (run := Run.open(runs, e, new=new)).result_json.exists()
    ]
    if not wanted:
        console.print(
            "[green]all of it is done already[/]: `python launch.py results` shows it, --new trains it afresh."
        )
        return
    _fetch_data(wanted, console)
    with submit.one_launcher(scheduler.name):
        queue = scheduler.queue()
        submit.refuse_submitted(wanted, queue)
        submission = submit.prepare(wanted, scheduler, policy, now, queue)
        submit.check_whole(submission)
        ids = submit.send(submission, wanted)
    if as_json:
        click.echo(json.dumps({**submission.to_json(), "ids": ids}, indent=1))
        return
    console.print(timeline(submission, ids))
    console.print("next: `python launch.py status --watch` follows them; `python launch.py logs RUN -f` reads along.")


def _fetch_data(wanted: Sequence[submit.Wanted], console: Console) -> None:
    """Nodes have no way out to the internet, mostly: fetch here what can be fetched."""
    from ganhpc.cli.local import ensure_data

    for experiment in {(w.experiment.data, w.experiment.resources.data_root): w.experiment for w in wanted}.values():
        ensure_data(experiment, console)


def _queue_if_here(scheduler: Scheduler) -> list[Job]:
    return scheduler.queue() if scheduler.find().here else []


def print_dry(submission: submit.Submission, console: Console, as_json: bool) -> None:
    """The plan, then every script and command, as they would be sent."""
    if as_json:
        click.echo(json.dumps(submission.to_json(), indent=1))
        return
    console.print(timeline(submission))
    for job in submission.jobs:
        click.echo(f"\n# {job.script_path}\n{job.script.rstrip()}\n\n$ {job.command}")


def timeline(submission: submit.Submission, ids: Sequence[str] = ()) -> Table:
    """The slots of a plan in order, with why each begins and ends where it does."""
    table = Table(
        title=f"{submission.scheduler.name}, policy {submission.policy.name}: {submission.policy.title}",
        title_justify="left",
    )
    table.add_column("job" if ids else "", no_wrap=True)
    for name in ("start", "end", "length", "run", "segment", "kind"):
        table.add_column(name, no_wrap=name in ("start", "end", "length"), overflow="fold")
    table.add_column("why", overflow="fold")
    day = None
    for k, slot in enumerate(submission.plan.slots):
        date = f"{slot.start:%a %d %b}"
        table.add_row(
            ids[k] if ids else str(k + 1),
            (f"{date} " if date != day else "") + f"{slot.start:%H:%M:%S}",
            f"{slot.end:%H:%M:%S}",
            format_duration(slot.seconds),
            slot.run,
            str(slot.segment),
            slot.kind,
            slot.reason,
        )
        day = date
    return table
