"""SDPC and the GAN fused with it in the loop: resume, stages, controls of equal size, effects of feedback, pictures, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.runs.known_experiments import find
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.gan.similarity import ssim
from ganhpc.train.nets import sdpc as sdpc_net
from ganhpc.train.nets.sdpc import adjoint
from ganhpc.train.nets.sdpc_gan import LAYERS, Painter, principal
from ganhpc.train.tasks.sdpc_learning import Learning
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made, steps, task_of, tiny

DICTIONARIES = ("sdpc", "sdpc-tuned", "adversarial", "random", "pca", "hi-la")


def test_small_has_the_stated_numbers_of_parameters_under_every_dictionary() -> None:
    found = {}
    for side, wanted in ((32, 424_448), (64, 823_808)):
        with torch.device("meta"):
            net = Painter(image_size=side)
            assert sum(p.numel() for p in net.parameters()) == wanted
            assert sum(w.numel() for w in net.dictionaries) == 143_360
    for name in DICTIONARIES:
        task = task_of(tiny("sdpc-gan", dictionary=name, atoms=(64, 128), image_size=32, latent_dim=64))
        found[name] = (sum(p.numel() for p in task.generator.parameters()), describe(task.generator, (64,)).macs)
    # Convolutions and linear layers take 5,373,952; the rest is one product a value of what undoes the preparation.
    assert len(set(found.values())) == 1 and found["sdpc"] == (424_448, pytest.approx(5_373_952, rel=0.001))


@pytest.mark.slow  # 9 s in all
@pytest.mark.parametrize(("case", "killed"), [("sdpc", (2, 7)), ("sdpc-gan", (2, 7)), ("adversarial", (3,))])
def test_killed_runs_end_bit_identical_to_uninterrupted_ones(
    case: str, killed: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second kill of sdpc-gan is in its second stage."""
    values = {"sdpc_share": 0.5} if case == "sdpc-gan" else {}
    whole = finish(made(tmp_path / "whole", case, checkpoint_every=0.001, **values))
    run = made(tmp_path / "killed", case, checkpoint_every=0.001, **values)
    for step in killed:
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
    result = finish(run)
    assert (
        result["steps"] == whole["steps"] == (5 if case == "sdpc-gan" else 10) and result["segments"] == len(killed) + 1
    )
    assert result["weights_sha256"] == whole["weights_sha256"]
    if case == "sdpc-gan":
        assert result["sdpc_epochs"] == 1 and result["sdpc_seconds"] > 0
    assert {p.name for p in (run.folder / "samples").glob("*.png")}


def test_training_lowers_the_cost_and_keeps_atoms_at_one() -> None:
    task = task_of(tiny("sdpc", seed=1))
    before = task.evaluate()
    figures = steps(task, 20)
    after = task.evaluate()
    assert after["total_cost"] < 0.8 * before["total_cost"] and after["error_1"] < before["error_1"]
    assert all(0 < row["active_1"] < 1 for row in figures)
    for weight in task.net.weights:
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(len(weight)), atol=1e-6, rtol=0)


@pytest.mark.slow  # 2 s in all
def test_feedback_moves_error_to_the_first_layer_and_shortens_the_inference() -> None:
    """The signs that are published (Boutin et al., 2020, figures 3 to 5), each network learned with its own feedback. That of the activity shows on
    faces (docs/sdpc.md), and not on gratings."""
    rows = []
    for feedback in (0.0, 1.0):
        values = {"atoms": (32, 32), "image_size": 32, "feedback": feedback, "iterations": 100, "train_images": 480}
        task = task_of(tiny("sdpc", data="synthetic", scale=2.0, **values))
        steps(task, 20)
        rows.append(task.evaluate())
    without, with_it = rows
    assert with_it["error_1"] > 1.1 * without["error_1"]
    assert with_it["iterations"] < without["iterations"]


@pytest.mark.slow  # 2 s in all
def test_the_end_of_a_run_tells_the_effects_of_feedback(tmp_path: Path) -> None:
    run = made(tmp_path, "sdpc", sample_steps=5)
    finish(run)
    told = json.loads(run.evaluation_json.read_text())
    rows = told["feedback_effect"]["rows"]
    assert [row["feedback"] for row in rows] == [0, 1, 2, 3, 4] and told["feedback_effect"]["images"] > 1
    assert all(-1 <= row["ssim"] <= 1 for row in rows) and len(told["energies"]) >= 4
    pictures = sorted((run.folder / "samples").glob("*.png"))
    # Images, two layers' paintings, two layers' activity, atoms of 6 and of 8 on a row each: 7 rows of 16.
    assert len(pictures) >= 3 and Image.open(pictures[-1]).size == (16 * 18 + 2, 7 * 18 + 2)


