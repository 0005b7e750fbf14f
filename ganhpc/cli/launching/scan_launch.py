"""Scans on the command line: read, recorded, run in order or as jobs, and what failed."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ganhpc.cli.launching import local_launch, opening, scheduler_launch
from ganhpc.cli.output import say, screen
from ganhpc.cli.views.scan_preview import Planned, planned, show
from ganhpc.core import settings as site
from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.datasets import held_data
from ganhpc.launch.schedulers.choice import pick
from ganhpc.launch.schedulers.registry import named
from ganhpc.launch.schedulers.typed_requests import asked
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.runs.experiment import Experiment, from_typed, options
from ganhpc.runs.run_folder import State
from ganhpc.scans import grid, scan_record
from ganhpc.scans.grid import Grid


def read(cls: type[Experiment], values: dict[str, Any]) -> tuple[Grid, Experiment]:
    """(the scan that was typed, the definition around it). Raises UserError where a scanned option is typed as well."""
    if not values["scans"]:
        raise UserError("--zip pairs the values of scanned options: add --scan FIELD=V1,V2.")
    found = grid.read(cls, values["scans"], zipped=values["zipped"])
    scanned = {axis.option.name: axis.option for axis in found.axes}
    known = {option.name for option in options(cls)}  # others are names in braces of a program's arguments
    for name, option in scanned.items():
        if name in known and values.get(name) is not None:
            raise UserError(f"{option.flag} is both given and scanned: leave out one of the two.")
    return found, from_typed(cls, values, values["preset"] or found.preset or "default", scanned=scanned)


def launch(cls: type[Experiment], values: dict[str, Any]) -> None:
    """Say what the scan will run; then run it here, submit it, or with --dry-run leave it at that."""
    found, base = read(cls, values)
    runs, dry_run, as_json = Path(values["runs"]), values["dry_run"], values["json"]
    settings = site.load()
    scheduler, why = pick(values["on"], settings, dry_run=dry_run)
    asked(scheduler, values)
    if values["now"] and not dry_run:
        raise UserError("--now plans from another moment and can't start anything: add --dry-run, or leave it out.")
    plan = planned(found, base, values["seeds"], runs, new=values["new"])
    _require_data(plan)
    console = screen(stderr=as_json, highlight=False)
    console.print(f"{scheduler.name if scheduler else 'this machine'}: {why}", soft_wrap=True, markup=False)
    here = scheduler or named("local", settings)
    place = LaunchContext.of(here, values["policy"], values["now"], settings)
    show(plan, place, console)
    if scheduler is None:
        _here(plan, runs, values, console)
    else:
        _remote(plan, place, values, console)


# -- on this machine ----------------------------------------------------------------------------------------------------


def _here(plan: Planned, runs: Path, values: dict[str, Any], console: Console) -> None:
    if values["dry_run"]:
        if values["json"]:
            plans = [local_launch.plan(e, runs, new=values["new"]) for e in plan.experiments]
            say(json.dumps({"scan": plan.to_json(), "runs": plans}, indent=1))
        return
    for e in plan.experiments:
        local_launch.processes(e)
    kept = record(plan, runs)
    code, failed, stopped = _train_all(plan, runs, console, new=values["new"])
    if values["json"]:
        from ganhpc.analysis.results.rows import row

        print(json.dumps([row(run) for run in plan.runs if run.experiment_json.exists()], indent=1))
    console.print(_closing(plan, runs, kept, failed, stopped=stopped), soft_wrap=True, markup=False)
    if code:
        sys.exit(code)


def _require_data(plan: Planned) -> None:
    """Raise UserError, before anything is written, where no run of the scan has its pictures."""
    errors, seen = [], dict[str, held_data.Contents]()
    for run, e in zip(plan.runs, plan.experiments, strict=True):
        try:
            if not run.experiment_json.exists():
                held_data.require(e.definition, seen)
            return
        except UserError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def record(plan: Planned, runs: Path) -> scan_record.Scan:
    """Write the scan down, before the first of its runs starts."""
    seeds = len({e.seed for e in plan.experiments})
    return scan_record.record(plan.grid.record(plan.base, seeds, runs, [run.name for run in plan.runs]))


def _train_all(plan: Planned, runs: Path, console: Console, *, new: bool) -> tuple[int, list[str], bool]:
    """Train what is not done, in order. Returns (the worst exit code, what failed, whether the user stopped it)."""
    worst = 0
    failed: list[str] = []
    seen: dict[str, held_data.Contents] = {}
    for k, (e, state) in enumerate(zip(plan.experiments, plan.states, strict=True)):
        if state is not State.DONE:
            console.print(f"run {k + 1} of {len(plan.runs)}")
        signals: list[int] = []
        try:
            looked = seen if state is State.DONE else {}
            run = opening.open_run(runs, e, looked, new=new)
            opening.hold_data(run, e, console, looked)
            # Another launcher of the same scan may have done it meanwhile.
            code = 0 if run.is_done() else local_launch.train(run, e, console, signals)
            why = "" if code == 0 else str(run.run_status().state)
        except UserError as error:
            console.print(f"Error: {error}", soft_wrap=True, markup=False)
            code, why = error.exit_code, "running elsewhere" if isinstance(error, BusyError) else "refused"
        except KeyboardInterrupt:  # between two trainings
            signals, code, why = [signal.SIGINT], 0, ""
        worst = max(worst, code)
        if signals:
            return 128 + signals[0], failed, True
        if code:
            failed.append(f"{plan.runs[k].name} ({why})")
    return worst, failed, False


def _closing(plan: Planned, runs: Path, kept: scan_record.Scan, failed: Sequence[str], *, stopped: bool) -> str:
    """One sentence on how the scan ended, and what to type next."""
    done = sum(run.is_done() for run in plan.runs)
    head = f"scan {kept.name}: {done} of {counted(len(plan.runs), 'run')} done"
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        head += f"; not done: {', '.join(failed[:5])}{more}"
    if stopped or failed:
        return f"{head}; {'stopped, and ' * stopped}the same command goes on: {local_launch.again()}"
    commands = (("results", "--scan", kept.name), ("board", kept.name), ("report", kept.name))
    return f"{head}; next: {', '.join(f'`{typed_command(*words, runs=runs)}`' for words in commands)}."


# -- through a scheduler ------------------------------------------------------------------------------------------------


def _remote(plan: Planned, place: LaunchContext, values: dict[str, Any], console: Console) -> None:
    runs, new = Path(values["runs"]), values["new"]
    if values["segments"] and plan.base.budget.time is not None:
        raise UserError("--segments is for runs bounded by --epochs alone: --time says how many jobs there are.")
    if values["dry_run"]:
        _print_dry(plan, place, values, console)
        return
    kept = record(plan, runs)
    opened, failed = _opened_all(plan, runs, console, new=new, segments=values["segments"])
    if opened:
        scheduler_launch.send(opened, place, console, as_json=values["json"], part=True)
    say(
        f"scan {kept.name}: `{typed_command('results', '--scan', kept.name, runs=runs)}` shows how far it is.",
        err=True,
    )
    if failed:
        raise UserError(f"not submitted: {'; '.join(failed)}.")


def _opened_all(
    plan: Planned, runs: Path, console: Console, *, new: bool, segments: int | None = None
) -> tuple[list[submit.Wanted], list[str]]:
    """(the runs with their folders made and their data here, what could not be). One that fails keeps no other from running."""
    opened, failed = [], []
    seen: dict[str, held_data.Contents] = {}
    for e in plan.experiments:
        try:
            opening.ensure_data(e, console)
            run = opening.open_run(runs, e, seen, new=new)
            opening.hold_data(run, e, console, seen)
            opened.append(submit.Wanted(run, e, segments))
        except UserError as error:
            failed.append(f"{e.NAME} {e.variant}: {error}")
    return opened, failed


def _print_dry(plan: Planned, place: LaunchContext, values: dict[str, Any], console: Console) -> None:
    wanted = [submit.Wanted(w.run, w.experiment, values["segments"]) for w in plan.wanted]
    if not wanted:
        if values["json"]:
            say(json.dumps({"scan": plan.to_json(), "slots": [], "remaining": [], "said": []}, indent=1))
        return
    queue = scheduler_launch.queue_if_here(place.scheduler)
    todo, said = scheduler_launch.to_send(wanted, place.scheduler, queue)
    submission = submit.prepare(todo, place.scheduler, place.policy, place.now, queue)
    if values["json"]:
        say(json.dumps({"scan": plan.to_json(), **submission.to_json(), "said": said}, indent=1))
    else:
        scheduler_launch.print_dry(submission, console, as_json=False, said=said)
