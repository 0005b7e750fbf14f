"""The folders keep their places: layers and sides by import-linter, a face in every folder, no torch on the login side, short files."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(p.parent for p in (ROOT / "ganhpc").rglob("__init__.py") if p.parent != ROOT / "ganhpc")
LOGIN = ("core", "datasets", "runs", "scans", "launch", "analysis", "cli")


def sources() -> list[str]:
    files = [*(ROOT / "ganhpc").rglob("*.py"), *(ROOT / "jobs").glob("*.py"), ROOT / "launch.py"]
    return sorted(str(f.relative_to(ROOT)) for f in files)


def test_imports_keep_the_layers_and_sides() -> None:
    assert importlib.util.find_spec("importlinter"), "import-linter is missing: pip install -e '.[test]'"
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--config",
        "setup.cfg",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout), done.stdout


def test_the_layers_see_an_import_against_them(tmp_path: Path) -> None:
    """An import inside a function counts, and a broken contract is an error."""
    for name, text in {
        "low": "def f():\n    from pkg.high import g\n",
        "high": "def g(): ...\n",
        "__init__": "",
    }.items():
        (tmp_path / "pkg").mkdir(exist_ok=True)
        (tmp_path / "pkg" / f"{name}.py").write_text(text)
    contract = "[importlinter]\nroot_package = pkg\n[importlinter:contract:a]\nname = a\ntype = layers\nlayers =\n    pkg.high\n    pkg.low\n"
    (tmp_path / "setup.cfg").write_text(contract)
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--config",
        "setup.cfg",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "pkg.low -> pkg.high" in done.stdout


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: str(f.relative_to(ROOT)))
def test_every_folder_has_a_face(folder: Path) -> None:
    face = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    side = re.search(r"^Side: (both|login|compute)\. May import: .+\.$", face, re.MULTILINE | re.DOTALL)
    assert side, f"{folder.relative_to(ROOT)}/__init__.py says neither its side nor what it may import"
    top = folder.relative_to(ROOT / "ganhpc").parts[0]
    expected = {"train": "compute", "program": "compute"}.get(
        top, "both" if top in ("core", "datasets", "runs", "scans") else "login"
    )
    assert side[1] == expected


@pytest.mark.parametrize("folder", [*FOLDERS, ROOT / "jobs"], ids=lambda f: str(f.relative_to(ROOT)))
def test_a_face_names_what_its_folder_imports(folder: Path) -> None:
    """Beside its own top folder, whose layers import-linter holds."""
    face = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    named = set(re.findall(r"[a-z]+", face.partition("May import:")[2]))
    own = folder.relative_to(ROOT).parts[:2][-1]
    imported = {top: path.name for path in folder.glob("*.py") for top in _imported_tops(path)}
    assert not {top: name for top, name in imported.items() if top not in {*named, own}}


def _imported_tops(path: Path) -> set[str]:
    """The top folders from which a file imports, inside functions too: ganhpc.core.files is of core."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for first, *rest in (name.split(".") for name in names):
            if first == "jobs":
                found.add("jobs")
            elif first == "ganhpc" and rest and (ROOT / "ganhpc" / rest[0]).is_dir():
                found.add(rest[0])
    return found


def test_the_page_names_every_folder() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    tops = {f"`ganhpc/{folder.relative_to(ROOT / 'ganhpc').parts[0]}`" for folder in FOLDERS}
    assert not [top for top in tops if top not in page]
    named = re.findall(r"`(ganhpc/[\w/]+\.py)`", page)
    assert not [path for path in named if not (ROOT / path).exists() and "/x.py" not in path]


def test_the_login_side_never_imports_torch() -> None:
    names = [
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sources()
        if path.startswith((*(f"ganhpc/{top}/" for top in LOGIN), "jobs/"))
    ]
    code = f"import sys, importlib\n[importlib.import_module(n) for n in {names!r}]\nheavy = [m for m in ('torch', 'numpy', 'torchvision') if m in sys.modules]\nsys.exit(f'imported {{heavy}}' if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_files_stay_short() -> None:
    long = {p: n for p in sources() if (n := len((ROOT / p).read_text().splitlines())) > 600}
    assert not long, "split these files"


def test_functions_stay_short() -> None:
    nodes = [(path, node) for path in sources() for node in ast.walk(ast.parse((ROOT / path).read_text()))]
    functions = [(path, node) for path, node in nodes if isinstance(node, ast.FunctionDef)]
    long = [f"{path}:{node.name}" for path, node in functions if (node.end_lineno or 0) - node.lineno + 1 > 60]
    assert not long


def test_no_code_is_dead() -> None:
    """Settings: [tool.vulture] of pyproject.toml."""
    done = subprocess.run([sys.executable, "-m", "vulture"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_imported_is_required_and_what_is_required_is_imported(tmp_path: Path) -> None:
    """deptry does not read setup.cfg: it gets what is required as a requirements file."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    wanted = [setup["options"]["install_requires"]]
    wanted += [setup["options.extras_require"][extra] for extra in ("measures", "onnx", "report")]
    lines = [line for text in wanted for line in text.splitlines() if not line.startswith("#")]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    command = [sys.executable, "-m", "deptry", ".", "--requirements-files", str(tmp_path / "requirements.txt")]
    command += ["--known-first-party", "ganhpc", "--known-first-party", "jobs", "--no-ansi"]
    # zoneinfo reads tzdata.
    command += ["--extend-exclude", "benchmarks", "--per-rule-ignores", "DEP002=tzdata"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
