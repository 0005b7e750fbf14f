"""Print the operations of a whole training step beside those of the forward passes."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ganhpc.core.units import counted


def render_step(step: dict[str, Any], forward_macs: int, console: Console) -> None:
    """Print what `step_flops.training_step` found. `forward_macs`: multiply-accumulates of one image through each network once."""
    if "error" in step:
        console.print(
            Padding(Text(f"A whole training step could not be counted: {step['error']}", style="yellow"), (1, 2))
        )
        return
    images, fvcore = step["images"], step["fvcore"]
    title = f"A whole training step on {counted(images, 'image')}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold cyan")
    for header in ("", "ours", "fvcore"):
        table.add_column(header, justify="right" if header else "left")
    table.add_row("multiply-accumulate pairs", f"{step['macs']:,}", f"{fvcore['macs']:,}")
    table.add_row("all that is counted", f"{step['ops']['total']:,}", f"{fvcore['total']:,}")
    table.add_row("pairs per image", f"{step['macs'] / images:,.0f}", f"{fvcore['macs'] / images:,.0f}")
    console.print()
    console.print(table)
    times = step["macs"] / images / forward_macs if forward_macs else 0.0
    for sentence in (
        f"An image costs {times:.1f} times what one forward pass through each network does.",
        *fvcore["leaves_out"],
    ):
        grid = Table.grid(padding=(0, 1))
        grid.add_row(" •", sentence)
        console.print(grid)
