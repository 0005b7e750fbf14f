"""Scripts and commands, word for word. A change on purpose: `python -m tests.golden.scripts_of`, and look at the difference."""

from __future__ import annotations

import subprocess

import pytest

from tests.golden.scripts_of import CLASSES, FOLDER, requests, texts

NAMES = [f"{name}-{kind}.sh" for name in CLASSES for kind in (*requests(name), "night")]


@pytest.mark.parametrize("name", NAMES)
def test_the_script_is_as_it_was_read_and_agreed_to(name: str) -> None:
    path = FOLDER / name
    assert path.is_file(), f"{path} is missing: python -m tests.golden.scripts_of"
    assert texts()[name] == path.read_text()


def test_there_are_no_others() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(NAMES) == sorted(texts())


@pytest.mark.parametrize("name", NAMES)
def test_bash_reads_it(name: str) -> None:
    script = (FOLDER / name).read_text().partition("\n$ ")[0]
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
