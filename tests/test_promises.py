"""docs/promises.md names tests that exist: a promise without its test is none."""

from __future__ import annotations

import ast
import re

from tests.helpers import ROOT

PAGE = ROOT / "docs" / "promises.md"
_TEST = re.compile(r"`((?:tests/[\w/]+\.py)?(?:::\w+)?)`")


def rows() -> list[tuple[str, list[str]]]:
    """(what is promised, the tests that hold it) of every row of the page's tables."""
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and cells[0] != "promise" and not line.startswith("| ---"):
            found.append((cells[0], [name for name in _TEST.findall(cells[1]) if name]))
    return found


def test_every_promise_names_a_test_that_exists() -> None:
    assert len(rows()) > 15, "the page's tables have another form"
    wrong = []
    for promise, tests in rows():
        file = ""
        if not tests:
            wrong.append(f"no test: {promise}")
        for name in tests:
            path, _, function = name.partition("::")
            file = path or file
            if not (ROOT / file).is_file():
                wrong.append(f"no file {file}: {promise}")
                continue
            names = [
                node.name
                for node in ast.walk(ast.parse((ROOT / file).read_text()))
                if isinstance(node, ast.FunctionDef)
            ]
            if not any(each.startswith("test_") for each in names) or (function and function not in names):
                wrong.append(f"no {name}: {promise}")
    assert not wrong, "\n".join(wrong)
