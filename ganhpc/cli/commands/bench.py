"""`bench`: what this machine does: training speeds beside its measured ceilings, the input path, what fits into an hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc.cli.output import say, screen
from ganhpc.core.errors import UserError
from ganhpc.core.scheduler_environment import without_torchrun
from ganhpc.core.settings import SAFE_PATH, with_checkout
from ganhpc.core.units import counted, format_duration
from ganhpc.launch.schedulers import choice
from ganhpc.runs import cores


@click.command("bench")
@click.option("--quick", is_flag=True, help="in a few seconds, with wider margins")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="what to measure"
)
@click.option("--compile", "compiled", is_flag=True, help="compile the steps first, as runs of ten minutes on a GPU do")
@click.option(
    "--networks", type=click.Choice(["all", "cifar", "gans"]), default="all", show_default=True, help="what is trained"
)
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
    help="auto: on a CPU the faster one for each network; on a GPU what a run would take",
)  # fmt: skip
@click.option(
    "--on", type=click.Choice(["auto", "local"]), default="auto", show_default=True,
    help="auto: not on a cluster's frontend; local: here in any case",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="print the figures as JSON on standard output")
def command(quick: bool, device: str, compiled: bool, networks: str, precision: str, on: str, as_json: bool) -> None:
    """Measure this machine, in a few minutes and without any data set: images/s and operations/s of the networks of cifar and of a preset of
    each GAN, their distance from the device's measured ceilings, the input path against a DataLoader, what fits into an hour."""

    if on == "auto":
        choice.may_compute()
    choices = ["--device", device, "--networks", networks, "--precision", precision]
    words = [*choices, *(["--quick"] if quick else []), *(["--compile"] if compiled else [])]
    found = _measured(words, screen(stderr=True, highlight=False))
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        show(found, screen(highlight=False))


