"""Processes by their numbers, where /proc hides other users' (hidepid)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganhpc.core import process_numbers, storage_errors
from ganhpc.runs import file_owner


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A living process."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def hide(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    """Let /proc show nothing of a process, as a mount with hidepid=2 does of other users' ones."""
    real = {"read_text": Path.read_text, "exists": Path.exists}

    def hidden(path: Path) -> bool:
        return re.match(rf"/proc/{pid}(/|$)", str(path)) is not None

    def read_text(path: Path, *words: object, **options: object) -> str:
        if hidden(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return str(real["read_text"](path, *words, **options))

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "exists", lambda path: not hidden(path) and real["exists"](path))


def test_a_process_that_is_not_shown_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    name = file_owner.process(child.pid)
    half = tmp_path / storage_errors.temporary_name("status.json").replace(f".{os.getpid()}.", f".{child.pid}.")
    half.write_text("half")
    with monkeypatch.context() as patch:
        hide(patch, child.pid)
        assert process_numbers.exists(child.pid) and process_numbers.born(child.pid) == process_numbers.HIDDEN
        assert not file_owner.is_over(name)
        assert not file_owner.is_alive_here(name), "the number alone does not tell whose it is"
        assert storage_errors.remove_leftovers(tmp_path) == 0
        child.kill()
        child.wait()
        assert file_owner.is_over(name) and storage_errors.remove_leftovers(tmp_path) == 1


@pytest.mark.parametrize("pid", [0, -1, -7, 2**22 + 5, 2**31, 2**63, 10**30])
def test_a_number_that_no_process_can_have_is_nobodys_and_gets_no_signal(pid: int) -> None:
    assert not process_numbers.exists(pid) and process_numbers.born(pid) is None
