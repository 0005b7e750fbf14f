"""`logs -f` on a folder that is damaged, replaced or removed while it is followed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.cli.commands import logs
from ganhpc.runs.run_folder import Run, State
from tests.faults import folders
from tests.faults.test_damaged import check
from tests.faults.typed import Typed, typed
from tests.run_folders import stopped


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("STATE", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("GANHPC_CONFIG", "/dev/null")
    made = stopped(tmp_path / "runs", "resumable", "SIGINT", **folders.SMALL)
    made.log.write_text("first\n")
    return made


def followed(run: Run, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> Typed:
    """Output of `logs -f` for a run that trains for three looks, where something happens after the first."""
    looks = 0
    real = logs._look

    def look(asked: Run) -> logs.RunView:
        nonlocal looks
        looks += 1
        found = real(asked)
        if looks == 2:
            change()
        trains = dataclasses.replace(found.run_status, state=State.RUNNING)
        return dataclasses.replace(found, run_status=trains) if looks < 4 else found

    monkeypatch.setattr(logs, "_look", look)
    monkeypatch.setattr(logs, "_ASK_SECONDS", -1.0)
    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    said = typed("logs", str(run.folder), "-f", "--runs", str(run.folder.parents[1]))
    assert looks == 4
    return said


def test_lines_that_come_are_printed_and_obeyed_by_no_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def more() -> None:
        with run.log.open("ab") as file:
            file.write(b"\x1b[2J\x1b]0;x\x07second\xff\xe2\x80\xae\n=third\nhalf")

    said = followed(run, monkeypatch, more)
    check(said, well=True)
    assert said.out.splitlines() == ["first", "\\e[2J\\e]0;x\\asecond\ufffd\\u202e", "=third"]
    assert "the run is resumable (SIGINT)" in said.err


@pytest.mark.parametrize("damage", sorted(folders.DAMAGES))
@pytest.mark.parametrize("file", ["log.txt", "status.json", "experiment.json", "result.json", "request.json"])
def test_a_file_that_is_damaged_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch, file: str, damage: str) -> None:
    said = followed(run, monkeypatch, lambda: folders.DAMAGES[damage](run.folder / file))
    check(said)
    assert said.out.startswith("first\n")


def test_a_folder_that_goes_away_or_is_replaced_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced() -> None:
        shutil.rmtree(run.folder)
        run.folder.symlink_to("/dev")

    kept = shutil.copytree(run.folder, run.folder.with_name("kept"))
    for change in (lambda: shutil.rmtree(run.folder), replaced):
        shutil.copytree(kept, run.folder, dirs_exist_ok=True)
        with monkeypatch.context() as patched:
            check(followed(run, patched, change))