def test_a_stage_learns_dictionaries_and_the_next_leaves_or_tunes_them(tmp_path: Path) -> None:
    weights = {}
    for name in ("sdpc", "sdpc-tuned"):
        trainer = trainer_of(made(tmp_path / name, "sdpc-gan", dictionary=name, sdpc_share=0.5))
        task: Any = trainer.task
        first = task.generator.dictionaries[0].detach().clone()
        trainer.fit()
        learned, painted = task.modules["sdpc"].weights[0], task.generator.dictionaries[0].detach()
        assert not torch.equal(first, learned)
        weights[name] = torch.equal(painted, learned)
        torch.testing.assert_close(painted.flatten(1).norm(dim=1), torch.ones(len(painted)), atol=1e-5, rtol=0)
    assert weights == {"sdpc": True, "sdpc-tuned": False}


def test_a_stage_can_end_within_a_pass_over_many_pictures_and_each_is_still_seen_once() -> None:
    task = task_of(tiny("sdpc-gan", train_images=960))
    assert task.loader.steps_per_epoch == 60 and task.steps_per_epoch == 50
    seen = [task.batch(*divmod(number, 50))[0] for number in range(60)]
    whole = [task.loader.batch(0, number)[0] for number in range(60)]
    assert all(torch.equal(a, b) for a, b in zip(seen, whole, strict=True))
    assert torch.equal(task.batch(1, 10)[0], task.loader.batch(1, 0)[0])


def test_arms_begin_alike_and_frozen_ones_keep_their_dictionaries() -> None:
    tasks = {name: task_of(tiny("sdpc-gan", dictionary=name)) for name in ("adversarial", "random", "pca")}
    start = {name: task.generator.dictionaries[0].detach().clone() for name, task in tasks.items()}
    assert torch.equal(start["adversarial"], start["random"]) and not torch.equal(start["pca"], start["random"])
    assert torch.equal(tasks["random"].generator.linear.weight, tasks["pca"].generator.linear.weight)
    for name, task in tasks.items():
        steps(task, 2)
        assert torch.equal(task.generator.dictionaries[0], start[name]) is (name != "adversarial")


def test_principal_components_come_with_their_negatives_and_the_strongest_first() -> None:
    base = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, second = principal(base, (8, 6))
    torch.testing.assert_close(first[:4], -first[4:])
    matrix = first[:4].flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(4), atol=1e-5, rtol=0)
    strength = adjoint(base, first, LAYERS[0]).square().sum((0, 2, 3))[:4]
    assert float(strength[0]) > float(strength[3]) and second.shape == (6, 8, 4, 4)


def test_the_painter_is_not_linear_in_its_codes_and_its_codes_are_never_negative() -> None:
    torch.manual_seed(0)
    net = Painter(image_size=16, atoms=(6, 8), latent_dim=5).eval()
    z = torch.randn(4, 5)
    with torch.no_grad():
        first, second = net.codes(z)
    assert float(first.min()) >= 0 and float(second.min()) >= 0 and bool((first == 0).any())
    images = net(z)
    assert images.shape == (4, 3, 16, 16) and float(images.abs().max()) <= 1


def test_similarity_is_one_of_the_same_and_falls_with_noise() -> None:
    x = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    assert ssim(x, x, 1.0) == pytest.approx(1, abs=1e-4)
    found = [ssim(x, x + s * noise, 1.0) for s in (0.05, 0.2, 1.0)]
    assert 1 > found[0] > found[1] > found[2] > 0
    # Constants a and b: (2ab + c1) / (a^2 + b^2 + c1), with c1 = 0.01^2.
    flat = torch.full((1, 1, 12, 12), 0.5, dtype=torch.float64)
    assert ssim(flat, flat / 2, 1.0) == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4), rel=1e-9)


