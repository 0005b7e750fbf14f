"""BigGAN against its published description: counts, spectral norm, attention, losses, averages, order of updates, resume, measures."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import DataRequest
from ganhpc.runs.experiment import find
from ganhpc.train.data import registry
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.gan import class_measures, frechet, generator_io, weight_averages
from ganhpc.train.nets import biggan as nets
from ganhpc.train.nets.spectral_norm import Spectral, SpectralConv2d, SpectralEmbedding, SpectralLinear
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks import biggan
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made, steps, task_of, tiny, weights

# -- networks -------------------------------------------------------------------------------------------------------------

CIFAR = {"image_size": 32, "base_channels": 64, "latent_dim": 128, "classes": 10}
HIERARCHICAL = {"hierarchical": True}
COUNTS = [
    (CIFAR, 4_304_387, 4_207_361, 1_681_129_472, 1_081_016_576),
    (CIFAR | {"classes": 1}, 4_276_739, 4_205_057, 1_681_129_472, 1_081_016_576),
    (CIFAR | HIERARCHICAL | {"shared": 128}, 4_373_251, 4_207_361, 1_681_227_776, 1_081_016_576),
    ({"image_size": 64, "base_channels": 64, "latent_dim": 120, "classes": 1000, "shared": 128, "attention": 32} | HIERARCHICAL,
     31_969_540, 20_571_842, 7_255_357_440, 1_113_523_200),
    ({"image_size": 64, "base_channels": 32, "latent_dim": 100, "shared": 128, "attention": 32} | HIERARCHICAL,
     8_374_660, 4_894_306, 1_828_270_592, 282_821_120),
    ({"image_size": 128, "base_channels": 96, "latent_dim": 120, "classes": 1000, "shared": 128, "attention": 64} | HIERARCHICAL,
     70_433_988, 87_982_370, 21_121_524_480, 10_836_641_280),
    ({"image_size": 32, "base_channels": 16, "latent_dim": 64, "shared": 32} | HIERARCHICAL, 290_499, 265_409, 106_418_176, 68_927_552),
    ({"image_size": 64, "base_channels": 8, "latent_dim": 100, "shared": 32} | HIERARCHICAL, 573_283, 307_609, 113_021_056, 17_948_800),
    ({"image_size": 64, "base_channels": 16, "latent_dim": 100, "shared": 32, "attention": 32} | HIERARCHICAL,
     2_085_764, 1_225_970, 464_068_864, 72_925_440),
]  # fmt: skip
"""Arguments; parameters of G and D; multiply-accumulate pairs of both for one image."""


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def pairs(net: nn.Module, *given: Tensor) -> int:
    """Multiply-accumulate pairs of convolutions, linear layers and attention for one image, from the shapes alone."""
    total = 0

    def count(module: Any, given: Any, out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nets.Attention):
            side = given[0].shape[-1]
            width = given[0].shape[1]
            total += side**2 * (side // 2) ** 2 * (width // 8 + width // 2)
        else:
            total += module.weight.numel() * (out.shape[-1] * out.shape[-2] if isinstance(module, nn.Conv2d) else 1)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nets.Attention):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(*given)
    return total


@pytest.mark.parametrize(("arguments", "of_g", "of_d", "macs_g", "macs_d"), COUNTS)
def test_networks_have_the_published_counts(
    arguments: dict[str, Any], of_g: int, of_d: int, macs_g: int, macs_d: int
) -> None:
    own = {key: value for key, value in arguments.items() if key not in ("latent_dim", "shared", "hierarchical")}
    with torch.device("meta"):
        g, d = nets.Generator(**arguments).eval(), nets.Discriminator(**own).eval()
        assert (parameters(g), parameters(d)) == (of_g, of_d)
        side = arguments["image_size"]
        assert pairs(g, torch.zeros(1, g.latent_dim)) == macs_g
        assert pairs(d, torch.zeros(1, 3, side, side)) == macs_d


def test_our_own_count_and_fvcores_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the products of the power iteration, which belong to no image."""
    monkeypatch.setattr(Spectral, "normalised", lambda self: self.weight)
    g = nets.Generator(image_size=32, base_channels=16, latent_dim=64, shared=32, hierarchical=True)
    d = nets.Discriminator(image_size=32, base_channels=16)
    for net, shape, wanted in ((g, (64,), 106_418_176), (d, (3, 32, 32), 68_927_552)):
        found = describe(net, shape)
        assert found.macs == pytest.approx(wanted, rel=1e-4)
        assert found.fvcore["macs"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"image_size": 48}, "--image-size 48: .* 32, 64, 128"),
        ({"attention": 8}, "--attention 8 at --image-size 32: .* choose one of 16"),
        ({"hierarchical": True}, "--hierarchical needs --shared"),
        ({"hierarchical": True, "shared": 4, "latent_dim": 3}, "--latent-dim of 4 at least"),
        ({"attention": 16, "base_channels": 1}, "self-attention needs 8 channels and has 4"),
        ({"init": "xavier"}, "--init 'xavier'"),
    ],
)
def test_networks_that_cannot_be_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        nets.Generator(**{"base_channels": 2, "latent_dim": 8, **values})