def _measured(words: list[str], console: Console) -> dict[str, Any]:
    """The figures, measured in a process of its own: this one never imports torch. Raises UserError with its last word."""
    environment = without_torchrun(os.environ)
    cores.wait_without_spinning(cores.here(), 1, environment)
    child = subprocess.Popen(
        [sys.executable, *SAFE_PATH, "-m", "ganhpc.train.bench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=with_checkout(environment),
    )
    said: list[str] = []
    try:
        with console.status("measuring ..") as status:
            assert child.stderr is not None
            for line in child.stderr:
                said.append(line.rstrip())
                status.update(f"measuring: {said[-1]} ..")
        out = child.stdout.read() if child.stdout else ""
        code = child.wait()
    finally:
        child.kill()
    if code:
        last = next((line for line in reversed(said) if line.strip()), "it said nothing")
        sentence = last.removeprefix("Error: ")
        error = UserError(
            sentence
            if last.startswith("Error: ")
            else f"the measurement failed: {sentence}; look at `python launch.py doctor`."
        )
        error.exit_code = code if 0 < code < 128 else 1
        raise error
    return dict(json.loads(out))


# -- what people read -----------------------------------------------------------------------------------------------------


def show(found: dict[str, Any], console: Console) -> None:
    """Print the figures: the machine, tables of the networks of cifar and of the others, and what follows from them."""
    console.print(Text("\n".join(_machine(found))))
    for of_cifar in (True, False):
        rows = [row for row in found["rows"] if (row["experiment"] == "cifar") is of_cifar]
        if rows:
            console.print()
            console.print(_table(rows, of_cifar))
    for line in _notes(found):
        console.print(Text(line))


def _machine(found: dict[str, Any]) -> Iterator[str]:
    threads = f", {counted(found['threads'], 'thread')}" if found["device_type"] == "cpu" else ""
    commit = f", commit {found['commit']}" if found["commit"] else ""
    yield f"{found['device']}{threads}; torch {found['torch']}, Python {found['python']}, ganhpc {found['ganhpc']}{commit}"
    products = [
        f"{spread(peaks['matmul_ops_per_second'], 1e9)} GFLOP/s in {precision} products of {peaks['matmul_side']}x{peaks['matmul_side']}"
        for precision, peaks in found["peaks"].items()
    ]
    copies = next(iter(found["peaks"].values()))["bytes_per_second"]
    yield f"ceilings  {', '.join(products)}, {spread(copies, 1e9)} GB/s in copies"


def _table(rows: list[dict[str, Any]], of_cifar: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("network" if of_cifar else "experiment", no_wrap=True)
    table.add_column("in", no_wrap=True)
    names = ("images/s", "GFLOP/s", "of peak", "bound", "times")
    for name in (*names, *(("epochs/h", "to 90%") if of_cifar else ("steps/h",))):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["precision"],
            f"{figure(row['images_per_second']['mean'])} ± {deviation(row['images_per_second'])}",
            figure(row["ops_per_second"]["mean"] / 1e9),
            f"{row['share_of_peak']:.0%}",
            {"operations": "ops", "bytes": "bytes"}[row["bound_by"]],
            f"{row['times_bound']:.1f}",
            *(_of_cifar(row) if of_cifar else (figure(3600 / row["step_seconds"]["mean"]),)),
        )
    return table


def _of_cifar(row: dict[str, Any]) -> tuple[str, str]:
    to_90 = row["seconds_to_90"]
    return figure(row["epochs_an_hour"]), "-" if to_90 is None else rounded(to_90)


def _bf16_gain(row: dict[str, Any]) -> str:
    """Speed in bf16 over that in fp32; - where only one of them was measured."""
    seconds = row["step_seconds_by_precision"]
    return f"{seconds['fp32']['mean'] / seconds['bf16']['mean']:.2f}x" if len(seconds) > 1 else "-"


def _notes(found: dict[str, Any]) -> Iterator[str]:
    """Legend of the columns, the input path, and the choice of `auto`."""
    n = found["rows"][0]["images_per_second"]["n"]
    how = "compiled" if found["compiled"] else "uncompiled"
    sizes = ", ".join(f"{row['name']} {row['params']:,} in batches of {row['batch_size']}" for row in found["rows"])
    yield f"Whole training steps, {how}, in turn: mean ± standard deviation, n = {n}. Parameters: {sizes}."
    yield (
        "bound: the larger of a step's operations at the matrix rate and of the bytes that its operators read and write at the bandwidth of "
        "copies; times: how many times longer the step takes."
    )
    if len(found["peaks"]) > 1:
        gains = ", ".join(f"{row['name']} {_bf16_gain(row)}" for row in found["rows"])
        yield f"in: the faster of fp32 and bf16, to whose matrix rate the step is compared. Speed in bf16 over that in fp32: {gains}."
    if found["chosen"]:
        yield "to 90%: training alone, by the epochs that docs/record.md reckons with; - where it has none, or 90 % is out of reach."
    yield ""
    loaders = found["input"]["images_per_second"]
    words = ", ".join(f"{name} {figure(value['mean'])} ± {deviation(value)}" for name, value in loaders.items())
    yield f"input   images/s: {words}; {spread(found['input']['ratio'], form='.1f')} times the better DataLoader"
    if chosen := found["chosen"]:
        yield f"choice  of CIFAR-10's networks, `cifar` would train {chosen['1h']} in an hour, {chosen['5m']} in five minutes"
    yield f"measured in {found['seconds']:.0f} s{'; without --quick the margins are narrower' if found['quick'] else ''}"


def deviation(value: dict[str, Any]) -> str:
    """The standard deviation as a share of the mean."""
    return "-" if value["std"] is None else f"{value['std'] / value['mean']:.0%}"


def rounded(seconds: float) -> str:
    """A time to about two digits: 41s, 23m, 1h25m, 52h."""
    unit = 1 if seconds < 120 else 60 if seconds < 36_000 else 3600
    return format_duration(round(seconds / unit) * unit)


def figure(value: float) -> str:
    """Three digits for small values, whole numbers with commas for larger ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(value: dict[str, Any], unit: float = 1.0, form: str = "") -> str:
    """mean ± standard deviation in `unit`, each in the format `form` (unset: as `figure`)."""
    parts = [value["mean"] / unit, *([] if value["std"] is None else [value["std"] / unit])]
    return " ± ".join(format(part, form) if form else figure(part) for part in parts)
