"""A scan before it starts: its runs, where each stands, how long they take in all, and how many nights that is."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc.core.printable import printable
from ganhpc.core.units import counted, format_duration
from ganhpc.launch.planner.night_count import MOST, Nights, nights
from ganhpc.launch.planner.planner import Work
from ganhpc.launch.submission import prepare
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.figures import STATE_COLOURS
from ganhpc.runs.run_folder import Run, State
from ganhpc.scans import scan_record
from ganhpc.scans.grid import Grid
from ganhpc.scans.scan_syntax import shown

_ROWS = 16
"""Runs that the table lists; of more, the first ones and the last."""


@dataclass(frozen=True)
class Planned:
    """A scan before it starts: its runs, where they lie, and where each stands."""

    grid: Grid
    base: Experiment
    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    states: tuple[State, ...]
    record: scan_record.Scan

    @property
    def wanted(self) -> list[prepare.Wanted]:
        """The runs that are not done."""
        pairs = zip(self.runs, self.experiments, self.states, strict=True)
        return [prepare.Wanted(run, e) for run, e, state in pairs if state is not State.DONE]

    def values(self, k: int) -> list[str]:
        """Values of run number `k` for each scanned option, as typed, and its seed."""
        e = self.experiments[k]
        return [*(shown(axis.option, axis.option.get(e)) for axis in self.grid.axes), str(e.seed)]

    def to_json(self) -> dict[str, Any]:
        """Output of --dry-run --json: the record's name, experiment, mode, fields, seeds and runs, and {state: runs}."""
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
    states = tuple(run.run_status().state if run.experiment_json.exists() else State.NEW for run in folders)
    record = scan_record.named(found.record(base, seeds, runs, [run.name for run in folders]))
    return Planned(found, base, experiments, folders, states, record)


def show(plan: Planned, place: LaunchContext, console: Console) -> None:
    """The runs with their values and states, how long they take in all, and how many nights that is."""
    names = [axis.option.flag[2:] for axis in plan.grid.axes]
    several = len(plan.runs) > len(list(plan.grid.points()))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ["", *names, *(["seed"] if several else []), "state"]:
        table.add_column(name, justify="right" if name in ("", "seed") else "left", overflow="fold")
    count = len(plan.runs)
    for k in range(count):
        if count > _ROWS and _ROWS - 4 <= k < count - 4:
            if k == _ROWS - 4:
                table.add_row("", f".. {count - _ROWS} more ..", *[""] * (len(names) + several))
            continue
        cells = plan.values(k)[: len(names) + several]
        state = str(plan.states[k])
        table.add_row(
            str(k + 1), *(Text(printable(cell)) for cell in cells), Text(state, style=STATE_COLOURS.get(state, ""))
        )
    console.print(_title(plan), style="bold", soft_wrap=True, markup=False)
    console.print(table)
    console.print(_length(plan, place), soft_wrap=True, markup=False)


def _title(plan: Planned) -> str:
    sizes = [len(axis.values) for axis in plan.grid.axes]
    seeds = len(plan.runs) // max(1, len(list(plan.grid.points())))
    shape = f"{sizes[0]} pairs" if plan.grid.zipped else " x ".join(map(str, sizes))
    shape += f" x {seeds} seeds" if seeds > 1 else ""
    n = len(plan.runs)
    return f"scan {plan.record.name} of {plan.base.NAME}, preset {plan.base.preset}: {shape} = {counted(n, 'run')}"


def _length(plan: Planned, place: LaunchContext) -> str:
    """The sentence on what is done already, how long the rest takes, and how many nights that is under the policy."""
    counts = collections.Counter(map(str, plan.states))
    told = ", ".join(f"{n} {state}" for state, n in counts.items())
    wanted = plan.wanted
    if not wanted:
        return f"{told}: nothing is left to run."
    if any(w.experiment.budget.time is None for w in wanted):
        return f"{told}; how long that takes is not known before they run: --epochs bounds them, and not --time."
    seconds = [prepare.seconds_to_go(w, place.policy) for w in wanted]
    found = nights(
        [Work(w.run.name, s) for w, s in zip(wanted, seconds, strict=True)],
        place.policy,
        place.now,
        place.tz,
        place.scheduler.capabilities(),
        prepare.MARGINS,
    )
    rest = sum(max(0.0, (w.experiment.budget.time or 0.0) - (w.run.status().get("seconds") or 0.0)) for w in wanted)
    return f"{told}; {format_duration(round(rest))} to train in all, one run after another; {_nights(found, place)}."


def _nights(found: Nights | None, place: LaunchContext) -> str:
    rule = f"under policy {place.policy.name}"
    if found is None:
        return f"no night has a place for them {rule}"
    if found.left:
        return f"more than {MOST} nights {rule}"
    n = found.count
    return f"{counted(n, 'night')} {rule}, from {found.start:%a %d %b %H:%M} to {found.end:%a %d %b %H:%M}"
