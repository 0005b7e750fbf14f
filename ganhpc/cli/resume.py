"""`launch.py resume RUN`: go on with a run, where it was submitted, unless told otherwise, and under the policy of that place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ganhpc import lookup, policy_choice, record, site, submit
from ganhpc.cli.output import say, screen
from ganhpc.cli.params import LAUNCHER, PLACE, RUNS, Sections
from ganhpc.run import Run
from ganhpc.schedulers.base import Scheduler
from ganhpc.schedulers.pick import CHOICES, pick
from ganhpc.schedulers.typed import asked

if TYPE_CHECKING:
    from ganhpc.cli.remote import Place


def resume(words: tuple[str, ...], runs: str, on: str | None, policy: str | None, dry_run: bool, **values: Any) -> None:
    """Go on with the runs, each where it was submitted last, else as `auto` finds."""
    from ganhpc.cli import remote

    found = lookup.find_runs(words, Path(runs))
    settings = site.load()
    places: dict[str, list[Run]] = {}
    for run in found:
        recorded = record.read(run).get("scheduler")
        places.setdefault(on or (recorded if recorded in CHOICES else None) or "auto", []).append(run)
    for place, members in places.items():
        scheduler, why = pick(place, settings, dry_run=dry_run)
        asked(scheduler, values)
        console = screen(stderr=values["json"], highlight=False)
        if scheduler is None:
            _here(members, console, dry_run)
            continue
        say(f"{scheduler.name}: {why}", err=True)
        for choice, same in _by_policy(members, policy, settings, scheduler):
            under = remote.Place.under(choice, scheduler, values["now"] if dry_run else None, settings)
            _resume(same, under, dry_run, console, values["json"])


def _by_policy(
    members: list[Run], typed: str | None, settings: site.Site, scheduler: Scheduler
) -> list[tuple[policy_choice.Choice, list[Run]]]:
    """The runs by the policy under which they go on."""
    groups: dict[str, tuple[policy_choice.Choice, list[Run]]] = {}
    for run in members:
        choice = policy_choice.choose(typed, settings, scheduler, run)
        if choice.note:
            say(choice.note, err=True)
        groups.setdefault(choice.name, (choice, []))[1].append(run)
    return list(groups.values())


def _resume(members: list[Run], place: Place, dry_run: bool, console: Console, as_json: bool) -> None:
    from ganhpc.cli import local, remote

    wanted = [submit.Wanted(run, run.experiment()) for run in members]
    if dry_run:
        queue = remote.queue_if_here(place.scheduler)
        submission = submit.prepare(wanted, place.scheduler, place.policy, place.now, queue)
        remote.print_dry(submission, console, as_json)
    else:
        for w in wanted:
            local.hold_again(w.run, w.experiment, console)
        remote.send(wanted, place, console, as_json=as_json)


def _here(members: list[Run], console: Console, dry_run: bool) -> None:
    from ganhpc.cli import local
    from ganhpc.cli.show import show_run

    worst = 0
    for run in members:
        experiment = run.experiment()
        if dry_run:
            say(" ".join(local.command_of(run, experiment.resources)))
            continue
        local.hold_again(run, experiment, console)
        if not run.result_json.exists():
            worst = max(worst, local.train(run, experiment, console))
        show_run(run, console)
    if worst:
        sys.exit(worst)


command = Sections("resume", callback=lambda **values: resume(**values), help=(
    "Go on with runs, from their last checkpoints.\n\nRUN is a run's folder, its name, or a part of it."
))  # fmt: skip
command.params.append(click.Argument(["words"], nargs=-1, required=True, metavar="RUN..."))
command.add(
    "Options",
    RUNS(),
    *LAUNCHER(
        "where it was submitted, else auto", "the place's; the one it was submitted under there where that is no laxer"
    ),
)
command.add("On a cluster", *PLACE())
