"""Scans on the command line: what one will run and for how long, the runs in order or as jobs, and what failed."""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc import grid, scan, site, submit
from ganhpc.cli import local, remote
from ganhpc.cli.experiments import definition
from ganhpc.cli.remote import Place
from ganhpc.cli.results_table import STYLES
from ganhpc.errors import UserError
from ganhpc.experiment import Experiment
from ganhpc.grid import Grid
from ganhpc.nights import MOST, Nights, nights
from ganhpc.plan import Work
from ganhpc.run import Run, State
from ganhpc.scan_values import shown
from ganhpc.schedulers.pick import named, pick
from ganhpc.units import format_duration

ROWS = 16
"""Runs that the table lists; of more, the first ones and the last."""

SIGNALLED = (129, 130, 143)
"""Exit codes of a launcher that was asked to stop."""


@dataclass(frozen=True)
class Planned:
    """A scan before it starts: its runs, where they lie, and where each stands."""

    grid: Grid
    base: Experiment
    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    states: tuple[State, ...]
    record: scan.Scan

    @property
    def wanted(self) -> list[submit.Wanted]:
        """The runs that are not done."""
        pairs = zip(self.runs, self.experiments, self.states, strict=True)
        return [submit.Wanted(run, e) for run, e, state in pairs if state is not State.DONE]

    def values(self, k: int) -> list[str]:
        """What run number `k` has for each scanned option, as typed, and its seed."""
        e = self.experiments[k]
        return [*(shown(axis.option, axis.option.get(e)) for axis in self.grid.axes), str(e.seed)]

    def to_json(self) -> dict[str, Any]:
        """What --dry-run --json says of it: the record's name, experiment, mode, fields, seeds and runs, and {state: runs}."""
        tree = self.record.to_json()
        counts = collections.Counter(map(str, self.states))
        return {
            **{k: tree[k] for k in ("name", "experiment", "mode", "fields", "seeds", "runs")},
            "states": dict(counts),
        }


def planned(found: Grid, base: Experiment, seeds: int, runs: Path, *, new: bool) -> Planned:
    """The runs of the scan and where they stand; writes nothing. Raises UserError for a value that the definition refuses."""
    experiments = tuple(found.experiments(base, seeds))
    folders = tuple(Run.planned(runs, e, new=new) for e in experiments)
    states = tuple(run.standing().state if run.experiment_json.exists() else State.NEW for run in folders)
    record = scan.named(found.record(base, seeds, runs, [run.name for run in folders]))
    return Planned(found, base, experiments, folders, states, record)


def read(cls: type[Experiment], values: dict[str, Any]) -> tuple[Grid, Experiment]:
    """(the scan that was typed, the definition around it). Raises UserError where a scanned option is typed as well."""
    if not values["scans"]:
        raise UserError("--zip pairs the values of scanned options: add --scan FIELD=V1,V2.")
    found = grid.read(cls, values["scans"], zipped=values["zipped"])
    scanned = {axis.option.name: axis.option for axis in found.axes}
    for name, option in scanned.items():
        if values.get(name) is not None:
            raise UserError(f"{option.flag} is both given and scanned: leave out one of the two.")
    base = definition(cls, values, found.preset)
    if "epochs" in scanned and "time" not in scanned and values.get("time") is None:
        base = base.replace(time=None)  # The number of epochs is the budget then, as where --epochs is typed.
    return found, base


def launch(cls: type[Experiment], values: dict[str, Any]) -> None:
    """Say what the scan will run; then run it here, submit it, or with --dry-run leave it at that."""
    found, base = read(cls, values)
    runs, dry_run, as_json = Path(values["runs"]), values["dry_run"], values["json"]
    settings = site.load()
    scheduler, why = pick(values["on"], settings, dry_run=dry_run)
    if values["now"] and not dry_run:
        raise UserError("--now plans from another moment and can't start anything: add --dry-run, or leave it out.")
    plan = planned(found, base, values["seeds"], runs, new=values["new"])
    console = Console(stderr=as_json, highlight=False)
    console.print(f"{scheduler.name if scheduler else 'this machine'}: {why}", soft_wrap=True, markup=False)
    here = scheduler or named("local", settings)
    place = Place.of(here, values["policy"], values["now"], settings, "student" if scheduler else "none")
    show(plan, place, console)
    if scheduler is None:
        _here(plan, runs, values, console)
    else:
        _remote(plan, place, values, console)


