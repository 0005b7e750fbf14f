"""Trainings on this machine: the environment that a launch gives to its trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ganhpc.cli.launching import local_launch
from ganhpc.core.errors import UserError
from ganhpc.runs import fault_count
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_protocol import LAUNCH
from tests.conftest import Launch
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


def test_a_log_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    run, own = Run.open(tmp_path, small()), tmp_path / ".bashrc"
    own.write_text("alias ll='ls -l'\n")
    run.log.symlink_to(own)
    with pytest.raises(UserError, match=r"log\.txt is a link, .* move the link away"):
        local_launch._start(run, ["echo", "of the training"], None)
    assert own.read_text() == "alias ll='ls -l'\n"


def test_a_launch_of_a_long_name_is_counted_too(tmp_path: Path) -> None:
    assert [fault_count.note(tmp_path, "x" * 400, 0) for _ in range(3)] == [1, 2, 3]


MODULES = ("random", "secrets", "json", "numpy", "torch", "queue", "ganhpc")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_modules_in_the_folder_in_which_it_is_typed_are_not_run(tmp_path: Path, launch: Launch, processes: int) -> None:
    """Somebody's files beside a run that was copied, or one's own random.py: the trainer takes Python's own modules."""
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'RUN')!r}, 'a').write({name!r})\nraise SystemExit(9)\n"
        )
    words = ("--preset", "course", "--data", "synthetic", "--train-images", "200", "--epochs", "1", "--device", "cpu")
    done = launch("cifar", *words, "--tasks-per-node", str(processes), OMP_NUM_THREADS="1", PYTHONPATH="")
    assert not (tmp_path / "RUN").exists(), (tmp_path / "RUN").read_text()
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_process_of_ours_takes_modules_of_the_present_folder() -> None:
    """Every Python that is started runs with -P, or in a folder of its own."""
    from ganhpc.analysis.tensorboard_server import command
    from ganhpc.runs.trainer_processes import Nodes
    from ganhpc.runs.trainer_processes import command as trains

    one, several = trains(Path("/run"), 1), trains(Path("/run"), 2, Nodes(2))
    for words in (one, several, several[several.index("--no-python") + 1 :], command(Path("/links"), 6006, 5.0)):
        assert words[1:3] == ["-P", "-m"], words