def test_initial_weights_are_the_published_ones() -> None:
    torch.manual_seed(0)
    small = nets.Generator(base_channels=16, shared=32, latent_dim=64, hierarchical=True)
    values = torch.cat(
        [p.detach().flatten() for name, p in small.named_parameters() if name.endswith("weight") and p.dim() > 1]
    )
    assert float(values.std()) == pytest.approx(0.02, rel=0.02)
    matrix = nets.Discriminator(base_channels=4, init="ortho").blocks[1].conv_1.weight.detach().flatten(1)  # type: ignore[union-attr]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5, rtol=0)


# -- spectral norm, attention, class norm ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer", [lambda: SpectralConv2d(5, 7, 3), lambda: SpectralLinear(9, 4), lambda: SpectralEmbedding(6, 5)]
)
def test_spectral_norm_finds_the_largest_singular_value(layer: Any) -> None:
    torch.manual_seed(1)
    net = layer()
    for _ in range(300):
        normalised = net.normalised()
    true = float(torch.linalg.matrix_norm(net.weight.detach().flatten(1), 2))
    assert float((net.weight / normalised).flatten()[0].detach()) == pytest.approx(true, rel=1e-5)
    assert float(torch.linalg.matrix_norm(normalised.detach().flatten(1), 2)) == pytest.approx(1, rel=1e-5)


def test_one_power_iteration_a_training_pass_and_none_kept_in_evaluation() -> None:
    torch.manual_seed(0)
    net = SpectralLinear(6, 4)
    matrix, u = net.weight.detach(), net.u.clone()
    v = nn.functional.normalize(u @ matrix, dim=1)
    following = nn.functional.normalize(v @ matrix.T, dim=1)
    net(torch.zeros(1, 6))
    torch.testing.assert_close(net.u, following)
    kept = net.u.clone()
    net.eval()(torch.zeros(1, 6))
    assert torch.equal(net.u, kept)
    assert "u" in net.state_dict() and "u" not in dict(net.named_parameters())


