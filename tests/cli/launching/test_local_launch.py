"""Trainings on this machine: the environment that a launch gives to its trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ganhpc.cli.launching import local_launch
from ganhpc.runs import fault_count
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_protocol import LAUNCH
from tests.helpers import small


def test_each_launch_counts_its_own_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixth `--on local` in all that meets a full disk is no crash: a person has typed each."""
    run, environments = Run.open(tmp_path, small()), []

    def started(command: list[str], env: dict[str, Any], **how: Any) -> None:
        del command, how
        environments.append(env)

    monkeypatch.setattr(local_launch, "TrainerProcesses", started)
    monkeypatch.setenv(LAUNCH, "of a job around it")
    counts = []
    for _ in range(fault_count.MOST + 1):
        local_launch._start(run, ["true"], None)
        counts.append(fault_count.note(run.folder, environments[-1][LAUNCH], 0, number=28))
    assert counts == [1] * (fault_count.MOST + 1)
    assert [fault_count.note(run.folder, environments[-1][LAUNCH], 0) for _ in range(2)] == [2, 3]
    assert os.environ[LAUNCH] == "of a job around it"


def test_a_launch_of_a_long_name_is_counted_too(tmp_path: Path) -> None:
    assert [fault_count.note(tmp_path, "x" * 400, 0) for _ in range(3)] == [1, 2, 3]
