"""`launch.py resume RUN`: go on with a run, where it was submitted, unless told otherwise, and under the policy of that place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ganhpc.cli.common_options import LAUNCHER, PLACE, RUNS, Sections
from ganhpc.cli.output import say, screen
from ganhpc.core import settings as site
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.schedulers.choice import pick
from ganhpc.launch.schedulers.registry import CHOICES
from ganhpc.launch.schedulers.typed_requests import asked, in_words, remembered
from ganhpc.launch.submission import policy_choice
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.runs import find_run, submission_record
from ganhpc.runs.run_folder import Run


def resume(words: tuple[str, ...], runs: str, on: str | None, policy: str | None, dry_run: bool, **values: Any) -> None:
    """Go on with the runs, each where it was submitted last, else as `auto` finds."""
    found = find_run.find_runs(words, Path(runs))
    settings = site.load()
    places: dict[tuple[str, tuple[tuple[str, str], ...]], list[Run]] = {}
    for run in found:
        record = submission_record.read(run)
        recorded = record.get("scheduler")
        place = on or (recorded if recorded in CHOICES else None) or "auto"
        asks = remembered(record.get("asked", {}), values) if place == recorded else {}
        places.setdefault((place, tuple(asks.items())), []).append(run)
    for (place, kept), members in places.items():
        scheduler, why = pick(place, settings, dry_run=dry_run)
        again = dict(kept) if scheduler and all(policy_choice.may_decide(run, scheduler) for run in members) else {}
        if again:
            say(
                f"{', '.join(run.name for run in members)}: {in_words(again)}, as it was submitted; typed anew, it changes",
                err=True,
            )
        asked(scheduler, {**values, **again})
        console = screen(stderr=values["json"], highlight=False)
        if scheduler is None:
            _here(members, console, dry_run)
            continue
        say(f"{scheduler.name}: {why}", err=True)
        for choice, same in _by_policy(members, policy, settings, scheduler):
            under = LaunchContext.under(choice, scheduler, values["now"] if dry_run else None, settings)
            _resume(same, under, dry_run, console, values["json"])


def _by_policy(
    members: list[Run], typed: str | None, settings: site.Settings, scheduler: Scheduler
) -> list[tuple[policy_choice.Choice, list[Run]]]:
    """The runs by the policy under which they go on."""
    groups: dict[str, tuple[policy_choice.Choice, list[Run]]] = {}
    for run in members:
        choice = policy_choice.choose(typed, settings, scheduler, run)
        if choice.note:
            say(choice.note, err=True)
        groups.setdefault(choice.name, (choice, []))[1].append(run)
    return list(groups.values())


def _resume(members: list[Run], place: LaunchContext, dry_run: bool, console: Console, as_json: bool) -> None:
    from ganhpc.cli.launching import opening, scheduler_launch

    wanted = [submit.Wanted(run, run.experiment()) for run in members]
    if dry_run:
        for w in wanted:
            opening.compare_again(w.run, w.experiment)
        queue = scheduler_launch.queue_if_here(place.scheduler)
        todo, said = scheduler_launch.to_send(wanted, place.scheduler, queue)
        submission = submit.prepare(todo, place.scheduler, place.policy, place.now, queue)
        scheduler_launch.print_dry(submission, console, as_json, said)
    else:
        for w in wanted:
            opening.hold_again(w.run, w.experiment, console)
        scheduler_launch.send(wanted, place, console, as_json=as_json)


def _here(members: list[Run], console: Console, dry_run: bool) -> None:
    from ganhpc.cli.launching import local_launch, opening
    from ganhpc.cli.views.run_summary import show_run

    worst = 0
    for run in members:
        experiment = run.experiment()
        if dry_run:
            opening.compare_again(run, experiment)
            say(" ".join(local_launch.command_of(run, experiment)))
            continue
        opening.hold_again(run, experiment, console)
        code = 0 if run.is_done() else local_launch.train(run, experiment, console)
        worst = max(worst, code)
        show_run(run, console, explained=bool(code))
        if code in local_launch.STOPPED:
            break
    if worst:
        sys.exit(worst)


command = Sections(
    "resume",
    callback=lambda **values: resume(**values),
    help=("Go on with runs, from their last checkpoints.\n\nRUN is a run's folder, its name, or a part of it."),
)
command.params.append(click.Argument(["words"], nargs=-1, required=True, metavar="RUN..."))
command.add(
    "Options",
    RUNS(),
    *LAUNCHER(
        "where it was submitted, else auto", "the place's; the one it was submitted under there where that is no laxer"
    ),
)
command.add("On a cluster", *PLACE())
