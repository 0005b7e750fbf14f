"""`launch.py resume RUN`: go on with a run, where it was submitted and under its policy unless told otherwise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ganhpc import lookup, record, site, submit
from ganhpc.cli.params import LAUNCHER, RUNS, Sections
from ganhpc.run import Run
from ganhpc.schedulers.pick import pick


def resume(words: tuple[str, ...], runs: str, on: str | None, policy: str | None, dry_run: bool, **values: Any) -> None:
    """Go on with the runs, each where it was submitted last, else as `auto` finds."""
    found = lookup.find_runs(words, Path(runs))
    groups: dict[tuple[str, str | None], list[Run]] = {}
    for run in found:
        tree = record.read(run)
        groups.setdefault((on or tree.get("scheduler") or "auto", policy or tree.get("policy")), []).append(run)
    for (place, rules), members in groups.items():
        _resume(members, place, rules, dry_run, values["json"], values["now"])


def _resume(members: list[Run], on: str, rules: str | None, dry_run: bool, as_json: bool, now: str | None) -> None:
    settings = site.load()
    scheduler, why = pick(on, settings, dry_run=dry_run)
    console = Console(stderr=as_json, highlight=False)
    if scheduler is None:
        _here(members, console, dry_run)
        return
    from ganhpc.cli import local, remote

    click.echo(f"{scheduler.name}: {why}", err=True)
    place = remote.Place.of(scheduler, rules, now if dry_run else None, settings)
    wanted = [submit.Wanted(run, run.experiment()) for run in members]
    if dry_run:
        submission = submit.prepare(wanted, scheduler, place.policy, place.now, remote.queue_if_here(scheduler))
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
            click.echo(" ".join(local.command_of(run, experiment.resources)))
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
command.add("Options", RUNS(), *LAUNCHER("where it was submitted, else auto", "the one it was submitted under"))
