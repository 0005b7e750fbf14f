"""Scans that an experiment's file names. Apart from the rest of scans/: every command imports the experiments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ganhpc.core.errors import UserError


class Named(NamedTuple):
    """A scan that an experiment's file names."""

    values: Mapping[str, Sequence[Any]]
    """Option -> the values to try."""
    preset: str = "default"
    """The preset that it starts from where no --preset is typed."""
    zip: bool = False
    """The values go in pairs, the first with the first, instead of each with each."""


def named_scans(cls: type) -> dict[str, Named]:
    """The scans that the file of the experiment `cls` names."""
    found = dict(getattr(importlib.import_module(cls.__module__), "SCANS", {}))
    for name, scan in found.items():
        if not isinstance(name, str) or not isinstance(scan, Named):
            raise UserError(
                f"SCANS of {cls.__module__.rpartition('.')[2]}.py has {name!r}, which is no Named({{..}}): write one."
            )
    return found
