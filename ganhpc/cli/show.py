"""What a user sees at the end of a run, or of a finished one: the outcome, the folder, what to type next."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ganhpc.run import Run, shown
from ganhpc.units import format_duration, human_number


def show_run(run: Run, console: Console) -> None:
    """The outcome of a finished run; nothing for another, whose end the launcher has explained."""
    result = run.result()
    if result is None:
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(result):
        table.add_row(name, text)
    table.add_row("folder", shown(run.folder))
    console.print(table)
    console.print("[bold]next[/]  python launch.py results          compare runs")
    console.print(
        f"      python launch.py describe {result['experiment']} --preset {result['preset']}   the network in full"
    )
    console.print(f"      tensorboard --logdir {shown(run.folder.parent)}   the curves", soft_wrap=True)


def _lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    if result.get("test_accuracy") is not None:
        plain = result.get("test_accuracy_no_tta")
        also = (
            f" ({plain:.2%} without averaging over mirrored images)"
            if result.get("tta") == "flip" and plain is not None
            else ""
        )
        lines.append(("test accuracy", f"{result['test_accuracy']:.2%}{also}"))
    if result.get("network"):
        lines.append(("network", f"{result['network']}: {result['why']}"))
    budget = f" of {result['budget_params']:,}" if result.get("budget_params") else ""
    frozen = f", {result['frozen_params']:,} more are frozen" if result.get("frozen_params") else ""
    lines.append(("parameters", f"{result['params']:,}{budget}{frozen}"))
    lines.append(("operations", f"{human_number(result['ops'])} an image ({human_number(result['macs'])} MACs)"))
    lines.append(("time", _time(result)))
    lines.append(("where it went", _phases(result)))
    lines.append(
        (
            "epochs",
            f"{result['epochs']:.4g} of {result['epochs_planned']:.4g} planned, batches of {result['batch_size']}",
        )
    )
    step, forward = result["gflops_per_second"], result["forward_gflops_per_second"]
    lines.append(
        (
            "speed",
            f"{result['images_per_second']:,.0f} images/s; {step:.1f} GFLOP/s in whole steps, {forward:.1f} in their forward passes",
        )
    )
    lines.append(
        (
            "machine",
            f"{result['device']}; torch {result['torch']}, Python {result['python']}, commit {result['commit'] or 'unknown'}",
        )
    )
    return lines


def _time(result: dict[str, Any]) -> str:
    used = format_duration(round(result["train_seconds"], 1))
    if not result.get("budget_seconds"):
        return used
    share = result["train_seconds"] / result["budget_seconds"]
    parts = f" in {result['segments']} segments" if result["segments"] > 1 else ""
    return f"{used} of {format_duration(result['budget_seconds'])} ({share:.1%}){parts}"


def _phases(result: dict[str, Any]) -> str:
    phases = result["seconds_by_phase"]
    whole = result["train_seconds"] or 1.0
    words = [f"{name} {value / whole:.1%}" for name, value in phases.items()]
    return ", ".join([*words, f"other {max(0.0, 1 - sum(phases.values()) / whole):.1%}"])
