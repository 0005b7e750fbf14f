"""A teacher inside the budget: two stages of one training, killed and resumed in both, and no part of the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from ganhpc.core.files import read_json
from ganhpc.runs.run_folder import Run
from ganhpc.train.tasks.distillation import distilled
from ganhpc.train.tasks.stage import Stage, within
from tests.helpers import finish, made, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at

TAUGHT: dict[str, Any] = {"teacher": "compact", "teacher_channels": (8, 8), "teacher_share": 0.5, "epochs": 4, "optimizer": "muon", "lr": 0.1}  # fmt: skip


def test_the_loss_is_hintons() -> None:
    torch.manual_seed(0)
    scores, teachers, plain = torch.randn(5, 10), torch.randn(5, 10), torch.tensor(2.0)
    p, q = F.softmax(teachers / 3, 1), F.softmax(scores / 3, 1)
    divergence = (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(
        distilled(scores, teachers, plain, temperature=3.0, weight=0.7), 0.3 * plain + 0.7 * 9 * divergence
    )
    assert distilled(scores, scores, plain, temperature=3.0, weight=1.0).abs() < 1e-5, "nothing to learn from oneself"


def test_progress_within_a_stage() -> None:
    stages = (Stage("teacher", 0.25), Stage("net", 1.0))
    assert [within(stages, 0, 0.0, s) for s in (0.0, 0.125, 0.25, 0.3)] == [0.0, 0.5, 1.0, 1.0]
    assert [within(stages, 1, 0.25, s) for s in (0.25, 0.625, 1.0)] == [0.0, 0.5, 1.0]
    assert within(stages, 1, 1.0, 1.0) == 1.0, "the time never reached it"


@pytest.mark.slow  # a second of processor time: it computes
def test_the_teacher_is_no_part_of_the_result(tmp_path: Path) -> None:
    run = made(tmp_path, **TAUGHT, budget_params=62_006)
    result = finish(run)
    assert result["params"] == 62_006 and result["macs"] == 651_720
    assert all(key.startswith("net.") for key in load_file(run.weights))
    assert result["epochs"] == 2 and result["steps"] == 20 and result["teacher_epochs"] == 2
    assert 0 <= result["teacher_accuracy"] <= 1 and result["teacher_seconds"] > 0
    assert result["headline"] == "test_accuracy" and "test_accuracy_no_tta" in result
    curve = (read_json(run.evaluation_json) or {})["curve"]
    assert [("teacher_accuracy" in p, "test_accuracy" in p) for p in curve] == [(True, False)] * 3 + [(False, True)] * 3
    assert curve[3]["step"] == curve[2]["step"] == 20, "the network is evaluated before its training too"


@pytest.mark.slow  # 15 s of processor time for its 4 cases
@pytest.mark.parametrize("dies", [[4], [20], [27], [13, 20, 21, 39]])
def test_killed_in_either_stage_it_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: list[int]
) -> None:
    reference = finish(made(tmp_path / "whole", **TAUGHT))
    run = made(tmp_path / "killed", **TAUGHT, checkpoint_every=0.001)
    for step in dies:
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
    result = finish(run)
    assert result["weights_sha256"] == reference["weights_sha256"]
    assert result["teacher_accuracy"] == reference["teacher_accuracy"] and result["teacher_epochs"] == 2


@pytest.mark.slow  # 1 s of processor time
def test_the_teacher_stands_still_while_it_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, **TAUGHT, checkpoint_every=0.001)
    seen = []
    for step in (21, 35):
        kill_at(monkeypatch, step)
        trainer = trainer_of(run)
        with pytest.raises(Killed):
            trainer.fit()
        seen.append({k: v.clone() for k, v in trainer.task.modules["teacher"].state_dict().items()})
    assert all(torch.equal(seen[0][key], seen[1][key]) for key in seen[0]), "its running statistics too"


@pytest.mark.slow  # 4 s of processor time
def test_the_first_stage_leaves_the_network_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And learning from a teacher is not learning without one."""
    run = made(tmp_path / "a", **TAUGHT, checkpoint_every=0.001)
    begun = {k: v.clone() for k, v in trainer_of(run).task.modules["net"].state_dict().items()}
    kill_at(monkeypatch, 19)
    trainer = trainer_of(run)
    with pytest.raises(Killed):
        trainer.fit()
    assert all(torch.equal(v, begun[k]) for k, v in trainer.task.modules["net"].state_dict().items())
    other = finish(made(tmp_path / "b", **TAUGHT, distil=0.1))
    assert finish(run)["weights_sha256"] != other["weights_sha256"]


@pytest.mark.slow  # 2 s of processor time
def test_both_share_the_time(tmp_path: Path) -> None:
    run = made(tmp_path, **{**TAUGHT, "epochs": None}, time=8.0)
    result = finish(run)
    evaluation = result["seconds_by_phase"]["evaluation"]
    assert result["train_seconds"] <= 8.0 + evaluation + 0.5
    assert result["teacher_epochs"] >= 1 and result["epochs"] > 0 and result["ended_by"] == "time"
    last = Run(run.folder).result() or {}
    assert last["train_seconds"] == result["train_seconds"]
