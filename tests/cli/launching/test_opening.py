"""Runs that are gone on with by their names: a user's program is shown, and another user's is not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from ganhpc.cli.launching import opening
from ganhpc.core.errors import UserError
from tests.faults.typed import typed
from tests.helpers import made as made_training
from tests.program.local_runs import made


def test_the_command_of_a_program_is_shown_before_it_is_gone_on_with(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", "print('a b\x1b[2J')")
    console = Console(record=True, width=400, quiet=True)
    assert opening._program_of(run, run.experiment()) == (
        f"program: python -c $'print(\\'a b\\x1b[2J\\')' (in {tmp_path})"
    )
    opening.hold_again(run, run.experiment(), console)
    training = made_training(tmp_path)
    assert opening._program_of(training, training.experiment()) == ""


@pytest.mark.parametrize("way", [(), ("--dry-run",)])
def test_another_users_program_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    run = made(tmp_path, "touch", str(tmp_path / "RUN"))
    mine = os.getuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: mine + 1)
        with pytest.raises(
            UserError, match=r"is another user's, and its definition names a program: touch .* nothing of it is run"
        ):
            opening.compare_again(run, run.experiment())
        said = typed("resume", str(run.folder), "--on", "local", *way, "--runs", str(tmp_path / "runs"))
    assert said.code == 2 and "type the command that began it yourself" in said.err
    assert not (tmp_path / "RUN").exists()
