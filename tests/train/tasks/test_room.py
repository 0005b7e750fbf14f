"""Room for what comes next without a change to the loop: two generators, two critics, unpaired sets, averaged weights, an inner loop."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganhpc.train.data.batch_loader import BatchLoader
from ganhpc.train.tasks import task
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made


class Pair(task.Task):
    """Translates between two unpaired sets, as CycleGAN does; keeps an average of one generator's weights, as BigGAN does; finds a code by
    a loop of its own in a dictionary, as SDPC does."""

    headline = "cycle"

    def __init__(self, experiment: Any, context: task.Context) -> None:
        torch.manual_seed(experiment.seed)
        names = ("there", "back", "critic_a", "critic_b")
        self.modules = {
            name: nn.Conv2d(3, 3 if name in names[:2] else 1, 3, padding=1).to(context.device) for name in names
        }
        parts = {"g": names[:2], "d": names[2:]}
        self.optimizers = {
            key: Adam([p for name in group for p in self.modules[name].parameters()], lr=1e-3)
            for key, group in parts.items()
        }
        half = len(context.data.images) // 2
        sets = (context.data.images[:half], context.data.images[half:])
        self._loaders = [
            BatchLoader(images, None, batch_size=experiment.batch_size, seed=seed, device=context.device)
            for seed, images in enumerate(sets)
        ]
        self.batch_size, self.steps_per_epoch = experiment.batch_size, self._loaders[0].steps_per_epoch
        self.average = {name: value.clone() for name, value in self.modules["there"].state_dict().items()}
        self.dictionary = torch.randn(4, 3)
        self._shape = context.data.shape

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        first, second = (loader.batch(epoch, step)[0] for loader in self._loaders)
        return first, second

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        a, b = batch
        nets = self.wrapped
        fake_b, fake_a = nets["there"](a), nets["back"](b)
        loss_d = sum(
            (nets[name](real) - 1).square().mean() + nets[name](fake.detach()).square().mean()
            for name, real, fake in (("critic_a", a, fake_a), ("critic_b", b, fake_b))
        )
        self._update("d", loss_d)
        cycle = (nets["back"](fake_b) - a).abs().mean() + (nets["there"](fake_a) - b).abs().mean()
        fooled = (nets["critic_b"](fake_b) - 1).square().mean() + (nets["critic_a"](fake_a) - 1).square().mean()
        self._update("g", fooled + 10 * cycle)
        with torch.no_grad():
            for name, value in self.modules["there"].state_dict().items():
                self.average[name].lerp_(value, 0.1)
        return {"loss_d": loss_d.detach(), "cycle": cycle.detach(), "code": self._infer(a.mean((2, 3)))}

    def _update(self, name: str, loss: Any) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()

    def _infer(self, seen: Tensor) -> Tensor:
        """A code [B, 4] for `seen` [B, 3] by gradient steps; then the dictionary takes one."""
        code = torch.zeros(len(seen), 4)
        for _ in range(5):
            code -= 0.05 * (code @ self.dictionary - seen) @ self.dictionary.T
        self.dictionary -= 0.05 * code.T @ (code @ self.dictionary - seen) / len(seen)
        return (code @ self.dictionary - seen).square().mean()

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        del final
        a, _ = self.batch(0, 0)
        return {"cycle": float((self.modules["back"](self.modules["there"](a)) - a).abs().mean())}

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        del name
        return (torch.zeros(1, *self._shape),)

    def state(self) -> dict[str, Any]:
        return {"average": self.average, "dictionary": self.dictionary}

    def load_state(self, state: dict[str, Any]) -> None:
        self.average, self.dictionary = state["average"], state["dictionary"]

    def weights(self) -> dict[str, Tensor]:
        averaged = {f"average.{name}": value for name, value in self.average.items()}
        return super().weights() | averaged | {"dictionary": self.dictionary}


def test_the_loop_takes_it_as_it_is_and_resumes_it_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "module", lambda name: SimpleNamespace(build=Pair))  # noqa: ARG005
    whole = finish(made(tmp_path / "whole", "wgan-gp", checkpoint_every=0.001))
    run = made(tmp_path / "killed", "wgan-gp", checkpoint_every=0.001)
    for step in (2, 7):
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
    result = finish(run)
    assert result["steps"] == whole["steps"] == 10 and result["segments"] == 3
    assert result["weights_sha256"] == whole["weights_sha256"] and result["cycle"] == whole["cycle"]
    assert result["params"] == 2 * (3 * 3 * 9 + 3) + 2 * (3 * 9 + 1)
