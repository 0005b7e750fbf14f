"""A GAN of another shape than one generator and one adversary needs nothing but its task: exports, checkpoints, samples, reports."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections.other import sections as other_sections
from ganhpc.analysis.report.translation import Translator
from ganhpc.cli.commands.sample import sample
from ganhpc.core.errors import UserError
from ganhpc.core.files import read_json, write_json
from ganhpc.runs.experiment import Kind
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from ganhpc.train.nets import wgan_gp
from ganhpc.train.runtime import checkpoint
from ganhpc.train.tasks import task as base
from ganhpc.train.tasks.gan_base import Gan
from tests.helpers import finish, made, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks import tiny

SIZES = {"image_size": 16, "channels": 3, "base_channels": 4, "depth": 2}


class Twins(Gan):
    """Two generators, two critics, an optimizer for each generator and one for both critics."""

    generator_names = ("left", "right")
    adversary_names = ("critic_left", "critic_right")

    def __init__(self, experiment: Any, context: base.Context) -> None:
        torch.manual_seed(experiment.seed)
        nets: dict[str, nn.Module] = {
            name: wgan_gp.Generator(**SIZES, latent_dim=dim)
            for name, dim in zip(self.generator_names, (3, 5), strict=True)
        }
        super().__init__(experiment, context, nets | {name: wgan_gp.Critic(**SIZES) for name in self.adversary_names})

    def updates(self) -> dict[str, tuple[tuple[str, ...], float]]:
        return {"left": (("left",), 1e-3), "right": (("right",), 2e-3), "d": (self.adversary_names, 1e-3)}

    def batch(self, epoch: int, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        draws = self.draws(epoch, step)
        return self.images(epoch, step, draws), {n: draws.normal(net.latent_dim) for n, net in self.generators.items()}

    def train_step(self, batch: tuple[Tensor, dict[str, Tensor]]) -> dict[str, Tensor]:
        images, z = batch
        self.train_mode()
        fakes = {name: self.wrapped[name](z[name]) for name in self.generators}
        loss_d = sum(self.wrapped[f"critic_{n}"](f.detach()).mean() - self.wrapped[f"critic_{n}"](images).mean() for n, f in fakes.items())  # fmt: skip
        self._descend("d", loss_d)
        for name, fake in fakes.items():
            self._descend(name, -self.wrapped[f"critic_{name}"](fake).mean())
        return {"loss_d": loss_d.detach()}

    def _descend(self, name: str, loss: Any) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.descend(self.optimizers[name], self.parameters(*self.updates()[name][0]))

    def evaluation_figures(self) -> dict[str, float | Tensor]:
        return {f"diversity_{n}": float(net(torch.ones(2, net.latent_dim)).std()) for n, net in self.generators.items()}

    def exported(self) -> dict[str, tuple[str, dict[str, Any]]]:
        return {n: ("wgan-gp", {**SIZES, "latent_dim": int(net.latent_dim)}) for n, net in self.generators.items()}

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        if name in self.generators:
            return (torch.zeros(1, self.generators[name].latent_dim),)
        return super().example_inputs(name)


@pytest.fixture
def twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "module", lambda name: SimpleNamespace(build=Twins))  # noqa: ARG005


def draw(run: Run, out: Path, **values: Any) -> Image.Image:
    options = {"rows": 1, "columns": 2, "seed": 1, "interpolate": None, "frames": 4, "onnx": None, "runs": "runs"}
    sample(**{"run": str(run.folder), "out": str(out), **options, **values})
    return Image.open(out)


@pytest.mark.usefixtures("twins")
def test_each_network_is_updated_exported_and_sampled_from_by_its_name(tmp_path: Path) -> None:
    run = tiny.made(tmp_path, "wgan-gp")
    finish(run)
    assert generator_io.exported(run) == ["left", "right"]
    assert [generator_io.load(run, name)[0].latent_dim for name in ("left", "right")] == [3, 5]
    first, left, right = (draw(run, tmp_path / f"{k}.png", network=n) for k, n in enumerate((None, "left", "right")))
    assert first.tobytes() == left.tobytes() != right.tobytes()
    with pytest.raises(UserError, match=r"--network rihgt: .* did you mean 'right'\? \(all: left, right\)"):
        draw(run, tmp_path / "x.png", network="rihgt")
    copy = Run(tmp_path / "copy")
    copy.folder.mkdir()
    shutil.copy(run.export("right"), copy.folder)
    assert generator_io.exported(copy) == ["right"], "the file says by itself what it is"
    assert generator_io.load(copy)[0].latent_dim == 5


@pytest.mark.usefixtures("twins")
def test_a_stopped_run_gives_each_network_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.made(tmp_path, "wgan-gp", checkpoint_every=0.001)
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    (kept,) = [checkpoint.newest(run.checkpoints, torch.device("cpu")).tree]
    assert kept and set(kept["optimizers"]) == {"left", "right", "d"}
    for name in ("left", "right"):
        net, source = generator_io.load(run, name)
        assert source.startswith("a checkpoint")
        assert all(torch.equal(v, kept["modules"][name][k]) for k, v in net.state_dict().items())


@pytest.mark.usefixtures("twins")
def test_optimizers_have_the_modules_and_rates_that_the_task_names(tmp_path: Path) -> None:
    task = trainer_of(tiny.made(tmp_path, "wgan-gp")).task
    sizes = {name: sum(p.numel() for p in task.modules[name].parameters()) for name in task.modules}
    held = {n: sum(p.numel() for g in o.param_groups for p in g["params"]) for n, o in task.optimizers.items()}
    assert held["left"] == sizes["left"] and held["d"] == sizes["critic_left"] + sizes["critic_right"]
    assert task.schedule(0.0) == {"lr_left": 1e-3, "lr_right": 2e-3, "lr_d": 1e-3}


def test_a_kind_has_one_name_among_all_modules_of_networks() -> None:
    assert {"began", "dcgan-tutorial", "dcgan-w13", "strips", "wgan-gp"} <= set(generator_io.kinds())


# -- reports of a task that is neither ------------------------------------------------------------------------------------


def renamed(run: Run, experiment: str, task: str) -> RunData:
    """The run, as an experiment that this version does not have would have left it."""
    write_json(run.experiment_json, {**(read_json(run.experiment_json) or {}), "experiment": experiment, "task": task})
    return RunData.of(run)


def test_a_report_takes_a_run_for_what_its_experiment_is(tmp_path: Path) -> None:
    classifier = made(tmp_path)
    finish(classifier)
    gan = tiny.made(tmp_path, "wgan-gp")
    assert [RunData.of(run).kind for run in (classifier, gan)] == [Kind.CLASSIFIER, Kind.GAN]
    assert not other_sections(RunData.of(classifier), Translator("en"))
    other = renamed(classifier, "coding", "sparse_coding")
    assert other.kind is Kind.CLASSIFIER, "its accuracy says so"
    other.row.pop("test_accuracy")
    other = RunData(other.run, {**other.row, "headline": "test_loss"})
    assert other.kind is Kind.OTHER
    figures, measures = other_sections(other, Translator("en"))
    assert {block.name for block in figures.blocks if hasattr(block, "name")} >= {"other-loss"}
    assert "test loss" in dict(measures.blocks[0].rows)  # type: ignore[union-attr]