# -- before it starts ---------------------------------------------------------------------------------------------------


def show(plan: Planned, place: Place, console: Console) -> None:
    """The runs with their values and states, how long they take in all, and how many nights that is."""
    names = [axis.option.flag[2:] for axis in plan.grid.axes]
    several = len(plan.runs) > len(list(plan.grid.points()))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ["", *names, *(["seed"] if several else []), "state"]:
        table.add_column(name, justify="right" if name in ("", "seed") else "left", overflow="fold")
    count = len(plan.runs)
    for k in range(count):
        if count > ROWS and ROWS - 4 <= k < count - 4:
            if k == ROWS - 4:
                table.add_row("", f".. {count - ROWS} more ..", *[""] * (len(names) + several))
            continue
        cells = plan.values(k)[: len(names) + several]
        state = str(plan.states[k])
        table.add_row(str(k + 1), *cells, Text(state, style=STYLES.get(state, "")))
    console.print(_title(plan), style="bold", soft_wrap=True, markup=False)
    console.print(table)
    console.print(length(plan, place), soft_wrap=True, markup=False)


def _title(plan: Planned) -> str:
    sizes = [len(axis.values) for axis in plan.grid.axes]
    seeds = len(plan.runs) // max(1, len(list(plan.grid.points())))
    shape = f"{sizes[0]} pairs" if plan.grid.zipped else " x ".join(map(str, sizes))
    shape += f" x {seeds} seeds" if seeds > 1 else ""
    n = len(plan.runs)
    return f"scan {plan.record.name} of {plan.base.NAME}, preset {plan.base.preset}: {shape} = {n} run{'s' * (n != 1)}"


def length(plan: Planned, place: Place) -> str:
    """The sentence on what is done already, how long the rest takes, and how many nights that is under the policy."""
    counts = collections.Counter(map(str, plan.states))
    told = ", ".join(f"{n} {state}" for state, n in counts.items())
    wanted = plan.wanted
    if not wanted:
        return f"{told}: nothing is left to run."
    if any(w.experiment.budget.time is None for w in wanted):
        return f"{told}; how long that takes is not known before they run: --epochs bounds them, and not --time."
    seconds = [submit.seconds_to_go(w, place.policy) for w in wanted]
    found = nights(
        [Work(w.run.name, s) for w, s in zip(wanted, seconds, strict=True)],
        place.policy, place.now, place.tz, place.scheduler.capabilities(),
    )  # fmt: skip
    return f"{told}; {format_duration(sum(seconds))} to train in all, one run after another; {_nights(found, place)}."


def _nights(found: Nights | None, place: Place) -> str:
    rule = f"under policy {place.policy.name}"
    if found is None:
        return f"no night has a place for them {rule}"
    if found.left:
        return f"more than {MOST} nights {rule}"
    n = found.count
    return f"{n} night{'s' * (n > 1)} {rule}, from {found.start:%a %d %b %H:%M} to {found.end:%a %d %b %H:%M}"


# -- on this machine ----------------------------------------------------------------------------------------------------


def _here(plan: Planned, runs: Path, values: dict[str, Any], console: Console) -> None:
    if values["dry_run"]:
        if values["json"]:
            plans = [local.plan(e, runs, new=values["new"]) for e in plan.experiments]
            click.echo(json.dumps({"scan": plan.to_json(), "runs": plans}, indent=1))
        return
    for e in plan.experiments:
        local.processes(e.resources)
    kept = record(plan, runs)
    code, failed, stopped = _train_all(plan, runs, console, new=values["new"])
    if values["json"]:
        from ganhpc.results import row

        print(json.dumps([row(run) for run in plan.runs if run.experiment_json.exists()], indent=1))
    console.print(_closing(plan, kept, failed, stopped=stopped), soft_wrap=True, markup=False)
    if code:
        sys.exit(code)