def test_a_penalty_on_codes_adds_its_own_gradient_and_makes_them_fewer() -> None:
    tasks = {x: task_of(tiny("sdpc-gan", dictionary="adversarial", sparsity=x)) for x in (0.0, 3.0)}
    slopes = {}
    for x, task in tasks.items():
        task.train_mode()
        z = task.batch(0, 0)[1]
        fakes = task.generator(z)
        drawn = task.generator.drawn
        assert (drawn is not None) is bool(x)
        if drawn is not None:
            (own,) = torch.autograd.grad(drawn.mean(), task.generator.conv.weight, retain_graph=True)
        task.pull(fakes, torch.ones_like(fakes))
        slopes[x] = task.generator.conv.weight.grad.clone()
        task.generator.zero_grad(set_to_none=True)
    torch.testing.assert_close(slopes[3.0] - slopes[0.0], 3 * own, atol=1e-4, rtol=1e-3)
    for x in (0.0, 100.0):
        task = task_of(tiny("sdpc-gan", dictionary="adversarial", sparsity=x, lr=1e-2))
        steps(task, 10)
        slopes[x] = task.evaluate()["active_2"]
    assert slopes[100.0] < 0.5 * slopes[0.0]


def test_the_penalty_came_later_and_changes_no_signature() -> None:
    default: Any = find("sdpc-gan").from_preset("default")
    assert default.signature == "0cca0b821b" != default.replace(sparsity=0.1).signature
    tree = default.to_json()
    assert "sparsity" not in tree and type(default).from_json(tree) == default


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("sdpc-gan", {"source": "no/such"}, "--from /.*/no/such: there is no such folder"),
        ("sdpc-gan", {"dictionary": "pca", "source": "."}, "--dictionary pca takes none"),
        ("sdpc-gan", {"image_size": 36}, "--image-size 36 must be a multiple of 8: try 32 or 40"),
        ("sdpc-gan", {"atoms": (64,)}, "--atoms 64: the generator has two layers"),
        ("sdpc", {"penalties": (-0.5, 0.5)}, "--penalties -0.5 is out of range"),
        ("sdpc", {"feedback": -1.0}, "--feedback -1.0 is out of range"),
        ("sdpc", {"rates": (0.1,)}, "--rates 0.1: --atoms has 2 layers"),
        ("sdpc", {"contrast": 8}, "--contrast 8 must be odd"),
        ("sdpc", {"kernels": (8,)}, "--kernels 8: --atoms has 2 layers, so give 2 values to each"),
        ("sdpc", {"atoms": ()}, "--atoms none"),
        ("sdpc", {"image_size": 8, "kernels": (20, 4)}, "layer 1 has atoms of 20 pixels and maps of 8"),
        (
            "sdpc",
            {"image_size": 64, "image_width": 8, "paddings": (0, 0)},
            "layer 2 has atoms of 4 pixels and maps of 1",
        ),
    ],
)
def test_definitions_that_cannot_be_are_refused(name: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find(name).from_preset("default").replace(**values)


@pytest.mark.slow  # 2 s in all
def test_a_feedback_that_diverges_ends_the_run_in_a_sentence_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By steps a hundred times too long, from the third on."""
    values = {"epochs": 1, "checkpoint_every": 0.001}
    whole = finish(made(tmp_path / "whole", "sdpc", **values))
    run = made(tmp_path / "diverges", "sdpc", **values)
    step, made_steps = Learning.step, []

    def diverging(learning: Learning, images: torch.Tensor) -> Any:
        made_steps.append(1)
        if len(made_steps) == 3:
            monkeypatch.setattr(sdpc_net, "_MARGIN", 0.01)
        return step(learning, images)

    monkeypatch.setattr(Learning, "step", diverging)
    with pytest.raises(
        UserError, match=r"--feedback 1: the inference diverges \(energy .* type a smaller one, such as 0.5"
    ):
        trainer_of(run).fit()
    assert len(made_steps) == 3
    monkeypatch.undo()
    assert list(run.checkpoints.glob("step-*")) and not run.result_json.exists()
    assert finish(run)["weights_sha256"] == whole["weights_sha256"]


def test_unequal_layers_are_refused() -> None:
    with pytest.raises(UserError, match=r"--penalties 0\.5: --atoms has 2 layers"):
        tiny("sdpc", penalties=(0.5,))
    with pytest.raises(UserError, match="layer 1 has atoms of 20 pixels and maps of 8"):
        sdpc_net.Sdpc(image_size=8, kernels=(20, 4))


@pytest.mark.parametrize("preset", ["stl10", "mnist", "small", "hi-la"])
def test_presets_have_networks(preset: str) -> None:
    from ganhpc.train.tasks import sdpc

    definition: Any = find("sdpc").from_preset(preset)
    with torch.device("meta"):
        net = sdpc.networks(definition, (3, definition.image_size, definition.image_size))["sdpc"]
    assert isinstance(net, nn.Module) and net.feedback == (0 if preset == "hi-la" else 1)
