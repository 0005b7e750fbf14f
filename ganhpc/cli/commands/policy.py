"""`launch.py policy`: the rules in force, as sentences; and whether a run keeps them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from ganhpc.cli.common_options import RUNS, Sections
from ganhpc.cli.output import say
from ganhpc.core import settings as site
from ganhpc.core.errors import UserError
from ganhpc.core.units import counted
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.policy import Policy, explain, format_seconds, packaged_policies
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.schedulers.choice import pick
from ganhpc.launch.schedulers.registry import CHOICES, named
from ganhpc.launch.submission import policy_choice
from ganhpc.launch.submission import prepare as submit
from ganhpc.runs.find_run import find_run


def show(name: str | None, on: str, now: str | None, checked: str | None, runs: str, as_json: bool) -> None:
    """Explain the policy `name`, or the one in force; with `checked`, say whether that run may be submitted as one job."""
    settings = site.load()
    scheduler, why = pick(on, settings, dry_run=True)
    here = scheduler or named("local", settings)
    if checked:
        _check(name, checked, Path(runs), here, settings, now, on)
        return
    policy = policy_choice.choose(name, settings, here).policy
    if as_json:
        say(json.dumps({"in_force": not name, "sentences": explain(policy), **_plain(policy)}, indent=1))
        return
    if not name:
        source = (
            f"configured in {settings.path}"
            if settings.policy
            else f"the default on {scheduler.name if scheduler else 'this machine'}"
        )
        say(f"In force: {policy.name} ({source}; {why}).")
    for sentence in explain(policy):
        say(sentence)
    say(f"Others: {', '.join(p for p in packaged_policies() if p != policy.name)}, or the path of a TOML file.")


def _plain(policy: Policy) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(policy), default=str))
    return tree


def _check(
    name: str | None, word: str, runs: Path, known: Scheduler, settings: site.Settings, now: str | None, on: str
) -> None:
    from ganhpc.cli.launching import scheduler_launch
    from ganhpc.launch.submission.launch_context import LaunchContext

    run = find_run(word, runs)
    choice = policy_choice.choose(name, settings, known, run)
    if choice.note:
        say(choice.note, err=True)
    place = LaunchContext.under(choice, known, now, settings)
    policy, tz, moment = place.policy, place.tz, place.now
    queue = scheduler_launch.queue_if_here(known)
    wanted = submit.Wanted(run, run.experiment())
    seconds = submit.seconds_to_go(wanted, policy)
    # What a submission would refuse, such as options of the settings that set the time, is refused here too.
    submission = submit.prepare([wanted], known, policy, moment, queue)
    broken = check(Request(moment, seconds), policy, tz, moment, [submit.busy_of(job, moment) for job in queue])
    if not broken:
        say(f"{run} may be submitted now, as one job of {format_seconds(seconds)}.")
        return
    say(f"{run} may not be submitted now as one job of {format_seconds(seconds)}:")
    for violation in broken:
        say(f"- {violation.sentence[:1].upper()}{violation.sentence[1:]}.")
    if nearest := broken[0].nearest:
        say(
            f"The nearest job that passes starts on {nearest.start:%a %d %b %H:%M:%S} for {format_seconds(nearest.seconds)}."
        )
    slots = submission.plan.slots
    if slots and not submission.plan.remaining:
        asked = [*(() if on == "auto" else ("--on", on)), *(("--policy", name) if name else ())]
        first, last = slots[0].start, slots[-1].end
        say(
            f"In {counted(len(slots), 'job')} it passes, from {first:%a %d %b %H:%M:%S} to {last:%a %d %b %H:%M:%S}: "
            f"{run.command('resume', *asked)}"
        )
    else:
        raise UserError("no number of jobs makes it pass: " + submission.plan.remaining[0].reason)


command = Sections(
    "policy",
    callback=lambda **values: show(**values),
    help=(
        "The rules for jobs, as sentences: those of NAME (a packaged policy, or the path of a TOML file), or those in force."
    ),
)
command.params.append(click.Argument(["name"], required=False, metavar="[NAME]"))
command.add(
    "Options",
    click.Option(
        ["--check", "checked"],
        metavar="RUN",
        help="say whether this run may be submitted now, every rule in its way, and what would pass",
    ),
    RUNS(),
    click.Option(
        ["--on"],
        type=click.Choice(CHOICES),
        envvar="GANHPC_ON",
        default="auto",
        help="the place whose rules are meant  [default: auto]",
    ),
    click.Option(["--now"], metavar="ISO", help="as if it were this moment"),
    click.Option(["--json", "as_json"], is_flag=True, help="the values as JSON"),
)
