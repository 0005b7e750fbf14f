"""`bench` on a cluster's frontend, where nothing may compute."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from ganhpc.cli.commands import bench
from ganhpc.core.errors import UserError

JOBS = ("SLURM_JOB_ID", "SLURMD_NODENAME", "OAR_JOB_ID", "OAR_NODEFILE")


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Measurements begun, on a machine with no scheduler's command; none of them is made."""
    begun: list[list[str]] = []
    monkeypatch.setattr(bench, "_measured", lambda words, _: begun.append(words) or {})
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in JOBS:
        monkeypatch.delenv(name, raising=False)
    return begun


def typed(*words: str) -> BaseException | None:
    return CliRunner().invoke(bench.command, ["--json", *words]).exception


@pytest.mark.parametrize("command", ["sbatch", "oarsub"])
def test_nothing_is_measured_on_a_frontend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[list[str]], command: str
) -> None:
    assert typed() is None and len(measured) == 1, "no cluster here"
    (tmp_path / command).write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / command).chmod(0o755)
    refused = typed()
    assert isinstance(refused, UserError) and f"{command} is here" in str(refused) and "--on local" in str(refused)
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # as salloc sets it on the frontend too
    assert isinstance(typed(), UserError) and len(measured) == 1
    assert typed("--on", "local") is None and len(measured) == 2
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    assert typed() is None and len(measured) == 3


def test_a_measurement_is_none_of_the_processes_of_which_a_shell_keeps_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Begun(Exception):
        pass

    def begin(*_: object, env: dict[str, str], **__: object) -> None:
        raise Begun(env.get("WORLD_SIZE"), env["MINE"])

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MINE", "stays")
    monkeypatch.setattr(bench.subprocess, "Popen", begin)
    with pytest.raises(Begun) as begun:
        bench._measured([], Console())
    assert begun.value.args == (None, "stays")
