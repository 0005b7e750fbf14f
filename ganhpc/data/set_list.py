"""The data sets by name, what each is, and which can be fetched, found without importing those that need torch."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganhpc.data import base
from ganhpc.errors import UserError, nearest


@dataclass(frozen=True)
class DataSet:
    """A data set that can be asked for by name."""

    name: str
    what: str
    """The first paragraph of its module's text."""
    fetched: bool
    """Whether its module has `status(root)` and `ensure(root)`: it lies in files that can be fetched."""

    def module(self) -> Any:
        """The module, which imports neither torch nor numpy where `fetched`."""
        return importlib.import_module(f"ganhpc.data.{self.name}")


def data_sets(name: str | None = None) -> list[DataSet]:
    """Every data set, or the one called `name`. Raises UserError with the nearest names where there is none."""
    names = base.names()
    if name is None:
        return [_read(n) for n in names]
    if name not in names:
        raise UserError(
            f"there is no data set {name!r}: {nearest(name, names)}. A folder or zip of images needs no name: --data PATH."
        )
    return [_read(name)]


def _read(name: str) -> DataSet:
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    text = " ".join((ast.get_docstring(tree) or name).partition("\n\n")[0].split())
    return DataSet(name, text, {"status", "ensure"} <= functions)
