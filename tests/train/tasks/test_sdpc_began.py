"""BEGAN with an SDPC as its auto-encoder: counts, its loss and gradients, unit atoms, controls, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.runs.known_experiments import find
from ganhpc.train.tasks import sdpc_began
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made, steps, task_of, tiny

ADVERSARIES = ("sdpc", "hi-la", "threshold", "autoencoder")


GENERATOR, TWIN = 189_475, 140_807


def parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_discriminators_have_as_many_parameters_under_every_adversary() -> None:
    """W1 + W2 + v = 12,288 + 131,072 + 192, and the nearest auto-encoder; the generator is one and the same."""
    counts = {}
    for name in ADVERSARIES:
        definition: Any = find("sdpc-began").from_preset("default").replace(adversary=name)
        with torch.device("meta"):
            nets = sdpc_began.networks(definition, (3, 32, 32))
        counts[name] = (parameters(nets["generator"]), parameters(nets["discriminator"]))
    assert counts == {
        "sdpc": (GENERATOR, 143_552),
        "hi-la": (GENERATOR, 143_552),
        "threshold": (GENERATOR, 143_552),
        "autoencoder": (GENERATOR, TWIN),
    }
    assert abs(TWIN / 143_552 - 1) < 0.1


def test_the_loss_is_the_error_of_both_layers_and_its_gradient_that_of_the_residual() -> None:
    task = task_of(tiny("sdpc-began", iterations=3))
    net, images = task.adversary, task.batch(0, 0)[0].requires_grad_()
    error = task.error_of(net, images)
    prepared = net.preparation(images)
    found = net.infer(prepared.detach())
    below = net.scales[0] * found.codes[0]
    pairs = ((prepared, found.painted[0]), (below, found.painted[1]))
    each = [
        [float((w - m).detach().abs().sum() / w.detach().abs().sum()) for w, m in zip(*pair, strict=True)]
        for pair in pairs
    ]
    assert float(error) == pytest.approx(sum(each[0]) / 16 + sum(each[1]) / 16, rel=1e-5)
    # Codes are fixed: the gradient of an image's part is that of r(p) = |p - q| / |p| with q fixed, through the preparation.
    (pull,) = torch.autograd.grad(error, images, retain_graph=True)
    p, q = prepared.detach(), found.painted[0]
    lost, whole = ((each.abs().sum((1, 2, 3), keepdim=True)) for each in (p - q, p))
    slope = ((p - q).sign() / whole - p.sign() * lost / whole**2) / len(p)
    (expected,) = torch.autograd.grad(net.preparation(images), images, slope)
    torch.testing.assert_close(pull, expected)
    first, second = torch.autograd.grad(error, list(net.weights))
    assert bool(first.any()) and bool(second.any())


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_steps_update_what_they_should_and_keep_atoms_at_one(adversary: str) -> None:
    task = task_of(tiny("sdpc-began", adversary=adversary, image_size=32))
    before = [parameter.detach().clone() for parameter in task.adversary.parameters()]
    figures = steps(task, 3)
    assert all(set(row) == {"loss_d", "loss_g", "loss_real", "loss_fake", "k", "M"} for row in figures)
    changed = [not torch.equal(a, b) for a, b in zip(before, task.adversary.parameters(), strict=True)]
    assert all(changed)
    if adversary == "autoencoder":
        return
    for weight in task.adversary.weights:
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(len(weight)), atol=1e-6, rtol=0)
    assert task.adversary.feedback == (0 if adversary == "hi-la" else 1)
    assert task.adversary.iterations == (1 if adversary == "threshold" else 10)
    scales = {id(scale) for scale in task.adversary.scales}
    assert not scales & {id(p) for p in task.parameters("discriminator")} and len(scales) == 2


def test_dictionaries_learn_and_images_without_contrast_are_no_way_out() -> None:
    """With k = 0 only real images count, and their error falls; an image of hardly any contrast has as much as one of which nothing is
    reconstructed."""
    task = task_of(tiny("sdpc-began", k_range=(0.0, 0.0), lr=5e-3, penalties=(0.1, 0.1)))
    rows = steps(task, 25)
    assert rows[-1]["loss_real"] < 0.9 * rows[0]["loss_real"]
    faint = 1e-4 * torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        blank, weak = (float(task.error_of(task.adversary, each)) for each in (torch.zeros(4, 3, 16, 16), faint))
    assert (blank, weak) == pytest.approx((2, 2), abs=1e-3)


def test_generators_begin_alike() -> None:
    tasks = [task_of(tiny("sdpc-began", adversary=name)) for name in ADVERSARIES]
    first = tasks[0].generator.state_dict()
    assert all(torch.equal(first[k], v) for task in tasks[1:] for k, v in task.generator.state_dict().items())


@pytest.mark.slow  # 3 s in all
def test_killed_runs_end_bit_identical_to_uninterrupted_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finish(made(tmp_path / "whole", "sdpc-began", epochs=1))
    run = made(tmp_path / "killed", "sdpc-began", epochs=1, checkpoint_every=0.001)
    kill_at(monkeypatch, 3)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    result = finish(run)
    assert result["steps"] == whole["steps"] == 5 and result["segments"] == 2
    assert result["weights_sha256"] == whole["weights_sha256"]
    assert result["error_1"] == whole["error_1"] and 0 < result["active_1"] < 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"net": "sabegan"}, "--variant sabegan shares the generator"),
        ({"atoms": (8,)}, "--atoms 8: the auto-encoder has two layers"),
        ({"penalties": (0.5, -1.0)}, "--penalties .* is out of range"),
        ({"feedback": 101.0}, "--feedback 101.0 is out of range"),
    ],
)
def test_definitions_that_cannot_be_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find("sdpc-began").from_preset("default").replace(**values)
