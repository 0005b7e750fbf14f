"""`make mutation`: change the planner's and its neighbours' code in many small ways, and see whether their tests notice.

    python -m tests.mutation [MODULE...] [--least 95]

mutmut makes the changes and runs the tests of each module alone, on a copy of the tree. Prints a line a module, with the changes that
no test noticed, and ends with 1 where fewer than `--least` of 100 were noticed. docs/mutation.md has the figures.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "core/units": ("tests/core/test_units.py",),
    "launch/policy/calendar": (
        "tests/launch/policy/test_policy.py",
        "tests/launch/submission/test_present.py",
        "tests/launch/policy/test_calendar.py",
    ),
    "launch/planner/planning_window": (
        "tests/launch/planner/test_planner.py",
        "tests/launch/submission/test_present.py",
    ),
    "launch/planner/submission_modes": (
        "tests/launch/planner/test_planner.py",
        "tests/launch/submission/test_prepare.py",
    ),
    "launch/policy/constraints": (
        "tests/launch/planner/test_planner.py",
        "tests/launch/policy/test_policy.py",
        "tests/launch/planner/test_plans_checked.py",
    ),
    "launch/planner/planner": ("tests/launch/planner/test_planner.py", "tests/launch/planner/test_plans_checked.py"),
    "runs/submission_record": ("tests/launch/submission/test_prepare.py", "tests/launch/submission/test_job_status.py"),
    "launch/submission/submit": ("tests/launch/submission/test_prepare.py", "tests/launch/submission/test_present.py"),
    "train/runtime/checkpoint": ("tests/train/runtime/test_checkpoint.py",),
}
"""Module of ganhpc/ -> the tests that are to notice a change in it."""
COPIED = ("jobs", "templates", "launch.py", "tests")
CONFIG = """
[mutmut]
source_paths =
    ganhpc
only_mutate =
    ganhpc/{module}.py
also_copy =
    {copied}
pytest_add_cli_args_test_selection =
    {tests}
pytest_add_cli_args =
    -p
    no:cacheprovider
    --deselect=tests/launch/planner/test_planner.py::test_the_planner_is_imported_quickly_and_without_the_calendar_library
"""
"""mutmut's own imports slow the one deselected test."""


def config(module: str) -> str:
    """mutmut's section of setup.cfg for one module."""
    return CONFIG.format(module=module, copied="\n    ".join(COPIED), tests="\n    ".join(MODULES[module]))


def mutated(module: str, children: int) -> dict[str, str]:
    """The changes of one module by name, each with what became of it: killed, survived, timeout, no tests .."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "mutants", "__pycache__"))
        with (tree / "setup.cfg").open("a") as file:
            file.write(config(module))
        mutmut = [sys.executable, "-m", "mutmut"]
        subprocess.run(
            [*mutmut, "run", "--max-children", str(children)], cwd=tree, stdout=subprocess.DEVNULL, check=True
        )
        said = subprocess.run(
            [*mutmut, "results", "--all", "true"], cwd=tree, capture_output=True, text=True, check=True
        )
    return dict(re.findall(r"^\s*(\S+): (.+)$", said.stdout, re.MULTILINE))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="mutation run")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}  [default: all]")
    parser.add_argument("--least", type=float, default=95.0, help="changes of 100 that must be noticed in each module")
    parser.add_argument("--children", type=int, default=2, help="processes at a time")
    asked = parser.parse_args()
    if unknown := set(asked.modules) - set(MODULES):
        parser.error(f"no module {', '.join(sorted(unknown))}: one of {', '.join(MODULES)}")
    worst = 100.0
    for module in asked.modules or MODULES:
        found = mutated(module, asked.children)
        noticed = sum(state in ("killed", "timeout", "suspicious", "segfault") for state in found.values())
        share = 100.0 * noticed / len(found) if found else 0.0
        worst = min(worst, share)
        print(f"{module:<32} {noticed} of {len(found)} noticed ({share:.1f} %)", flush=True)
        for name, state in found.items():
            if state in ("survived", "no tests"):
                print(f"    {name}: {state}")
    return 0 if worst >= asked.least else 1


if __name__ == "__main__":
    sys.exit(main())
