"""`launch.py results`: the table of runs."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import click

from ganhpc import results
from ganhpc.cli.params import RUNS, Sections
from ganhpc.results import Row
from ganhpc.units import format_duration, human_number

command = Sections("results", callback=lambda **values: show(**values), help=(
    "A table of runs, read from their folders.\n\nSeveral finished seeds of one variant come as mean ± standard deviation "
    "(coefficient of variation, n); --each lists every run."
))  # fmt: skip
command.add(
    "Which",
    RUNS(),
    click.Option(
        ["--filter", "filters"],
        multiple=True,
        metavar="TEST",
        help="only runs such as 'test_accuracy>0.6', 'variant~course' or 'lr<2e-4'; may repeat",
    ),
    click.Option(["--sort"], metavar="FIELD", help="by this field; -FIELD for the largest first"),
    click.Option(
        ["--limit"], type=click.IntRange(1), default=100, show_default=True, metavar="N", help="rows of the table"
    ),
)
command.add(
    "How",
    click.Option(["--each"], is_flag=True, help="one row a run, however many seeds a variant has"),
    click.Option(["--group"], is_flag=True, help="one row a variant, with mean, std, cv and n"),
    click.Option(["--json"], is_flag=True, help="everything, as a list of runs (with --group: of variants)"),
    click.Option(["--csv"], is_flag=True, help="everything, with a line of names"),
)


def show(
    runs: str, filters: tuple[str, ...], sort: str | None, limit: int, each: bool, group: bool, **how: bool
) -> None:
    """Print the runs below `runs` as asked."""
    found = results.chosen(results.rows(Path(runs)), filters)
    if group or not (each or how["json"] or how["csv"]):
        found = results.grouped(found) if group else _with_groups(found)
    if sort:
        found = results.ordered(found, sort)
    if how["json"]:
        # One row a line: the encoder that indents is not the one in C, and ten thousand rows would feel it.
        click.echo("[\n" + ",\n".join(map(json.dumps, found)) + "\n]")
    elif how["csv"]:
        _csv([_flat(row) for row in found])
    elif not found:
        click.echo(
            f"no runs in {runs}"
            + (" pass the filters" if filters else "")
            + ": `python launch.py cifar --budget-params 256k --time 5m` makes one."
        )
    else:
        _table(found, limit)


def _with_groups(found: list[Row]) -> list[Row]:
    """Variants with several finished seeds as one row, the other runs as they are."""
    members: dict[Any, int] = {}
    for row in found:
        if row["state"] == "done":
            members[row["group"]] = members.get(row["group"], 0) + 1
    several = [row for row in found if members.get(row["group"], 0) > 1 and row["state"] == "done"]
    grouped = {row["group"]: row for row in results.grouped(several, [c[1] for c in COLUMNS])}
    made, seen = [], set()
    for row in found:
        if row["state"] == "done" and row["group"] in grouped:
            if row["group"] not in seen:
                seen.add(row["group"])
                made.append(grouped[row["group"]])
        else:
            made.append(row)
    return made


def _flat(row: Row) -> Row:
    """A row without nested values: mean, std and cv become columns of their own."""
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, dict) and "mean" in value:
            flat |= {f"{key}_{name}": value[name] for name in ("mean", "std", "cv")}
        elif isinstance(value, dict | list):
            flat[key] = json.dumps(value)
        else:
            flat[key] = value
    return flat


def _csv(found: list[Row]) -> None:
    names = list(dict.fromkeys(key for row in found for key in row))
    writer = csv.DictWriter(sys.stdout, names, restval="")
    writer.writeheader()
    writer.writerows(found)


COLUMNS: tuple[tuple[str, str, Any, int], ...] = (
    ("accuracy", "test_accuracy", lambda v: f"{v:.2%}", 0),
    ("no TTA", "test_accuracy_no_tta", lambda v: f"{v:.2%}", 140),
    ("parameters", "params", lambda v: f"{v:,.0f}", 0),
    ("MACs", "macs", human_number, 130),
    ("operations", "ops", human_number, 100),
    ("time", "train_seconds", lambda v: format_duration(round(v)), 0),
    ("epochs", "epochs", lambda v: f"{v:.4g}", 90),
    ("images/s", "images_per_second", lambda v: f"{v:,.0f}", 110),
    ("GFLOP/s", "gflops_per_second", lambda v: f"{v:.1f}", 120),
)
"""(title, field, form, the least width of a terminal that shows it)"""
DEVICE_WIDTH = 140
SPREAD = {"test_accuracy", "test_accuracy_no_tta"}
"""Figures whose spread over the seeds is shown."""


def _table(found: list[Row], limit: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    several = any("n" in row for row in found)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("experiment", no_wrap=True)
    table.add_column("variant", overflow="fold", min_width=16)
    table.add_column("n" if several else "seed", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    shown = [c for c in COLUMNS if c[3] <= console.width and any(row.get(c[1]) is not None for row in found)]
    for title, *_ in shown:
        table.add_column(title, justify="right", no_wrap=True)
    if console.width >= DEVICE_WIDTH:
        table.add_column("device", overflow="fold")
    for row in found[:limit]:
        who = str(row["n"]) if "n" in row else f"{'seed ' if several else ''}{row['seed']}"
        cells = [_cell(row.get(key), form, key in SPREAD) for _, key, form, _ in shown]
        device = [str(row.get("device") or "")] if console.width >= DEVICE_WIDTH else []
        table.add_row(row["experiment"], str(row["variant"]), who, _state(row["state"]), *cells, *device)
    console.print(table)
    if several:
        console.print(
            "n: finished seeds of one variant, mean ± sample standard deviation; --group --json has the coefficients of variation",
            style="dim",
        )
    if len(found) > limit:
        console.print(f".. and {len(found) - limit:,} more: --limit N, --filter, --json")


def _cell(value: Any, form: Any, spread: bool) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict):
        return str(form(value))
    if spread and value["std"] is not None:
        return f"{form(value['mean'])} ± {form(value['std'])}"
    return str(form(value["mean"]))


def _state(state: str | None) -> str:
    colour = {
        "done": "green",
        "running": "cyan",
        "crashed": "red",
        "lost": "red",
        "refused": "red",
        "resumable": "yellow",
    }.get(state or "", "")
    return f"[{colour}]{state}[/]" if colour else str(state)
