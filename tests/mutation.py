"""`make mutation`: change the planner's and its neighbours' code in many small ways, and see whether their tests notice.

    python -m tests.mutation [MODULE...] [--sample 150] [--least 95]

mutmut makes the changes and runs the tests of each module alone, on a copy of the tree. Prints the changes that no test noticed and a line a
module, and ends with 1 where fewer than `--least` of 100 were noticed. `--sample` takes so many changes of each module only,
the same ones at every run. docs/mutation.md has the figures.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = (
    "tests/launch/planner/test_planner_limits.py",
    "tests/launch/policy/test_constraints.py",
    "tests/launch/planner/test_planner.py",
    "tests/launch/planner/test_any_instant.py",
)
MODULES = {
    "core/units": ("tests/core/test_units.py",),
    "launch/policy/calendar": (
        "tests/launch/policy/test_calendar.py",
        "tests/launch/policy/test_constraints.py",
        "tests/launch/policy/test_policy.py",
    ),
    "launch/policy/constraints": (*LIMITS, "tests/launch/policy/test_policy.py"),
    "launch/planner/planner": LIMITS,
    "launch/planner/planning_window": LIMITS,
    "launch/planner/submission_modes": (*LIMITS, "tests/launch/planner/test_submission_modes.py"),
    "runs/submission_record": ("tests/runs/test_submission_record.py",),
    "launch/submission/submit": ("tests/launch/submission/test_submit.py", "tests/launch/submission/test_survey.py"),
    "train/runtime/checkpoint": ("tests/train/runtime/test_checkpoint.py",),
}
"""Module of ganhpc/ -> the tests that are to notice a change in it."""
SLOW = (
    # mutmut's own imports slow it
    "tests/launch/planner/test_planner.py::test_the_planner_is_imported_quickly_and_without_the_calendar_library",
    "tests/launch/policy/test_calendar.py::test_a_french_plan_needs_no_calendar_library",
)
"""Tests that are left out: in a process of their own, where mutmut sees nothing."""
SHOWN = ("survived", "no tests", "timeout", "suspicious")
"""A test that takes too long may be an endless loop, or a busy machine: it is shown, and not counted as noticed."""
SEED = 16
EXAMPLES_ONLY = """

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not hasattr(getattr(item, "obj", None), "hypothesis")]
"""
"""A hook for the copy's conftest.py: tests of properties, which try hundreds of examples, take no part. With them the shares could only be
higher."""
COPIED = ("jobs", "templates", "launch.py", "tests")
CONFIG = """
[mutmut]
source_paths =
    ganhpc
only_mutate =
    ganhpc/{module}.py
also_copy =
    {copied}
timeout_multiplier = 5
timeout_constant = 5
pytest_add_cli_args_test_selection =
    {tests}
pytest_add_cli_args =
    -p
    no:cacheprovider
    {slow}
"""


def config(module: str) -> str:
    """mutmut's section of setup.cfg for one module."""
    copied, tests, slow = (
        "\n    ".join(lines) for lines in (COPIED, MODULES[module], [f"--deselect={test}" for test in SLOW])
    )
    return CONFIG.format(module=module, copied=copied, tests=tests, slow=slow)


NAMES = """
import sys
from pathlib import Path
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name
path = Path(sys.argv[1])
for name in mutate_file_contents(str(path), path.read_text()).mutant_names:
    print(get_mutant_name(path, name))
"""


def sampled(module: str, tree: Path, most: int) -> list[str]:
    """The names of `most` changes of one module, drawn with a fixed seed; none where it has no more than that: all of them."""
    if not most:
        return []
    command = [sys.executable, "-c", NAMES, f"ganhpc/{module}.py"]
    names = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout.split()
    return sorted(random.Random(SEED).sample(names, most)) if most < len(names) else []


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What the copy of the tree does without: at its top, what git and runs have left; caches anywhere."""
    top = {".git", ".venv", "runs", "data", "mutants"} if Path(folder) == ROOT else set()
    return {name for name in names if name in top or name == "__pycache__"}


def mutated(module: str, children: int, most: int) -> dict[str, str]:
    """The changes of one module by name, each with what became of it: killed, survived, timeout, no tests .."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        shutil.copytree(ROOT, tree, ignore=_left_out)
        with (tree / "setup.cfg").open("a") as file:
            file.write(config(module))
        with (tree / "tests" / "conftest.py").open("a") as file:
            file.write(EXAMPLES_ONLY)
        names = sampled(module, tree, most)
        mutmut = [sys.executable, "-m", "mutmut"]
        same = {**os.environ, "CI": "1", "PYTHONPATH": ""}  # hypothesis tries the same examples for every change
        run = subprocess.run(
            [*mutmut, "run", "--max-children", str(children), *names],
            cwd=tree, env=same, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            raise SystemExit(f"{module}: mutmut ended with {run.returncode}\n{run.stdout[-2000:]}")
        said = subprocess.run(
            [*mutmut, "results", "--all", "true"], cwd=tree, capture_output=True, text=True, check=True
        )
        found = dict(re.findall(r"^\s*(\S+): (.+)$", said.stdout, re.MULTILINE))
        found = {name: found[name] for name in names} if names else found
        for change, state in found.items():
            if state in SHOWN:
                shown = subprocess.run([*mutmut, "show", change], cwd=tree, capture_output=True, text=True, check=False)
                print(f"    {change}: {state}", *re.findall(r"^[-+] .*", shown.stdout, re.MULTILINE), sep="\n      ")
    return found


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="mutation run")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}  [default: all]")
    parser.add_argument("--least", type=float, default=95.0, help="changes of 100 that must be noticed in each module")
    parser.add_argument("--sample", type=int, default=0, help="changes of each module at most  [default: all]")
    parser.add_argument("--children", type=int, default=2, help="processes at a time")
    asked = parser.parse_args()
    if unknown := set(asked.modules) - set(MODULES):
        parser.error(f"no module {', '.join(sorted(unknown))}: one of {', '.join(MODULES)}")
    worst = 100.0
    for module in asked.modules or MODULES:
        found = mutated(module, asked.children, asked.sample)
        noticed = sum(state in ("killed", "segfault") for state in found.values())
        share = 100.0 * noticed / len(found) if found else 0.0
        worst = min(worst, share)
        print(f"{module:<32} {noticed} of {len(found)} noticed ({share:.1f} %)", flush=True)
    return 0 if worst >= asked.least else 1


if __name__ == "__main__":
    sys.exit(main())
