"""`launch.py status`: runs and jobs together, live with --watch."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Group
from rich.text import Text

from ganhpc.cli.common_options import RUNS, Number, Sections
from ganhpc.cli.output import say, screen
from ganhpc.core import settings
from ganhpc.core.printable import printable
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import format_duration
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.choice import answering
from ganhpc.launch.submission import job_status
from ganhpc.launch.submission.job_status import KnownJob, RunView
from ganhpc.runs import find_run
from ganhpc.runs.figures import STATE_COLOURS, brief
from ganhpc.runs.run_folder import Run, State

_SHOWN_DONE = 5
"""Finished runs that the table shows, the newest ones; `results` lists them all."""


def show(words: tuple[str, ...], runs: str, watch: bool, every: float, all_runs: bool, as_json: bool) -> None:
    """Print where the runs stand."""
    chosen = find_run.find_runs(words, Path(runs))
    if as_json:
        views, trouble = job_status.look(chosen, answering)
        say(json.dumps({"runs": [view.to_json() for view in views], "trouble": trouble}, indent=1))
        return
    console = screen(highlight=False)
    if not watch:
        console.print(picture(chosen, all_runs or bool(words), runs))
        return
    from rich.live import Live  # the picture alone does without it

    # Ctrl-C is how a person leaves: no mistake, and no error.
    with (
        suppress(KeyboardInterrupt),
        Live(picture(chosen, all_runs or bool(words), runs), console=console, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(every)
            live.update(picture(find_run.find_runs(words, Path(runs)), all_runs or bool(words), runs), refresh=True)


def picture(chosen: Sequence[Run], all_runs: bool, runs: str) -> Group:
    """A block for each run, and sentences on what could not be asked."""
    views, trouble = job_status.look(chosen, answering)
    done = [view for view in views if view.run_status.state is State.DONE]
    if not all_runs:
        newest = sorted(done, key=lambda view: view.run_status.status.get("time") or 0.0)[-_SHOWN_DONE:]
        views = [view for view in views if view not in done or view in newest]
    notes = [Text(printable(sentence), style="yellow") for sentence in trouble]
    if not all_runs and len(done) > _SHOWN_DONE:
        notes.append(
            Text(
                f"and {len(done) - _SHOWN_DONE} more that are done: --all, or `{typed_command('results', runs=Path(runs))}`"
            )
        )
    if not views:
        notes.append(
            Text(
                f"no runs in {runs}: `{typed_command('cifar', '--budget-params', '256k', '--time', '5m', runs=Path(runs))}` makes one."
            )
        )
    return Group(*(block(view) for view in views), *notes)


def block(view: RunView) -> Text:
    """A run: its name and state, and what there is to say under them. No columns, so that commands can be copied."""
    state = view.run_status.state
    text = Text(f"{printable(view.run.title)}  ", style="bold", overflow="fold")
    text.append(Text(state.value, style=STATE_COLOURS.get(state, "")))
    for line in lines(view):
        text.append(f"\n    {printable(line)}", style="not bold")
    return text


def lines(view: RunView) -> list[str]:
    """Status lines of a run: how far it is, why it is in its state, its jobs, what to type next."""
    said = [text for text in (progress(view), view.run_status.reason) if text]
    if view.run_status.state is State.CRASHED:
        said += [f"| {line}" for line in view.run_status.status.get("words", "").splitlines()]
    for known in view.jobs:
        job, slot = known.job, f"job {known.job.id}, segment {known.entry['segment']}"
        why = f": {printable(job.why)}" if job.why else ""
        if job.state is JobState.RUNNING:
            stands = "stands still" if job.why else "running"
            said.append(f"{slot}: {stands}" + (f", ends {when(job.end, clock(known))}" if job.end else "") + why)
        elif job.state is JobState.WAITING:
            start = f", expected to start {when(known.start, clock(known))}" if known.start else ""
            said.append(f"{slot}: waits{start}{why}")
        else:
            said.append(f"{slot}: {job.message or job.state.value}")
    said.append(view.way_on())
    return said


def progress(view: RunView) -> str:
    """Epochs made and planned, and the time left."""
    status, words = view.run_status.status, []
    if (epoch := status.get("epoch")) is not None:
        planned = status.get("epochs_planned")
        words.append(f"epoch {epoch:.2f}" + (f" of {planned:.1f}" if planned else ""))
    if view.time_left is not None and view.run_status.state is not State.DONE:
        words.append(f"{format_duration(round(view.time_left))} left")
    headline, last = status.get("headline", ""), status.get("last") or {}
    if headline in last:
        words.append(f"{headline.replace('_', ' ')} {brief(headline, last[headline])}")
    return ", ".join(words)


def clock(known: KnownJob) -> dt.tzinfo | None:
    """The clock that the plan was printed by: the site's, else that of the record; None: this machine's."""
    if name := settings.load().time_zone:
        return ZoneInfo(name)
    planned = known.entry.get("start")
    return dt.datetime.fromisoformat(planned).tzinfo if planned else None


def when(moment: float, tz: dt.tzinfo | None) -> str:
    """A moment near now, in words: 19:01:00, or Tue 24 Nov 09:01:00."""
    there = dt.datetime.fromtimestamp(moment, tz)
    return f"{there:%H:%M:%S}" if there.date() == dt.datetime.now(tz).date() else f"{there:%a %d %b %H:%M:%S}"


command = Sections(
    "status",
    callback=lambda **values: show(**values),
    help=(
        "Where runs and their jobs stand, and what to type next.\n\nRUN is a run's folder, its name, or a part of it; all runs without one."
    ),
)
command.params.append(click.Argument(["words"], nargs=-1, metavar="[RUN]..."))
command.add(
    "Options",
    RUNS(),
    click.Option(["--watch", "-w"], is_flag=True, help="look again and again, until Ctrl-C"),
    click.Option(
        ["--every"], type=Number(1), default=10.0, show_default=True, metavar="S", help="seconds between two looks"
    ),
    click.Option(["--all", "all_runs"], is_flag=True, help=f"all finished runs too, not only the newest {_SHOWN_DONE}"),
    click.Option(["--json", "as_json"], is_flag=True, help="everything as JSON"),
)
