"""Rows as a table for people: a line a row where the window is wide enough, else two lines, the name above the figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc.analysis.results.ranking import best, mean
from ganhpc.analysis.results.rows import Row, is_number
from ganhpc.cli.output import in_markup, screen
from ganhpc.core.files import Damaged, read_json
from ganhpc.core.printable import in_markdown, printable
from ganhpc.core.units import counted, format_duration, human_number, human_rate
from ganhpc.runs import figures
from ganhpc.runs.definition_fields import differing, fields_of
from ganhpc.runs.figures import STATE_COLOURS, of_family
from ganhpc.runs.tensorboard_hparams import word

_REASONS = 10
"""Explained below the table are at most so many runs that did not go well."""


@dataclass(frozen=True)
class _ResultColumn:
    """A figure of the table. `part` picks the number from a measure of several seeds."""

    title: str
    key: str
    form: Callable[[float], str]
    part: str = "mean"
    beside_name: bool = False
    """Where space is short: on the line of the name instead."""

    def cell(self, row: Row) -> str:
        value = row.get(self.key)
        if isinstance(value, dict):
            value = value.get(self.part)
        elif self.part != "mean":
            return ""
        if value is None:
            return ""
        return self.form(value) if is_number(value) else plain(value)


@dataclass(frozen=True)
class _UsedColumn(_ResultColumn):
    """Used share of a budget."""

    bound: str = ""

    def cell(self, row: Row) -> str:
        used, bound = mean(row, self.key), mean(row, self.bound)
        return f"{used / bound:.1%}" if used is not None and bound else ""


def figure(value: float) -> str:
    return f"{value or 0.0:.4g}"  # zero has no sign


def per_cent(value: float) -> str:
    return f"{round(100 * value, 2) or 0.0:.2f} %"


def seconds(value: float) -> str:
    return format_duration(round(value, None if value >= 10 else 1 if value >= 0.1 else 3))


_FORMS: dict[str, Callable[[float], str]] = {
    "params": lambda v: f"{v:,.0f}",
    "macs": human_number,
    "epochs": lambda v: f"{v:.3g}" if v < 100 else f"{v:,.0f}",
    "gflops_per_second": lambda v: f"{v:,.1f}" if v >= 10 else f"{v:.3g}",
}
"""Formats of single figures, where their unit does not say it."""
_UNITS: dict[str, Callable[[float], str]] = {
    figures.SHARE: per_cent,
    "s": seconds,
    "operations": human_number,
    "images/s": human_rate,
}
_BOUNDS = {"params": ("%params", "budget_params"), "train_seconds": ("%time", "budget_seconds")}
"""Figures that a budget bounds: the title of the share that was used, and the bound."""


def _columns() -> Iterator[_ResultColumn]:
    """The columns of the catalogue, those for several seeds and for budgets beside them."""
    for each in figures.columns():
        form = _FORMS.get(each.key) or _UNITS.get(each.unit, figure)
        yield _ResultColumn(each.label, each.key, form, beside_name=each.beside)
        if each.spread:
            yield _ResultColumn("± std", each.key, form, "std", beside_name=True)
            yield _ResultColumn("cv", each.key, per_cent, "cv", beside_name=True)
        if each.key in _BOUNDS:
            title, bound = _BOUNDS[each.key]
            yield _UsedColumn(title, each.key, per_cent, beside_name=True, bound=bound)


COLUMNS = tuple(_columns())
OTHERS = ("experiment", "variant", "seed", "state", "device", "n")
"""Shown in columns of their own."""
NEEDED = ("data", "budget_params", "budget_seconds", "lines_valid", "test_loss", "headline", "better")
"""Fields that columns are worked out from, or the best is found by."""
_SCANNED = 6
"""Options that differ get at most so many columns."""


def print_table(found: list[Row], limit: int, asked: list[str]) -> None:
    """Print at most `limit` rows, with a column for each field in `asked` that has none yet."""
    shown = found[:limit]
    columns = _columns_of(found, shown, asked)
    titles, lines = _whole_lines(shown, columns)
    widths = [max(map(cell_len, column)) for column in zip(titles, *lines, strict=True)]
    console = screen(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        # A pipe or a file has no width of its own: there, nothing is folded.
        console = screen(highlight=False, width=max(80, sum(widths) + 2 * len(widths)))
    if sum(widths) + 2 * (len(widths) - 1) <= console.width:
        console.print(_wide(titles, lines, widths))
    else:
        _print_narrow(console, shown, columns)
    _print_reasons(console, shown)
    if len(found) > limit:
        console.print(f"{len(found) - limit:,} more: --limit N, --filter TEST or --json", style="dim", soft_wrap=True)


def _columns_of(found: list[Row], shown: list[Row], asked: list[str]) -> list[_ResultColumn]:
    """The columns that have anything to show: options in which the rows differ, measures (the best one marked, with the way that is
    better in the title), and what was asked for."""
    ways, marked = best(found)
    options = _differing(shown)
    columns: list[_ResultColumn] = [*options]
    for column in (
        *_headlines(shown),
        *_with_distances(shown),
        *_asked_for([f for f in asked if f not in {c.key for c in options}]),
    ):
        if column.part == "mean" and column.key in ways and type(column) is _ResultColumn:
            titled = replace(column, title=f"{column.title} {'↑' if ways[column.key] else '↓'}")
            column = _MarkedColumn(**vars(titled), best=frozenset(row for row, key in marked if key == column.key))
        columns.append(column)
    return [c for c in columns if any(c.cell(row) for row in shown)]


@dataclass(frozen=True)
class _MarkedColumn(_ResultColumn):
    """A measure by which the best is known: it has a star."""

    best: frozenset[int] = frozenset()

    def cell(self, row: Row) -> str:
        text = super().cell(row)
        return text and text + (" ★" if id(row) in self.best else "  ")


def _with_distances(shown: list[Row]) -> list[_ResultColumn]:
    """The columns, with the Frechet distance by the name that it has (it says by which network)."""
    names = of_family((key for row in shown for key in row), "frechet")
    made: list[_ResultColumn] = []
    for column in COLUMNS:
        if column.key != "frechet":
            made.append(column)
            continue
        for name in names:
            # Of several networks, or of both directions of a translation: which one.
            which = name.removeprefix("frechet").strip("_").removeprefix("FD-") if len(names) > 1 else ""
            made.append(replace(column, key=name, title=f"{column.title} {which}".rstrip()))
    return made


def _headlines(shown: list[Row]) -> list[_ResultColumn]:
    """Columns for the figures that users' programs are judged by and the catalogue does not have."""
    known = {column.key for column in COLUMNS}
    names = [name for name in headlines(shown) if name not in known]
    return [_ResultColumn(name, name, per_cent if figures.is_share(name) else figure) for name in names]


