"""Replayed steps are the same steps. What needs a GPU to be recorded is replaced by the function itself, and checked on one where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ganhpc.train.loop.trainer import Trainer
from ganhpc.train.optim import optimizers
from ganhpc.train.runtime import cuda_graph
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.training_clock import Clock
from tests.helpers import finish, made, small, trainer_of

RECIPE = {
    "net": "compact",
    "channels": (8, 8),
    "depths": (1, 1),
    "stem": 8,
    "optimizer": "muon",
    "batch_size": 20,
    "epochs": 3,
}
GPU = Distributed(0, 1, torch.device("cuda"))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


def test_one_gpu_replays_unless_it_is_told_not_to() -> None:
    run = small()
    assert cuda_graph.wanted(run, GPU, True)
    assert not cuda_graph.wanted(run, GPU, False)
    assert not cuda_graph.wanted(run.replace(compile="off"), GPU, True)
    assert not cuda_graph.wanted(run, Distributed(0, 2, torch.device("cuda")), True)
    assert not cuda_graph.wanted(run, Distributed(0, 1, torch.device("cpu")), True)


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.task.modules["net"].parameters()])


@pytest.mark.slow  # a second of processor time: it computes
def test_replays_train_the_same_weights(tmp_path: Path) -> None:
    plain = trainer_of(made(tmp_path / "plain", **RECIPE))
    plain.fit()
    replayed = trainer_of(made(tmp_path / "replayed", **RECIPE))
    steps = cuda_graph.ReplayedSteps(replayed.task.train_step, replayed.clock, lambda step: step)
    replayed.train_step = steps
    replayed.fit()
    assert steps.replays and replayed.progress.step == plain.progress.step == 30
    assert torch.equal(_weights(plain), _weights(replayed))
    assert plain.progress.curve[-1]["train_loss"] == replayed.progress.curve[-1]["train_loss"]


def test_a_replay_reads_the_batch_and_is_charged_like_the_step_before() -> None:
    clock, seen, kept = Clock(), [], torch.zeros(2)

    def step(batch: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
        seen.append(batch[0])
        with clock.phase("forward"):
            kept.copy_(batch[0])
        with clock.phase("backward"):
            sum(range(20_000))
        return {"loss": kept.sum()}

    def record(once):  # type: ignore[no-untyped-def]
        once()  # a recording runs it once, on memory that stays
        return lambda: kept.copy_(seen[-1])

    steps = cuda_graph.ReplayedSteps(step, clock, record)
    clock.begin_step()
    steps((torch.tensor([1.0, 2.0]),))
    before = clock.measured()
    for number in (3.0, 5.0):
        clock.begin_step()
        steps((torch.tensor([number, number]),))
        assert kept.tolist() == [number, number]
    assert len(seen) == 2, "the third step was a replay"
    took = {name: seconds - before[name] for name, seconds in clock.measured().items()}
    assert took["forward"] > 0 and took["backward"] > 0 and took["optimizer"] == 0
    assert took["forward"] / took["backward"] == pytest.approx(before["forward"] / before["backward"])


def test_the_first_steps_of_a_process_are_not_measured_where_measuring_is_rare() -> None:
    clock = Clock(lambda: None, sample_every=4)
    charged = []
    for _ in range(8):
        clock.begin_step()
        before = clock.measured()["forward"]
        with clock.phase("forward"):
            sum(range(1000))
        charged.append(clock.measured()["forward"] > before)
    assert charged == [False, False, True, False] * 2


def test_rates_as_tensors_are_the_same_rates() -> None:
    torch.manual_seed(0)
    weights, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    moved = []
    for tensor in (False, True):
        p = nn.Parameter(weights.clone())
        optimizer = optimizers.Muon([p], lr=0.1, momentum=0.6)
        if tensor:
            cuda_graph.settle([optimizer], replayed=True)
        for rate in (0.1, 0.05):
            cuda_graph.set_rate(optimizer.param_groups[0], rate)
            p.grad = gradient.clone()
            optimizer.step()
        moved.append(p.detach())
    torch.testing.assert_close(moved[0], moved[1])


def test_settling_turns_a_checkpoint_of_the_other_kind_into_this_one() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([p], lr=0.1, foreach=True)
    p.grad = torch.ones(3)
    optimizer.step()
    cuda_graph.settle([optimizer], replayed=True)
    group = optimizer.param_groups[0]
    assert isinstance(group["lr"], torch.Tensor) and group["capturable"]
    cuda_graph.settle([optimizer], replayed=False)
    assert group["lr"] == pytest.approx(0.1) and isinstance(group["lr"], float) and not group["capturable"]
    optimizer.step()


@needs_gpu
def test_a_gpu_learns_the_same_with_and_without_replays(tmp_path: Path) -> None:
    recipe = RECIPE | {"device": "cuda", "precision": "fp32", "epochs": 8}
    plain, replayed = (finish(made(tmp_path, **recipe, compile=compile)) for compile in ("off", "auto"))
    assert replayed["train_loss"] == pytest.approx(plain["train_loss"], rel=2e-2)
    assert replayed["steps"] == plain["steps"]


@needs_gpu
def test_a_run_on_a_gpu_is_resumed_without_replays_and_with_them(tmp_path: Path) -> None:
    recipe = RECIPE | {"device": "cuda", "epochs": 6}
    run = made(tmp_path, **recipe)
    trainer = trainer_of(run)
    for _ in range(40):
        trainer._step(20.0)
    trainer._save()
    later = trainer_of(run)
    assert later.progress.step == 40
    torch.testing.assert_close(_weights(later), _weights(trainer))
    assert finish(run)["steps"] == 60


def test_a_result_is_not_lost_to_a_step_that_cannot_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganhpc.train.loop import result as outcome

    def broken(*_: object) -> None:
        raise TypeError("no such operator")

    monkeypatch.setattr(outcome, "operations_of_a_step", broken)
    result = finish(made(tmp_path, epochs=1))
    assert result["state"] == "done" and result["ops"] > 0 and result["gflops_per_second"] is None
    assert "not counted (TypeError: no such operator)" in capsys.readouterr().out
