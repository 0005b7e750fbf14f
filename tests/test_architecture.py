"""ARCHITECTURE.md tells the truth: every file has its line, imports keep the directions, and the login half never imports torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"^\| `(?P<path>[^`]+)` \| (?P<side>login|shared|compute) \| (?P<what>[^|]+) \|$", re.MULTILINE)
ALLOWED = {"shared": {"shared"}, "login": {"shared", "login"}, "compute": {"shared", "compute"}}


def documented() -> dict[str, str]:
    """The side of each file in the page's tables."""
    return {m["path"]: m["side"] for m in LINE.finditer((ROOT / "ARCHITECTURE.md").read_text())}


def sources() -> list[str]:
    files = [*(ROOT / "ganhpc").rglob("*.py"), *(ROOT / "jobs").glob("*.py"), ROOT / "launch.py"]
    return sorted(str(f.relative_to(ROOT)) for f in files)


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, *, everywhere: bool = False) -> set[str]:
    """The project's modules that `path` imports at its top level (or anywhere in it), those for type checking left out."""
    tree = ast.parse((ROOT / path).read_text())
    nodes = list(ast.walk(tree)) if everywhere else list(tree.body)
    known = {module_of(p) for p in sources()}
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in known else node.module for a in node.names
            }
    return found & known


def test_every_file_has_its_line_and_no_line_lacks_its_file() -> None:
    assert sorted(documented()) == sources()


@pytest.mark.parametrize("path", sources())
def test_imports_keep_the_directions(path: str) -> None:
    sides = {module_of(p): side for p, side in documented().items()}
    wrong = {name for name in imports(path) if sides[name] not in ALLOWED[sides[module_of(path)]]}
    assert not wrong, f"{path} ({sides[module_of(path)]}) may not import {sorted(wrong)}"


def test_there_is_no_import_cycle() -> None:
    graph = {module_of(path): imports(path) - {module_of(path)} for path in sources()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


def test_the_login_half_never_imports_torch() -> None:
    names = [module_of(p) for p, side in documented().items() if side != "compute" and p != "launch.py"]
    code = f"import sys, importlib\n[importlib.import_module(n) for n in {names!r}]\nheavy = [m for m in ('torch', 'numpy', 'torchvision') if m in sys.modules]\nsys.exit(f'imported {{heavy}}' if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_files_stay_short() -> None:
    long = {p: n for p in sources() if (n := len((ROOT / p).read_text().splitlines())) > 400}
    assert not long, "split these files"


def test_functions_stay_short() -> None:
    nodes = [(path, node) for path in sources() for node in ast.walk(ast.parse((ROOT / path).read_text()))]
    functions = [(path, node) for path, node in nodes if isinstance(node, ast.FunctionDef)]
    long = [f"{path}:{node.name}" for path, node in functions if (node.end_lineno or 0) - node.lineno + 1 > 70]
    assert not long