def test_the_estimate_is_differentiated_and_its_vectors_are_not() -> None:
    torch.manual_seed(0)
    net = SpectralLinear(5, 3, bias=False).double().eval()
    net.u.copy_(torch.randn(1, 3))
    x = torch.randn(2, 5, dtype=torch.double)
    v = nn.functional.normalize(net.u.float() @ net.weight.detach().float(), eps=1e-6)
    u = nn.functional.normalize(v @ net.weight.detach().float().T, eps=1e-6)

    def by_hand(weight: Tensor) -> Tensor:
        return (x @ (weight / (v.double() @ weight.T @ u.T.double()).squeeze()).T).square().sum()

    (wanted,) = torch.autograd.grad(by_hand(net.weight), net.weight)
    (found,) = torch.autograd.grad(net(x).square().sum(), net.weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_attention_begins_as_the_identity_and_is_the_published_one_after() -> None:
    torch.manual_seed(0)
    layer = nets.Attention(16).eval()
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        theta, phi, g = (getattr(layer, name)(x) for name in ("theta", "phi", "g"))
        phi, g = (nn.functional.max_pool2d(each, 2).flatten(2) for each in (phi, g))
        for n in range(2):
            likeness = torch.stack(
                [
                    torch.stack([(theta[n, :, i, j] * phi[n, :, k]).sum() for k in range(16)]).softmax(0)
                    for i in range(8)
                    for j in range(8)
                ]
            )
            gathered = (g[n] @ likeness.T).view(1, 8, 8, 8)
            torch.testing.assert_close(layer(x)[n], 0.7 * layer.o(gathered)[0] + x[n], rtol=1e-4, atol=1e-5)


def test_class_norm_scales_and_shifts_by_class() -> None:
    layer = nets.ClassNorm(4, 3, None)
    x, y = torch.randn(6, 4, 5, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    gain, bias = layer.gain.weight[y][:, :, None, None], layer.bias.weight[y][:, :, None, None]  # type: ignore[union-attr, index]
    torch.testing.assert_close(layer(x, y), plain * (1 + gain) + bias, rtol=1e-4, atol=1e-5)
    halves = torch.tensor([[0.5, 0.5, 0.0]])
    torch.testing.assert_close(nets.mixed(layer.gain, halves)[0], layer.gain.weight[:2].mean(0))  # type: ignore[union-attr, index]


def test_a_generators_picture_depends_on_class_and_on_each_piece_of_its_vector() -> None:
    torch.manual_seed(0)
    net = nets.Generator(base_channels=4, latent_dim=18, shared=4, hierarchical=True, init="ortho").eval()
    assert net.latent_dim == 16, "four pieces of four"
    z = torch.randn(1, 16)
    first = net(z, torch.tensor([0]))
    assert float(first.abs().max()) <= 1 and first.shape == (1, 3, 32, 32)
    assert not torch.allclose(first, net(z, torch.tensor([1])), atol=1e-4)
    for piece in range(4):
        other = z.clone()
        other[:, 4 * piece : 4 * piece + 4] += 1
        assert not torch.allclose(first, net(other, torch.tensor([0])), atol=1e-4)
    shares = torch.eye(10)[:2]
    torch.testing.assert_close(net(z.repeat(2, 1), shares), net(z.repeat(2, 1), torch.tensor([0, 1])))


def test_the_discriminator_projects_its_features_on_the_class() -> None:
    torch.manual_seed(0)
    net = nets.Discriminator(base_channels=2).eval()
    images, y = torch.randn(3, 3, 32, 32), torch.tensor([0, 4, 9])
    h = net.blocks(images).relu().sum((2, 3))
    wanted = net.linear(h).squeeze(1) + (net.embedding(y) * h).sum(1)
    torch.testing.assert_close(net(images, y), wanted)


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
    wide, narrow = (class_measures.pairwise(generator_io.draw(net, z, y=y)) for z in (whole, cut))
    assert narrow < 0.8 * wide
    assert float(generator_io.latents(50, 8, 0, truncation=0.02).abs().max()) <= 0.02


# -- runs -----------------------------------------------------------------------------------------------------------------


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


# -- data -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of twelve pictures, their levels telling the class, in train and test folders."""
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    for k, name in enumerate(("ape", "bee", "cat")):
        for n in range(12):
            folder = root / ("train" if n < 9 else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.full((20, 20, 3), 40 * k, np.uint8)
            pixels[n, n] = 255
            Image.fromarray(pixels).save(folder / f"{n}.png")
    return root


def labelled(root: Path, **values: Any) -> Any:
    experiment = tiny(
        "biggan",
        **{"data": str(root), "train_images": None, "batch_size": 4, "critic_steps": 1, "flip": "none", **values},
    )
    return task_of(experiment).context.data


def test_class_folders_give_each_picture_its_class(folders: Path) -> None:
    data = labelled(folders)
    assert data.classes == ("ape", "bee", "cat") and len(data.images) == 33 and len(data.test_images) == 3
    for images, labels in ((data.images, data.labels), (data.test_images, data.test_labels)):
        assert torch.equal(images.flatten(1).median(1).values // 40, labels.to(torch.uint8))
    assert sorted(data.test_labels.tolist()) == [0, 1, 2], "one of each class is held out"
    again = labelled(folders)
    assert torch.equal(again.labels, data.labels) and "from the cache" in again.note
    assert labelled(folders, class_level=1).classes == ("test", "train")


def test_copies_of_a_picture_go_to_one_side(folders: Path) -> None:
    first = labelled(folders)
    for k, name in enumerate(("ape", "bee", "cat")):
        for n in range(12):
            source = folders / ("train" if n < 9 else "test") / name / f"{n}.png"
            (source.parent / f"copy-{k}-{n}.png").write_bytes(source.read_bytes())
    data = labelled(folders)
    assert len(data.test_images) == 2 * len(first.test_images) and len(data.images) == 66
    held = {bytes(image.flatten().tolist()) for image in data.test_images}
    assert not held & {bytes(image.flatten().tolist()) for image in data.images}


def test_data_without_usable_classes_are_refused_in_a_sentence(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data lines has no classes, and biggan is a conditional network"):
        task_of(tiny("biggan", data="lines"))
    with pytest.raises(
        UserError, match="all its 9 pictures are of one class, ape, and a conditional network needs two or more: give"
    ):
        labelled(_only(folders, tmp_path))
    stray = folders / "stray.png"
    stray.write_bytes((folders / "train" / "ape" / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"1 of its 37 pictures lies in no class folder \(first: stray.png\)"):
        labelled(folders)
    stray.unlink()
    (folders / "dog").mkdir()
    (folders / "dog" / "one.png").write_bytes((folders / "train" / "ape" / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"the class dog has 1 usable picture.* the least of a class"):
        labelled(folders)
    with pytest.raises(UserError, match="1 of its 37 pictures lies less than 2 folders deep"):
        labelled(folders, class_level=2)
    with pytest.raises(UserError, match=r"--image-size 64: the images of --data synthetic have 32x32"):
        task_of(tiny("biggan", image_size=64))
    with pytest.raises(UserError, match="--critic-steps 20 of --batch-size 8 need 160 images, and there are 80"):
        task_of(tiny("biggan", critic_steps=20))


def _only(folders: Path, tmp_path: Path) -> Path:
    root = tmp_path / "only"
    (root / "ape").mkdir(parents=True)
    for path in (folders / "train" / "ape").iterdir():
        (root / "ape" / path.name).write_bytes(path.read_bytes())
    return root


def test_a_wrong_level_names_the_one_that_has_classes(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "deep"
    for name in ("ape", "bee"):
        (root / name / "all").mkdir(parents=True)
        for path in (folders / "train" / name).iterdir():
            (root / name / "all" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        UserError, match=r"of one class, all, .* type --class-level 1 for the 2 folders of that level \(ape, bee\)"
    ):
        labelled(root)
    assert labelled(root, class_level=1).classes == ("ape", "bee")


def test_the_number_of_classes_is_checked(folders: Path) -> None:
    with pytest.raises(UserError, match=r"--classes 5: .* has 3 \(ape, bee, cat\); type --classes 3"):
        labelled(folders, classes=5)
    assert len(labelled(folders, classes=3).classes) == 3


def test_a_class_folder_too_many_on_resume_is_refused_and_nothing_is_lost(folders: Path, tmp_path: Path) -> None:
    values = {"data": str(folders), "train_images": None, "batch_size": 4, "critic_steps": 1, "epochs": 1}
    run = made(tmp_path, "biggan", **values)
    finish(run)
    kept = run.weights.read_bytes()
    (folders / "train" / "dog").mkdir()
    for n in range(4):
        pixels = np.full((20, 20, 3), 200 + n, np.uint8)
        Image.fromarray(pixels).save(folders / "train" / "dog" / f"{n}.png")
    with pytest.raises(UserError, match="4 added"):
        trainer_of(run)
    assert run.weights.read_bytes() == kept


def test_presets_are_the_published_and_the_small_ones() -> None:
    counts = {}
    for preset in ("default", "cifar", "64", "small"):
        experiment: Any = find("biggan").from_preset(preset)
        experiment.check()
        with torch.device("meta"):
            g, d = biggan.networks(experiment, (3, experiment.image_size, experiment.image_size), 10).values()
        counts[preset] = (parameters(g), parameters(d))
    assert counts["default"] == counts["cifar"] == (4_304_387, 4_207_361)
    assert counts["64"] == (8_374_660, 4_894_306) and counts["small"] == (290_499, 265_409)
    cifar: Any = find("biggan").from_preset("cifar")
    assert (cifar.batch_size, cifar.critic_steps, cifar.rate_g, cifar.rate_d) == (50, 4, 2e-4, 2e-4)
    assert (cifar.beta1, cifar.beta2, cifar.ema_start, cifar.attention, cifar.ortho) == (0.0, 0.999, 1000, 0, 0.0)
    with pytest.raises(UserError, match="add --shared 128"):
        cifar.replace(hierarchical=True)


def test_classes_and_level_are_in_the_signature() -> None:
    first = tiny("biggan")
    assert len({first.signature, tiny("biggan", class_level=1).signature, tiny("biggan", classes=10).signature}) == 3
    assert dataclasses.replace(first, seed=1).group == first.group


def test_steps_in_bf16_are_finite_and_spectral_norms_stay_exact() -> None:
    task = task_of(tiny("biggan", precision="bf16"))
    assert all(np.isfinite(list(each.values())).all() for each in steps(task, 3))
    layer = task.modules["discriminator"].linear
    assert layer.u.dtype == torch.float32 and float(layer.u.norm()) == pytest.approx(1, abs=1e-5)
