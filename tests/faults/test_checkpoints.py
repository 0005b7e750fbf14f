"""A training goes on from the newest checkpoint that fits its run, whatever the newer ones hold."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganhpc.runs.run_folder import Run
from ganhpc.train.runtime import checkpoint
from tests.helpers import finish, made, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was killed behind its first checkpoint."""
    run = made(tmp_path)
    with monkeypatch.context() as patch:
        kill_at(patch, 15)
        with pytest.raises(Killed):
            finish(run)
    assert run.has_checkpoint()
    return run


def other_shapes(tree: dict[str, Any]) -> None:
    tree["modules"] = {name: {"x": torch.zeros(1)} for name in tree["modules"]}


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no modules": lambda tree: tree.pop("modules"),
    "other shapes": other_shapes,
    "a clock of words": lambda tree: tree.update(clock={"used": "x", "phases": 1}),
    "no clock": lambda tree: tree.pop("clock"),
    "a clock that is a list": lambda tree: tree.update(clock=[1]),
    "progress that is no JSON": lambda tree: tree.update(progress="{"),
    "progress of other fields": lambda tree: tree.update(progress='{"unheard": 1}'),
    "progress of wrong types": lambda tree: tree.update(progress='{"step": "x"}'),
    "random states of another kind": lambda tree: tree.update(random={"torch": 1}),
    "optimizers of another network": lambda tree: tree.update(optimizers={name: {} for name in tree["optimizers"]}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_the_one_before_is_taken(stopped: Run, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree, _ = checkpoint.load(stopped.checkpoints, torch.device("cpu"))
    assert tree is not None
    step = trainer_of(stopped).progress.step
    copy = torch.load(io.BytesIO(_bytes(tree)), weights_only=True)
    CHANGES[change](copy)
    copy.pop("format")
    checkpoint.save(stopped.checkpoints, step + 1, copy)
    capsys.readouterr()
    assert trainer_of(stopped).progress.step == step
    said = capsys.readouterr().out
    assert f"step-{step + 1:010d} is broken" in said and "going back to the one before" in said


@pytest.mark.slow
def test_checkpoints_of_another_run_do_not_become_this_ones_result(
    stopped: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copied from a run of the same networks: with its weights, the figures would be of another seed."""
    theirs = stopped.experiment()
    other = Run.open(tmp_path / "others", theirs.replace(seed=theirs.seed + 1))
    shutil.copytree(stopped.checkpoints, other.checkpoints)
    assert trainer_of(other).progress.step == 0
    said = capsys.readouterr().out
    assert "is broken (it is of another run)" in said and "starting over" in said
    assert trainer_of(stopped).progress.step > 0, "its own are taken"


@pytest.mark.slow
def test_a_checkpoint_of_an_older_version_which_tells_no_run_is_taken(stopped: Run) -> None:
    tree, _ = checkpoint.load(stopped.checkpoints, torch.device("cpu"))
    assert tree is not None and tree.pop("signature") and tree.pop("format")
    step = trainer_of(stopped).progress.step
    shutil.rmtree(stopped.checkpoints)
    stopped.checkpoints.mkdir()
    checkpoint.save(stopped.checkpoints, step, tree)
    assert trainer_of(stopped).progress.step == step


def _bytes(tree: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file)
    return file.getvalue()