def record(plan: Planned, runs: Path) -> scan.Scan:
    """Write the scan down, before the first of its runs starts."""
    seeds = len({e.seed for e in plan.experiments})
    return scan.record(plan.grid.record(plan.base, seeds, runs, [run.name for run in plan.runs]))


def _train_all(plan: Planned, runs: Path, console: Console, *, new: bool) -> tuple[int, list[str], bool]:
    """Train what is not done, in order. Returns (the worst exit code, what failed, whether the user stopped it)."""
    worst = 0
    failed: list[str] = []
    for k, (e, state) in enumerate(zip(plan.experiments, plan.states, strict=True)):
        if state is State.DONE:
            continue
        console.print(f"run {k + 1} of {len(plan.runs)}")
        try:
            run = Run.open(runs, e, new=new)
            code = local.train(run, e, console)
            why = "" if code == 0 else str(run.standing().state)
        except UserError as error:
            console.print(f"Error: {error}", soft_wrap=True, markup=False)
            code, why = error.exit_code, "refused"
        worst = max(worst, code)
        if code in SIGNALLED:
            return code, failed, True
        if code:
            failed.append(f"{plan.runs[k].name} ({why})")
    return worst, failed, False


def _closing(plan: Planned, kept: scan.Scan, failed: Sequence[str], *, stopped: bool) -> str:
    """One sentence on how the scan ended, and what to type next."""
    done = sum(run.result_json.exists() for run in plan.runs)
    head = f"scan {kept.name}: {done} of {len(plan.runs)} runs done"
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        head += f"; not done: {', '.join(failed[:5])}{more}"
    if stopped or failed:
        return f"{head}; {'stopped, and ' * stopped}the same command goes on: {local.again()}"
    seen = f"python launch.py results --scan {kept.name}"
    return f"{head}; next: `{seen}`, `python launch.py board {kept.experiment}`, `python launch.py report {kept.name}`."


# -- through a scheduler ------------------------------------------------------------------------------------------------


def _remote(plan: Planned, place: Place, values: dict[str, Any], console: Console) -> None:
    runs, new = Path(values["runs"]), values["new"]
    if values["segments"] and plan.base.budget.time is not None:
        raise UserError("--segments is for runs bounded by --epochs alone: --time says how many jobs there are.")
    if values["dry_run"]:
        _print_dry(plan, place, values, console)
        return
    kept = record(plan, runs)
    opened, failed = opened_all(plan, runs, console, new=new, segments=values["segments"])
    if opened:
        remote.send(opened, place, console, as_json=values["json"], part=True)
    click.echo(f"scan {kept.name}: `python launch.py results --scan {kept.name}` shows how far it is.", err=True)
    if failed:
        raise UserError(f"not submitted: {'; '.join(failed)}.")


def opened_all(
    plan: Planned, runs: Path, console: Console, *, new: bool, segments: int | None = None
) -> tuple[list[submit.Wanted], list[str]]:
    """(the runs with their folders made and their data here, what could not be). One that fails keeps no other from running."""
    opened, failed = [], []
    for e in plan.experiments:
        try:
            local.ensure_data(e, console)
            opened.append(submit.Wanted(Run.open(runs, e, new=new), e, segments))
        except UserError as error:
            failed.append(f"{e.NAME} {e.variant}: {error}")
    return opened, failed


def _print_dry(plan: Planned, place: Place, values: dict[str, Any], console: Console) -> None:
    wanted = [submit.Wanted(w.run, w.experiment, values["segments"]) for w in plan.wanted]
    if not wanted:
        if values["json"]:
            click.echo(json.dumps({"scan": plan.to_json(), "slots": [], "remaining": []}, indent=1))
        return
    queue = remote.queue_if_here(place.scheduler)
    submission = submit.prepare(wanted, place.scheduler, place.policy, place.now, queue)
    if values["json"]:
        click.echo(json.dumps({"scan": plan.to_json(), **submission.to_json()}, indent=1))
    else:
        remote.print_dry(submission, console, as_json=False)
