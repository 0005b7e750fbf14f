"""What a user sees at the end of a run, or of a finished one."""

from __future__ import annotations

from rich.console import Console

from ganhpc.run import Run


def show_run(run: Run, console: Console) -> None:
    """The result in a few lines, or the state and its reason."""
    result = run.result()
    if result is None:
        standing = run.standing()
        console.print(f"{standing.state}: {standing.reason}")
        return
    console.print(f"test accuracy {result.get('test_accuracy')}  folder {run}")
