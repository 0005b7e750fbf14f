"""BigGAN against its published description: losses, order of updates, averages, truncation, resume, measures."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganhpc.datasets.types import DataRequest
from ganhpc.runs.known_experiments import find
from ganhpc.train.data import registry
from ganhpc.train.gan import class_measures, frechet, generator_io, similarity, weight_averages
from ganhpc.train.nets import biggan as nets
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks import biggan
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.nets.test_biggan_nets import parameters
from tests.train.tasks.tiny import made, steps, task_of, tiny, weights

# -- losses and updates ---------------------------------------------------------------------------------------------------


@pytest.fixture
def task() -> Any:
    return task_of(tiny("biggan"))


def test_hinge_losses_at_known_scores(task: Any) -> None:
    zeros = torch.zeros(4)
    assert float(biggan.hinge(zeros, zeros)) == 2, "1 and 1"
    assert float(biggan.hinge(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, -0.5]))) == pytest.approx(0.25 + 0.25)

    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, images: Tensor, y: Tensor) -> Tensor:
            del y
            return self.weight * images.sum((1, 2, 3))

    task.wrapped["discriminator"] = Silent()
    task.descend = lambda *given: None  # noqa: ARG005
    assert task.train_step(task.batch(0, 0))["loss_g"] == 0


def test_each_discriminator_step_has_its_own_images_vectors_and_classes(task: Any) -> None:
    rounds, z, y = task.batch(0, 1)
    assert len(rounds) == 2 and task.steps_per_epoch == 80 // 16
    assert not torch.equal(rounds[0].images, rounds[1].images)
    vectors = [*[each.z for each in rounds], z]
    assert all(not torch.equal(vectors[i], vectors[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    data = registry.load(DataRequest("synthetic", train_images=80))
    for each in rounds:
        for image, label in zip(each.images, each.labels, strict=True):
            levels = ((image + 1) * 127.5).round().to(torch.uint8)
            same = [(levels == other).all() or (levels.flip(2) == other).all() for other in data.images]
            assert int(data.labels[torch.tensor(same)][0]) == int(label)  # type: ignore[index]
    drawn = torch.cat([task._any_class(StepRandom(0, k, 1000, task.context.process_group)) for k in range(20)])
    counts = torch.bincount(drawn, minlength=10)
    assert len(counts) == 10 and int(counts.min()) > 1800 and int(counts.max()) < 2200
    assert y.dtype == torch.long and len(y) == 8


def test_two_discriminator_steps_then_one_of_the_generator_then_the_average(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    seen = [weights(task)]
    original, follow = task.descend, task._follow

    def descend(optimizer: Any, given: Any) -> None:
        order.append("d" if optimizer is task.optimizers["d"] else "g")
        original(optimizer, given)
        seen.append(weights(task))

    def following() -> None:
        order.append("average")
        follow()
        seen.append(weights(task))

    monkeypatch.setattr(task, "descend", descend)
    monkeypatch.setattr(task, "_follow", following)
    task.train_step(task.batch(0, 0))
    assert order == ["d", "d", "g", "average"]
    learnt = [
        name for name in seen[0] if not name.endswith((".u", "running_mean", "running_var", "num_batches_tracked"))
    ]
    for before, after, side in zip(
        seen, seen[1:], ("discriminator", "discriminator", "generator.", "average."), strict=False
    ):
        moved = {name for name in learnt if not torch.equal(before[name], after[name])}
        assert moved and all(name.startswith(side) for name in moved), (side, moved)


def test_one_pass_of_real_and_generated_images_moves_the_power_iteration_once(task: Any) -> None:
    calls: list[int] = []
    task.modules["discriminator"].register_forward_hook(lambda *given: calls.append(len(given[2])))
    task.train_step(task.batch(0, 0))
    assert calls == [16, 16, 8], "two discriminator steps of 8 real and 8 generated images, one of the generator"


def test_orthogonal_regularisation_has_the_convention_of_the_authors_code() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(4, 3))
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    weight_averages.add_orthogonal_gradient(net, 0.01, without=[net[1].weight])  # type: ignore[list-item]
    weight = net[0].weight
    matrix = weight.flatten(1)
    off = matrix @ matrix.T * (1 - torch.eye(5))
    (whole,) = torch.autograd.grad(0.01 * off.square().sum(), weight)
    assert weight.grad is not None
    torch.testing.assert_close(2 * weight.grad, whole)
    assert not net[1].weight.grad.any() and not net[0].bias.grad.any()  # type: ignore[union-attr]
    free, held = (task_of(tiny("biggan-shared", ortho=weight)) for weight in (0.0, 1.0))
    steps(free, 1), steps(held, 1)
    a, b = free.modules["generator"].state_dict(), held.modules["generator"].state_dict()
    assert not torch.equal(a["linear.weight"], b["linear.weight"])


# -- averages, statistics, truncation -------------------------------------------------------------------------------------


def test_the_average_covers_parameters_and_buffers_and_begins_as_a_copy(task: Any) -> None:
    steps(task, 2)
    g, average = task.modules["generator"].state_dict(), task.average.state_dict()
    assert all(torch.equal(value, average[name]) for name, value in g.items()), "copied before --ema-start 2"
    before = {name: value.clone() for name, value in average.items()}
    task.train_step(task.batch(0, 2))
    decay = weight_averages.decay_of(task.experiment.ema_half_life, 8, 24)
    for name, value in task.modules["generator"].state_dict().items():
        wanted = value if not value.is_floating_point() else decay * before[name] + (1 - decay) * value
        torch.testing.assert_close(task.average.state_dict()[name], wanted, rtol=1e-5, atol=1e-6)
    kinds = {name.rpartition(".")[2] for name in g}
    assert {"u", "running_mean", "running_var", "num_batches_tracked", "weight", "bias"} <= kinds


def test_half_lives_are_those_of_the_published_decay_and_fit_short_runs() -> None:
    published: Any = find("biggan").from_preset("cifar")
    assert weight_averages.decay_of(published.ema_half_life, 50, 10**9) == pytest.approx(0.9999, abs=1e-8)
    assert weight_averages.decay_of(1000.0, 1000, 10**9) == 0.5
    short = weight_averages.decay_of(1e9, 50, 1000)
    assert short == pytest.approx(0.5), "half of what was known is forgotten every twentieth of the run"


def test_standing_statistics_are_means_of_batch_means_and_biased_variances() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    batches = [(torch.randn(4, 1, 3, 3) + k,) for k in range(3)]
    seen = [net[0](each[0]).detach().transpose(0, 1).flatten(1) for each in batches]
    weight_averages.set_standing_statistics(net, batches)
    norm: Any = net[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(1) for x in seen]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var(1, correction=0) for x in seen]).mean(0))
    assert not net.training and not norm.training


@pytest.mark.slow  # 3 s in all
def test_standing_statistics_come_close_to_running_ones() -> None:
    torch.manual_seed(0)
    net = nets.Generator(base_channels=2, latent_dim=8, init="ortho")
    for _ in range(200):
        net(torch.randn(16, 8), torch.randint(10, (16,)))
    z, y = torch.randn(32, 8), torch.randint(10, (32,))
    with torch.no_grad():
        running = net.eval()(z, y)
        class_measures.give_standing(net, 16, 0)
        standing = net(z, y)
    assert 0 < float((running - standing).abs().mean()) < 0.15 * float(running.std())


def test_truncation_draws_again_what_is_beyond_and_narrows_pictures() -> None:
    whole = generator_io.latents(200, 16, 3)
    cut = generator_io.latents(200, 16, 3, truncation=0.5)
    inside = whole.abs() <= 0.5
    assert float(cut.abs().max()) <= 0.5 and torch.equal(cut[inside], whole[inside])
    assert float(cut.std()) == pytest.approx(0.28, abs=0.02), "a normal law cut at 0.5"
    torch.manual_seed(0)
    net = nets.Generator(base_channels=4, latent_dim=16, init="ortho").eval()
    y = torch.zeros(200, dtype=torch.long)
    wide, narrow = (similarity.pairwise(generator_io.draw(net, z, y=y), 64) for z in (whole, cut))
    assert narrow < 0.8 * wide
    assert float(generator_io.latents(50, 8, 0, truncation=0.02).abs().max()) <= 0.02


# -- runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 20 s in all
@pytest.mark.parametrize("case", ["biggan", "biggan-shared"])
def test_a_killed_run_ends_bit_identical_with_its_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    values = {"checkpoint_every": 0.001}
    whole = finish(made(tmp_path / "whole", case, **values))
    run = made(tmp_path / "killed", case, **values)
    for step in random.Random(1).sample(range(2, 9), 2):
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
    result = finish(run)
    assert result["weights_sha256"] == whole["weights_sha256"], "weights, vectors of power iterations, average"
    assert result["thumbnail_distance"] == whole["thumbnail_distance"] and result["steps"] == whole["steps"] == 10


@pytest.mark.slow  # 3 s in all
def test_the_result_has_the_average_and_counts_both_networks_once(tmp_path: Path) -> None:
    run = made(tmp_path, "biggan")
    result = finish(run)
    definition: Any = tiny("biggan")
    g, d = biggan.networks(definition, (3, 32, 32), 10).values()
    assert result["params"] == parameters(g) + parameters(d)
    assert generator_io.exported(run) == ["average"]
    about = json.loads(run.export("average").with_suffix(".json").read_text())
    assert about["net"] == "biggan" and about["classes"][3] == "grating-3" and about["latent"] == "normal"
    net, source = generator_io.load(run)
    assert source == "average.safetensors" and net.class_names[3] == "grating-3"  # type: ignore[index]
    kept = {name for name in _names(run.weights) if name.startswith("average.")}
    assert kept == {f"average.{name}" for name in g.state_dict()}


def _names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def test_a_run_that_collapses_gives_the_best_average_of_before() -> None:
    said: list[str] = []
    task = task_of(tiny("biggan"))
    task.context.say = said.append
    steps(task, 3)
    first = task.evaluate()
    good = {name: value.clone() for name, value in task.average.state_dict().items()}
    with torch.no_grad():
        task.average.last[2].bias.add_(10.0)  # a white picture whatever the vector
    second = task.evaluate(final=True)
    assert second["thumbnail_distance"] > 1.5 * first["thumbnail_distance"] and second["diversity"] < 0.1
    assert second["average_step"] == 3 and "collapsed since step 3" in said[-1]
    exported = task.exports()["average"].module.state_dict()
    moved = {name for name, value in good.items() if not torch.equal(exported[name], value)}
    assert {name.rpartition(".")[2] for name in moved} <= {"running_mean", "running_var", "num_batches_tracked"}, (
        "standing"
    )
    other = task_of(tiny("biggan"))
    other.load_state(task.state())
    assert other._best["distance"] == task._best["distance"]
    kept = task_of(tiny("biggan", keep_best=False))
    kept.load_state(task.state())
    kept.average.load_state_dict(task.average.state_dict())
    kept.evaluate(final=True)
    assert torch.equal(kept.exports()["average"].module.state_dict()["last.2.bias"], task.average.last[2].bias)


def test_the_watch_speaks_where_classes_make_one_picture_each() -> None:
    task = task_of(tiny("biggan"))
    task._diversity, task._seen = 1.0, 2000
    task._real_within = 1e9
    task.evaluate()
    assert task._diversity < 0.1, "diversity within classes is watched, too"


@pytest.mark.slow
def test_measures_of_a_perfect_and_of_a_blind_generator() -> None:
    data = registry.load(DataRequest("synthetic", train_images=300))

    class Copies(nn.Module):
        """Training pictures of the class asked for, or of any class."""

        latent_dim, classes = 4, 10

        def __init__(self, blind: bool) -> None:
            super().__init__()
            self.weight, self.blind = nn.Parameter(torch.zeros(())), blind

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            chosen = []
            for row, label in zip(z, y, strict=True):
                own = torch.arange(len(data.images)) if self.blind else (data.labels == label).nonzero().squeeze(1)  # type: ignore[union-attr, operator]
                chosen.append(own[int(row[0].abs() * 1e4) % len(own)])
            return data.images[torch.stack(chosen)].float() / 127.5 - 1

    judge = class_measures.classifier(data, 0, torch.device("cpu"), float("inf"), steps=80)
    accuracies = {}
    for blind in (False, True):
        pictures = class_measures._Pictures(Copies(blind), data, 100, 0, float("inf"))
        assert torch.bincount(pictures.labels).tolist() == [10] * 10
        accuracies[blind] = class_measures.accuracy(judge, pictures.fakes, pictures.labels)
    assert accuracies[False] > 0.6 and accuracies[True] < 0.3


def test_distances_of_few_pictures_are_exactly_the_usual_ones() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(30, 12).double(), torch.randn(20, 12).double() * 1.5 + 0.3
    wanted = frechet.frechet_distance(first, second)
    assert class_measures.moments_distance(first, second) == pytest.approx(wanted, rel=1e-5)
    assert class_measures.moments_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_diversity_within_classes_by_hand() -> None:
    images = torch.tensor([0.0, 1.0, 5.0, 5.0, 7.0]).view(5, 1, 1, 1).expand(5, 3, 4, 4)
    assert class_measures.within_classes(images, torch.tensor([0, 0, 1, 1, 2])) == pytest.approx(0.5)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert class_measures.balanced(labels, 4, 3).tolist() == [0, 1, 3, 5]


def test_steps_in_bf16_are_finite_and_spectral_norms_stay_exact() -> None:
    task = task_of(tiny("biggan", precision="bf16"))
    assert all(np.isfinite(list(each.values())).all() for each in steps(task, 3))
    layer = task.modules["discriminator"].linear
    assert layer.u.dtype == torch.float32 and float(layer.u.norm()) == pytest.approx(1, abs=1e-5)
