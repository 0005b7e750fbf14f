"""Names in braces of a program's arguments that mean something elsewhere: options of ours, fields of results, figures of the program."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click.testing
import pytest

from ganhpc.cli.commands.results import command as results_command
from ganhpc.cli.launching import scan_launch
from ganhpc.core.files import write_json
from ganhpc.runs.experiment import from_typed
from ganhpc.runs.run_folder import Run
from ganhpc.scans.grid import read
from jobs.program import Program

NAMES = ("lr", "epochs", "state", "threads", "batch_size", "folder", "group", "n")


def finished(runs: Path, values: dict[str, str], figures: dict[str, float]) -> None:
    """A finished run with values for its arguments, and what the program said."""
    command = ("true", *(f"{{{name}}}" for name in NAMES))
    base = from_typed(Program, {"command": command, "time": 60.0, "headline": "accuracy"})
    experiment = dataclasses.replace(base, parameters=tuple(sorted(values.items())))
    run = Run.open(runs, experiment)
    names = {"experiment": "program", "variant": "x", "run": run.name, "state": "done", "seed": 0}
    names |= {"signature": experiment.signature, "group": experiment.group, "epochs": 3.0}
    write_json(run.result_json, {**figures, **names, "headline": "accuracy", "better": "higher"})


def table(runs: Path, *words: str) -> list[list[str]]:
    """The cells of the table that `results` prints, its titles first."""
    runner = click.testing.CliRunner(env={"COLUMNS": "400", "GANHPC_RUNS": str(runs)})
    done = runner.invoke(results_command, ["--md", *words], catch_exceptions=False, standalone_mode=False)
    lines = done.stdout.replace("\\", "").splitlines()  # Markdown's, before braces and lines below
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_shows_the_values_that_were_scanned(tmp_path: Path, name: str) -> None:
    """And not what results have under that name: the rate that the program said at its end was the same in every row."""
    for value in ("1", "2"):
        finished(tmp_path, {name: value}, {"accuracy": 0.5, "lr": 0.0})
    titles, _, *rows = table(tmp_path)
    column = titles.index(name if name in ("threads", "batch_size") else f"{{{name}}}")
    assert sorted(row[column] for row in rows) == ["1", "2"]
    one = table(tmp_path, "--filter", f"{{{name}}}=2")
    assert len(one) == 3 and one[2][one[0].index(f"{{{name}}}")] == "2"
    assert [row[column] for row in table(tmp_path, "--sort", f"-{{{name}}}")[2:]] == ["2", "1"]


def typed(*scans: str) -> dict[str, Any]:
    """The values that the command line hands on: its own options with their defaults."""
    words = tuple(f"{{{scan.partition('=')[0]}}}" for scan in scans)
    own = {"runs": "runs", "on": "auto", "new": False, "json": False, "preset": None, "zipped": False}
    return {**own, "scans": scans, "command": ("echo", *words), "folder": None, "watch_files": ()}


@pytest.mark.parametrize("name", ["runs", "on", "new", "json", "command", "zipped", "preset_name"])
def test_an_argument_may_be_called_like_an_option_that_no_definition_has(name: str) -> None:
    found, _ = scan_launch.read(Program, typed(f"{name}=1,2"))
    assert [point[name] for point in found.points()] == ["1", "2"]


def test_a_scan_over_an_argument_called_epochs_keeps_the_time() -> None:
    found, base = scan_launch.read(Program, typed("epochs=10,20"))
    assert [each.budget.time for each in found.experiments(base, 1)] == [3600.0, 3600.0]
    assert read(Program, ["epochs=10,20"], zipped=False).axes[0].option.flag == "--epochs"