def headlines(found: list[Row]) -> list[str]:
    """The figures that users' programs among the rows are judged by."""
    return list(dict.fromkeys(str(row["headline"]) for row in found if row.get("better") and row.get("headline")))


def _differing(shown: list[Row]) -> list[_ResultColumn]:
    """A column for each option in which the shown runs of one experiment differ, and its value in their rows."""
    kinds = {row.get("experiment") for row in shown}
    trees = [_definition(row) for row in shown] if len(kinds) == 1 and len(shown) > 1 else []
    known = [fields_of(tree) for tree in trees]
    names = [name for name in differing([tree for tree in trees if tree]) if name not in ("seed", "preset")]
    titles = {column.key for column in COLUMNS}.union(OTHERS)
    of_programs = any("command" in tree for tree in trees)
    kept: dict[str, str] = {}
    for name in names:
        # What a program says of itself, such as the rate that it has come to, is not the value that was typed for it.
        other = any(
            row.get(name, fields.get(name)) != fields.get(name) for row, fields in zip(shown, known, strict=True)
        )
        if of_programs and (other or name in titles):
            kept[f"{{{name}}}"] = name
        elif name not in titles:
            kept[name] = name
    kept = dict(list(kept.items())[:_SCANNED])
    for row, fields in zip(shown, known, strict=False):
        row |= {key: fields.get(name) for key, name in kept.items() if key not in row}
    return [_OptionColumn(key, key, lambda v: f"{v:.6g}", beside_name=True) for key in kept]


@dataclass(frozen=True)
class _OptionColumn(_ResultColumn):
    """An option of the definition."""

    def cell(self, row: Row) -> str:
        value = row.get(self.key)
        return plain(word(value)) if isinstance(value, list) else super().cell(row)


def _definition(row: Row) -> Row:
    folder = row.get("folder") or next(iter(row.get("folders", ())), None)
    try:
        return read_json(Path(folder) / "experiment.json") or {} if folder else {}
    except Damaged:
        return {}


