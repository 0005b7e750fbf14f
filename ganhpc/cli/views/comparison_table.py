"""A comparison of two runs or variants, printed."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from ganhpc.cli.output import in_markup, screen
from ganhpc.cli.views.results_table import plain
from ganhpc.runs.tensorboard_hparams import word


def print_comparison(found: dict[str, Any]) -> None:
    """Differences in the definition, then the measures with their differences (b less a)."""
    console = screen(highlight=False)
    for letter, name in zip("ab", found["runs"], strict=True):
        console.print(Text(f"{letter}  {plain(name)}", "bold"), soft_wrap=True)
    console.print()
    if not found["definition"]:
        console.print("the definitions are the same" if found["measures"] else "nothing is known of either")
    else:
        lines = [[name, *(_shown(value) for value in values)] for name, values in found["definition"].items()]
        console.print(_table(["option", "a", "b"], lines))
    console.print()
    if found["measures"]:
        lines = [
            [name, _figure(m["a"]), _figure(m["b"]), f"{m['difference']:+.5g}", _share(m["relative"])]
            for name, m in found["measures"].items()
        ]
        console.print(_table(["measure", "a", "b", "b - a", "of a"], lines))
    else:
        console.print("no measure is known of both yet")


def _figure(value: dict[str, Any]) -> str:
    """mean ± deviation (n) of a measure."""
    mean = (
        f"{value['mean']:,.0f}"
        if float(value["mean"]).is_integer() and abs(value["mean"]) >= 1000
        else f"{value['mean']:.5g}"
    )
    return mean if value["std"] is None else f"{mean} ± {value['std']:.2g} (n {value['n']})"


def _shown(value: Any) -> str:
    """A value of a definition."""
    return "unset" if value is None else ("yes" if value else "no") if isinstance(value, bool) else plain(word(value))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:+.1%}"


def _table(titles: list[str], lines: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for k, title in enumerate(titles):
        table.add_column(in_markup(title), justify="right" if k and titles[0] == "measure" else "left", overflow="fold")
    for cells in lines:
        table.add_row(*map(Text, cells))
    return table
