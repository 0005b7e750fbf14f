"""`doctor`: look over this machine; each line good, or with the sentence that fixes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from ganhpc.cli.common_options import TypedPath
from ganhpc.cli.output import say, screen
from ganhpc.core.units import counted
from ganhpc.launch.doctor.finding import Finding, Level

_MARKS = {Level.GOOD: ("✓", "green"), Level.NOTE: ("!", "yellow"), Level.BAD: ("✗", "bold red")}
_PLAIN_MARKS = {Level.GOOD: "ok", Level.NOTE: "!", Level.BAD: "XX"}
"""For terminals that can't write the others."""


@click.command("doctor")
@click.option("--runs", metavar="DIR", type=TypedPath(), envvar="GANHPC_RUNS", help="folder of run folders")
@click.option("--data-root", metavar="DIR", type=TypedPath(), help="folder where data sets lie")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON on standard output")
def command(runs: str | None, data_root: str | None, as_json: bool) -> None:
    """Look over this machine: each line good, or with its fix.

    The exit code is 1 where something that training needs is broken, else 0.
    """
    from ganhpc.launch.doctor.checks import checks, examine

    findings = examine(checks(*(Path(path) if path else None for path in (runs, data_root))))
    found = list(findings) if as_json else _show(findings)
    ready = not any(f.level is Level.BAD for f in found)
    if as_json:
        say(json.dumps({"ready": ready, "checks": [f.to_json() for f in found]}, indent=1))
    sys.exit(0 if ready else 1)


def _show(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as soon as it is there, then a sentence on the whole."""

    console = screen(highlight=False)
    found = []
    with console.status("looking over this machine .."):
        for finding in findings:
            console.print(_line(finding, console.encoding))
            found.append(finding)
    console.print(f"\n{verdict(found)}", soft_wrap=True)
    return found


def _line(finding: Finding, encoding: str) -> Table:
    mark, style = _MARKS[finding.level]
    if not encoding.lower().startswith("utf"):
        mark = _PLAIN_MARKS[finding.level]
    line = Table.grid(padding=(0, 1))
    line.add_column(width=2)
    line.add_column(width=13)
    line.add_column()
    said = Text(finding.text)
    if finding.fix:
        said.append(f"{'' if finding.text.endswith('.') else '.'} {finding.fix}", "bold")
    line.add_row(Text(mark, style), finding.name, said)
    return line


def verdict(found: Sequence[Finding]) -> str:
    """One sentence on all of them."""
    broken = [f.name for f in found if f.level is Level.BAD]
    if broken:
        return f"Not ready to train: {', '.join(dict.fromkeys(broken))} must be fixed first."
    notes = sum(f.level is Level.NOTE for f in found)
    aside = f" ({counted(notes, 'line')} worth a look)" if notes else ""
    return f"Ready to train{aside}: python launch.py cifar --budget-params 256k --time 5m"
