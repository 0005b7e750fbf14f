"""Check of the data sets that lie in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.datasets.catalogue import data_sets
from ganhpc.launch.doctor.finding import Finding, good, note


def check_data(root: Path | None) -> Iterator[Finding]:
    """A line for each set that can be fetched: whether it is whole, at hand, or still to come."""
    for found in data_sets():
        if found.fetched:
            try:
                status = found.module().status(root)
            except UserError:
                continue  # The configuration can't be read, and has a line of its own.
            yield _line(status)


def _line(status: Any) -> Finding:
    fetch = f"`python launch.py data {status.name} --fetch`"
    facts = {"set": status.name, "whole": status.whole, "path": str(status.cache)}
    if status.whole:
        return good("data", f"{status.name} is whole ({status.bytes / 1e6:.0f} MB in {status.cache})", **facts)
    if status.problem:
        return note("data", f"{status.name} is damaged: {status.problem}", f"{fetch} makes it again.", **facts)
    if status.found:
        return good(
            "data",
            f"{status.name} is at hand in {status.found[0]}, and is read when training first asks for it",
            **facts,
        )
    fix = f"{fetch} gets it, as training does when it begins; `python launch.py data {status.name}` shows other ways."
    return note("data", f"{status.name} is not on this machine", fix, **facts)
