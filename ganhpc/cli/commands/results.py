"""`launch.py results`: runs as a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from ganhpc.analysis.results import rows as results
from ganhpc.analysis.results.filters import Filter, look_up, ordered, sort_field
from ganhpc.analysis.results.rows import KEYS, Row
from ganhpc.cli.common_options import RUNS, Sections, Whole
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.printable import in_csv, printable
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.runs.figures import of_family

if TYPE_CHECKING:
    from ganhpc.scans.scan_record import Scan

_TABLE_ROWS = 50
_EVERY = 5.0
"""Seconds between two looks of --watch."""

command = Sections(
    "results",
    callback=lambda **values: show(**values),
    help="A table of runs, read from their folders.\n\nThe finished seeds of a variant come as one row: mean ± standard deviation, "
    "coefficient of variation (cv). FIELD is any key of --json, or any option of the experiments (lr, batch-size, ..).",
)
command.add(
    "Which runs",
    RUNS(),
    click.Option(
        ["--filter", "filters"],
        multiple=True,
        metavar="TEST",
        help="only runs such as 'test_accuracy>0.6', 'params<=256k', 'variant~course' or 'lr!=2e-4' (= != < <= > >=, "
        "~: contains), of any field; 'lr_g<2e-4 and valid>0.5' takes both; may repeat",
    ),
    click.Option(["--scan"], metavar="NAME", help="only the runs of this scan"),
    click.Option(["--sort"], metavar="FIELD", help="smallest first; -FIELD: largest first"),
    click.Option(
        ["--limit"], type=Whole(1), metavar="N", help=f"at most N rows  [default: {_TABLE_ROWS} in the table, else all]"
    ),
)
command.add(
    "As what",
    click.Option(["--each"], is_flag=True, help="one row a run, however many seeds a variant has"),
    click.Option(["--group"], is_flag=True, help="one row a variant: n, and mean, std, cv of each measure"),
    click.Option(["--json"], is_flag=True, help="everything, as a list of runs (with --group: of variants)"),
    click.Option(["--compare"], nargs=2, metavar="A B", help="two runs, or variants of several seeds, side by side"),
    click.Option(["--watch"], is_flag=True, help="look again and again, until Ctrl-C"),
    click.Option(["--md"], is_flag=True, help="the table in Markdown"),
    click.Option(["--csv"], is_flag=True, help="everything, as comma-separated values with a line of names"),
)


def show(filters: tuple[str, ...], sort: str | None, limit: int | None, **how: Any) -> None:
    """Print the runs as asked."""
    if how["watch"]:
        with suppress(KeyboardInterrupt):  # how a person leaves, also while the table is being made
            _watch(filters, sort, limit, {**how, "watch": False})
        return
    for one, other in (("each", "group"), ("json", "csv"), ("json", "md"), ("csv", "md")):
        if how[one] and how[other]:
            raise UserError(f"--{one} and --{other} exclude each other: type one of them.")
    tests = [test for text in filters for test in Filter.parse_all(text)]
    by, largest_first = sort_field(sort) if sort else ("", False)
    with results.no_collection():
        read = results.rows(Path(how["runs"]), lambda sentence: say(f"Warning: {printable(sentence)}", err=True))
        scan = _scan(how["scan"], Path(how["runs"])) if how["scan"] else None
        if scan:
            place = {str(run.folder): k for k, run in enumerate(scan.run_folders())}
            read = sorted((row for row in read if row["folder"] in place), key=lambda row: place[row["folder"]])
        if how["compare"]:
            _compare(read, how["compare"], how["json"])
            return
        found = _arranged(read, tests, by, how)
        if by:
            found = ordered(found, by, largest_first=largest_first)
        if not found:
            say(_nothing(how["runs"], len(read)), err=how["json"] or how["csv"] or how["md"])
        if scan and not (how["json"] or how["csv"]):
            for row in found:  # Columns tell what the scan's runs differ in: the name need not.
                row["variant"] = scan.base.get("name") or scan.base.get("preset")
        if how["json"]:
            _print_json(found[:limit])
        elif how["csv"]:
            _print_csv(found[:limit])
        elif how["md"]:
            from ganhpc.cli.views.results_table import print_markdown

            if found:
                print_markdown(found[:limit], [*(test.field for test in tests), by])
        elif found:
            from ganhpc.cli.views.results_table import print_table

            print_table(found, limit or _TABLE_ROWS, [*(test.field for test in tests), by])


def _scan(name: str, runs: Path) -> Scan:
    """The record of the scan called `name`."""
    from ganhpc.scans import scan_record  # tables of all runs do without it

    return scan_record.load(name, runs)


def _compare(read: list[Row], words: tuple[str, str], as_json: bool) -> None:
    """Print two runs or variants side by side."""
    from ganhpc.analysis.results import comparison
    from ganhpc.cli.views.comparison_table import print_comparison

    found = comparison.compare(*(comparison.chosen(word, read) for word in words))
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        print_comparison(found)


def _watch(filters: tuple[str, ...], sort: str | None, limit: int | None, how: dict[str, Any]) -> None:
    """Print the table again and again until Ctrl-C; once where nobody looks at a terminal."""
    while True:
        if sys.stdout.isatty():
            click.clear()
        show(filters, sort, limit, **how)
        if not sys.stdout.isatty():
            return
        say(f"{time.strftime('%H:%M:%S')}, again in {_EVERY:.0f} s; Ctrl-C ends")
        time.sleep(_EVERY)


def _arranged(read: list[Row], tests: list[Filter], by: str, how: dict[str, Any]) -> list[Row]:
    """The rows that pass the tests, grouped as asked; each with the fields that were asked for."""
    grouping = how["group"] or not (how["each"] or how["json"] or how["csv"])
    asked = {test.field: "--filter" for test in tests} | ({by: "--sort"} if by and not (grouping and by == "n") else {})
    defined = [field for field, option in asked.items() if look_up(read, field, option)]
    found = [row for row in read if all(test.passes(row) for test in tests)]
    if not found or not grouping:
        return found
    distances = of_family((key for row in found for key in row), "frechet")
    only = None if how["json"] or how["csv"] else {*_shown(found), *distances, *asked}
    return (results.grouped if how["group"] else results.with_several_seeds)(found, defined, only)


def _shown(found: list[Row]) -> set[str]:
    """Fields that the table shows: of thousands of variants, only that much is worked out."""
    from ganhpc.cli.views.results_table import COLUMNS, NEEDED, OTHERS, headlines

    return {*(column.key for column in COLUMNS), *OTHERS, *NEEDED, *headlines(found)}


def _nothing(runs: str, read: int) -> str:
    """The reason that there is nothing to show, and the command to type."""
    if read:
        return f"none of the {counted(read, 'run')} in {runs} passes the filters: change one, or leave it out."
    there = "holds no runs yet" if Path(runs).is_dir() else "does not exist yet"
    first = typed_command("cifar", "--budget-params", "256k", "--time", "5m", runs=Path(runs))
    return f"{runs} {there}: `{first}` makes the first one; runs that lie elsewhere: --runs DIR."


def _print_json(found: list[Row]) -> None:
    """A line a row: quick to write, and good for line-wise tools too."""
    lines = ",\n".join(map(_json, found))
    sys.stdout.write(f"[\n{lines}\n]\n" if found else "[]\n")
    sys.stdout.flush()


def _json(row: Row) -> str:
    try:
        text = orjson.dumps(row).decode()
        # The other one escapes what is not ASCII: the output may not hold it, and JSON is UTF-8 in every locale.
        return text if text.isascii() and text.isprintable() else json.dumps(row)
    except (TypeError, ValueError):  # a number or a text that is beyond what this quick one knows
        return json.dumps(row)


def _print_csv(found: list[Row]) -> None:
    flat = [_flat(row) for row in found]
    names = list(dict.fromkeys(name for row in flat for name in row)) or list(KEYS)
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    sys.stdout.flush()  # A reader that has left is noticed here, where it is no error.


def _flat(row: Row) -> Row:
    """A row without nested values: mean, std, cv and n of a measure become columns of their own, other nests JSON."""
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, dict) and "mean" in value:
            flat |= {f"{name}_{key}": value.get(key) for key in ("mean", "std", "cv", "n")}
        else:
            flat[name] = json.dumps(value) if isinstance(value, dict | list) else value
    return {str(in_csv(name)): in_csv(value) for name, value in flat.items()}
