"""A training goes on from the newest checkpoint that fits its run, whatever the newer ones hold."""

from __future__ import annotations

import io
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


def _bytes(tree: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file)
    return file.getvalue()