def print_markdown(found: list[Row], asked: list[str]) -> None:
    """All rows as a table in Markdown."""
    titles, lines = _whole_lines(found, _columns_of(found, found, asked))
    for cells in (titles, ["---"] * len(titles), *lines):
        print("| " + " | ".join(in_markdown(cell.strip()) if cell != "---" else cell for cell in cells) + " |")


def _asked_for(fields: list[str]) -> list[_ResultColumn]:
    known = {column.key for column in COLUMNS}.union(OTHERS)
    return [
        _ResultColumn(f, f, lambda v: f"{v:.6g}", beside_name=True)
        for f in dict.fromkeys(fields)
        if f and f not in known
    ]


def _whole_lines(shown: list[Row], columns: list[_ResultColumn]) -> tuple[list[str], list[list[str]]]:
    """Titles, and the cells of each row."""
    titles = ["experiment", "variant", "seed", "state", *(printable(column.title) for column in columns), "device"]
    lines = [
        [*_names(row), _seed(row), _state(row), *(column.cell(row) for column in columns), plain(row.get("device"))]
        for row in shown
    ]
    return titles, lines


def _wide(titles: list[str], lines: list[list[str]], widths: list[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    left = ("experiment", "variant", "state", "device")
    for title, width in zip(titles, widths, strict=True):
        # The width is known: left to itself, the table would measure every cell several times.
        table.add_column(in_markup(title), width=width, no_wrap=True, justify="left" if title in left else "right")
    for cells in lines:
        table.add_row(*(Text(cell, STATE_COLOURS.get(cell, "") if k == 3 else "") for k, cell in enumerate(cells)))
    return table


def _print_narrow(console: Console, shown: list[Row], columns: list[_ResultColumn]) -> None:
    """Two lines a row: all that has no fixed width above, figures in columns below."""
    below = [column for column in columns if not column.beside_name]
    titles = ["state", *(printable(column.title) for column in below)]
    lines = [[_state(row), *(column.cell(row) for column in below)] for row in shown]
    widths = [max(map(cell_len, column)) for column in zip(titles, *lines, strict=True)]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= console.width else " "
    console.print(Text(_line(titles, widths, gap), "bold"), soft_wrap=True)
    for row, cells in zip(shown, lines, strict=True):
        beside = [f"{c.title} {cell}" for c in columns if c.beside_name and (cell := c.cell(row))]
        seed = _seed(row) if isinstance(row.get("n"), int) else f"seed {_seed(row)}"
        above = [" ".join(_names(row)), seed, *beside, *filter(None, [plain(row.get("device"))])]
        console.print(Text(", ".join(above), "bold cyan"))
        line = Text(_line(cells, widths, gap))
        line.stylize(STATE_COLOURS.get(cells[0], ""), 0, widths[0])
        console.print(line, soft_wrap=True)


def _line(cells: list[str], widths: list[int], gap: str) -> str:
    first, *others = (
        f"{cell:<{w}}" if k == 0 else f"{cell:>{w}}" for k, (cell, w) in enumerate(zip(cells, widths, strict=True))
    )
    return gap.join([first, *others]).rstrip()


def _print_reasons(console: Console, shown: list[Row]) -> None:
    """Print the reasons for which runs did not end well."""
    reasons = [row for row in shown if row.get("reason") and row["state"] in ("crashed", "refused", "lost")]
    for row in reasons[:_REASONS]:
        console.print(
            Text(f"{row['state']}  {plain(row['folder'])}: {plain(row['reason'])}"), style="dim", soft_wrap=True
        )
    if len(reasons) > _REASONS:
        console.print(f"the reasons of {len(reasons) - _REASONS} more: --json", style="dim")


def _seed(row: Row) -> str:
    n = row.get("n")
    return plain(row.get("seed")) if not isinstance(n, int) else counted(n, "run")


def _names(row: Row) -> list[str]:
    """Experiment and variant; a folder that can't be read goes by its own name."""
    return [plain(row.get("experiment")), plain(row.get("variant") or row.get("run"))]


def _state(row: Row) -> str:
    """The state; of a variant whose runs differ in it, how many are in each."""
    return plain(row.get("state")) or ", ".join(f"{n} {plain(state)}" for state, n in row.get("states", {}).items())


def plain(value: Any) -> str:
    """`value` in one line, without the control characters that a foreign file could send to a terminal."""
    return printable("" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else value)
