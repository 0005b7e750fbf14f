"""CycleGAN against its published description: counts, losses at known outputs, order of updates, pool, schedule, resume, two processes."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.datasets import held_data
from ganhpc.datasets.types import ImageData
from ganhpc.runs.gan_sizes import map_side
from ganhpc.runs.known_experiments import find
from ganhpc.train.data import registry
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.gan import generator_io
from ganhpc.train.gan.image_pool import ImagePool
from ganhpc.train.loop.build import prepare, request_of
from ganhpc.train.nets.cyclegan import Discriminator, Generator, receptive_field
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import cyclegan
from ganhpc.train.tasks import task as base
from jobs.cyclegan import CycleGan
from tests.helpers import finish, trainer_of
from tests.train import convolution_counts
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made, steps, task_of, tiny, weights

# -- networks -------------------------------------------------------------------------------------------------------------

GENERATORS = {
    (64, 9): (11_378_179, {32: 774_242_304, 64: 3_096_969_216, 128: 12_387_876_864, 256: 49_551_507_456}),
    (64, 6): (7_837_699, {32: 547_749_888, 64: 2_190_999_552, 128: 8_763_998_208, 256: 35_055_992_832}),
    (64, 3): (4_297_219, {32: 321_257_472, 64: 1_285_029_888}),
    (32, 6): (1_965_059, {32: 141_754_368, 64: 567_017_472}),
    (32, 3): (1_079_555, {32: 85_131_264, 64: 340_525_056}),
    (16, 6): (494_083, {32: 37_847_040, 64: 151_388_160}),
    (16, 3): (272_515, {32: 23_691_264, 64: 94_765_056}),
}
"""(channels, blocks): parameters, and multiply-accumulate pairs by the side of the image."""
DISCRIMINATORS = {
    (64, 3): (2_764_737, {32: 36_470_784, 64: 173_309_952, 128: 754_483_200, 256: 3_146_809_344}),
    (64, 2): (662_977, {32: 35_012_608, 64: 155_467_776}),
    (64, 1): (136_385, {32: 30_679_040, 64: 130_949_120}),
    (32, 3): (694_241, {32: 9_322_496, 64: 44_187_648}),
    (32, 2): (167_649, {32: 8_986_624, 64: 39_854_080}),
    (16, 3): (175_089, {32: 2_433_024, 64: 11_476_992}),
    (16, 2): (42_865, {32: 2_363_392, 64: 10_457_088}),
}


def pairs(net: nn.Module, side: int) -> int:
    """Multiply-accumulate pairs of the convolutions for one image, from the shapes alone."""
    return convolution_counts.pairs(net, torch.empty(1, 3, side, side, device="meta"))


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("sizes", GENERATORS)
def test_generators_have_the_published_counts(sizes: tuple[int, int], upsampling: str) -> None:
    wanted, macs = GENERATORS[sizes]
    with torch.device("meta"):
        net = Generator(base_channels=sizes[0], blocks=sizes[1], upsampling=upsampling)
    assert parameters(net) == wanted
    if upsampling == "transposed":
        assert {side: pairs(net, side) for side in macs} == macs


@pytest.mark.parametrize("sizes", DISCRIMINATORS)
def test_discriminators_have_the_published_counts(sizes: tuple[int, int]) -> None:
    wanted, macs = DISCRIMINATORS[sizes]
    with torch.device("meta"):
        net = Discriminator(base_channels=sizes[0], layers=sizes[1])
    assert parameters(net) == wanted and {side: pairs(net, side) for side in macs} == macs


def test_our_own_count_of_operations_agrees() -> None:
    for net in (
        Generator(base_channels=16, blocks=3, image_size=32),
        Discriminator(base_channels=16, layers=2, image_size=32),
    ):
        assert describe(net, (3, 32, 32)).macs == pairs(net.to("meta"), 32)


def test_maps_and_patches_are_the_published_ones() -> None:
    assert [receptive_field(n) for n in (1, 2, 3, 4)] == [16, 34, 70, 142]
    assert {side: map_side(side, 3) for side in (32, 64, 128, 256)} == {32: 2, 64: 6, 128: 14, 256: 30}
    for side in (32, 64):
        shape = Discriminator(base_channels=4, image_size=side)(torch.zeros(2, 3, side, side)).shape
        assert shape == (2, 1, map_side(side, 3), map_side(side, 3))


@pytest.mark.parametrize(
    ("layers", "side", "sentence"),
    [(4, 32, "leaves no position"), (3, 24, "leaves one position"), (2, 8, "leaves no position")],
)
def test_a_discriminator_without_a_map_is_refused_with_the_way_on(layers: int, side: int, sentence: str) -> None:
    with pytest.raises(UserError, match=f"--patch-layers {layers} at --image-size {side} {sentence}") as error:
        Discriminator(base_channels=2, layers=layers, image_size=side)
    with pytest.raises(UserError, match=sentence):  # before anything is submitted
        CycleGan().replace(patch_layers=layers, image_size=side)
    if way := str(error.value).partition("type --patch-layers ")[2][:1]:
        Discriminator(base_channels=2, layers=int(way), image_size=side).train()(torch.randn(2, 3, side, side))


def test_networks_begin_small_and_treat_each_image_by_itself() -> None:
    torch.manual_seed(0)
    for net in (Generator(base_channels=16, blocks=2, image_size=32), Discriminator(base_channels=32, image_size=32)):
        convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        values = torch.cat([m.weight.flatten() for m in convolutions])
        assert float(values.std()) == pytest.approx(0.02, rel=0.02) and abs(float(values.mean())) < 5e-4
        assert all(not m.bias.any() for m in convolutions if m.bias is not None)
        assert not list(net.buffers()) and not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        images = torch.rand(3, 3, 32, 32) * 2 - 1
        together, alone = net(images), torch.cat([net(each[None]) for each in images])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_generator_takes_other_sides_and_keeps_them() -> None:
    net = Generator(base_channels=2, blocks=1, image_size=16)
    assert net(torch.zeros(1, 3, 24, 20)).shape == (1, 3, 24, 20)
    assert float(net(torch.randn(2, 3, 16, 16)).abs().max()) <= 1
    with pytest.raises(UserError, match="multiple of 4"):
        Generator(image_size=30)


def test_a_residual_block_that_learns_nothing_lets_its_input_pass() -> None:
    net = Generator(base_channels=2, blocks=1, image_size=16)
    block = next(m for m in net.layers if type(m).__name__ == "_Residual")
    x = torch.randn(1, 8, 4, 4)  # half of it below zero: a ReLU after the sum would cut it off
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        assert torch.equal(block(x), x)


# -- losses and updates ---------------------------------------------------------------------------------------------------


class Constant(nn.Module):
    """A discriminator of one opinion."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images: Tensor) -> Tensor:
        return self.value.expand(len(images), 1, 2, 2)


@pytest.fixture
def task() -> Any:
    return task_of(tiny("cyclegan"))


@pytest.mark.parametrize(("opinion", "of_d", "of_g"), [(0.0, 0.5, 1.0), (0.5, 0.25, 0.25)])
def test_losses_at_constant_discriminators(task: Any, opinion: float, of_d: float, of_g: float) -> None:
    task.wrapped |= {name: Constant(opinion) for name in task.adversary_names}
    a, b = task.batch(0, 0)
    losses, fakes = task.generator_losses(a, b)
    assert [float(losses[f"loss_g_{d}"].detach()) for d in ("a2b", "b2a")] == [of_g, of_g]
    for name, real in (("a", a), ("b", b)):
        net = task.wrapped[f"discriminator_{name}"]
        assert float(cyclegan.discriminator_loss(net, real, fakes[name]).detach()) == of_d


def test_identical_generators_have_no_cycle_and_identity_error(task: Any) -> None:
    task.wrapped |= {"a2b": nn.Identity(), "b2a": nn.Identity()}
    losses, _ = task.generator_losses(*task.batch(0, 0))
    assert [float(losses[f"loss_{k}_{s}"]) for k in ("cycle", "identity") for s in "ab"] == [0.0] * 4


def test_the_generators_loss_is_the_weighted_sum_of_the_published_terms() -> None:
    task = task_of(tiny("cyclegan", lambda_cycle=3.0, lambda_identity=0.25))
    a, b = task.batch(0, 1)
    g, f, d_a, d_b = (task.modules[n] for n in ("a2b", "b2a", "discriminator_a", "discriminator_b"))
    with torch.no_grad():
        wanted = (
            (d_b(g(a)) - 1).square().mean() + (d_a(f(b)) - 1).square().mean()
            + 3.0 * ((f(g(a)) - a).abs().mean() + (g(f(b)) - b).abs().mean())
            + 0.25 * 3.0 * ((g(b) - b).abs().mean() + (f(a) - a).abs().mean())
        )  # fmt: skip
        found, _ = task.generator_losses(a, b)
    assert float(found["loss_g"]) == pytest.approx(float(wanted), rel=1e-5)
    without = task_of(tiny("cyclegan", lambda_cycle=3.0, lambda_identity=0.0)).generator_losses(a, b)[0]
    assert not [name for name in without if "identity" in name]


def test_swapped_sets_and_networks_give_the_same_losses(task: Any) -> None:
    a, b = task.batch(0, 0)
    with torch.no_grad():
        first, _ = task.generator_losses(a, b)
        nets = dict(task.wrapped)
        task.wrapped = {
            "a2b": nets["b2a"], "b2a": nets["a2b"], "discriminator_a": nets["discriminator_b"], "discriminator_b": nets["discriminator_a"],
        }  # fmt: skip
        second, _ = task.generator_losses(b, a)
    assert float(first["loss_g"]) == pytest.approx(float(second["loss_g"]), rel=1e-6)
    assert float(first["loss_g_a2b"]) == pytest.approx(float(second["loss_g_b2a"]), rel=1e-6)


def test_generators_step_first_and_neither_step_touches_the_other_side(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    seen: list[dict[str, Tensor]] = [weights(task)]
    original = task.descend

    def descend(optimizer: Any, given: Any) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        order.append("g" if {id(p) for p in task.parameters("a2b", "b2a")} == held else "d")
        original(optimizer, given)
        seen.append(weights(task))

    monkeypatch.setattr(task, "descend", descend)
    task.train_step(task.batch(0, 0))
    assert order == ["g", "d"]
    for before, after, side in ((seen[0], seen[1], ("a2b", "b2a")), (seen[1], seen[2], ("disc",))):
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved and all(name.startswith(side) for name in moved)
    assert all(p.requires_grad for p in task.parameters(*task.adversary_names))


def test_frozen_discriminators_change_nothing_for_the_generators(task: Any) -> None:
    a, b = task.batch(0, 0)
    given = task.parameters("a2b", "b2a")
    with task._frozen_adversaries():
        frozen = torch.autograd.grad(task.generator_losses(a, b)[0]["loss_g"], given)
    free = torch.autograd.grad(task.generator_losses(a, b)[0]["loss_g"], given)
    assert all(torch.equal(x, y) for x, y in zip(frozen, free, strict=True))


def test_the_rate_is_the_published_one() -> None:
    factors = [cyclegan.rate_factor(e) for e in range(200)]
    assert factors[:100] == [1.0] * 100
    assert [factors[e] for e in (100, 149, 199)] == pytest.approx([0.9901, 0.5050, 0.0099], abs=5e-5)
    task = task_of(tiny("cyclegan"))
    rates = [task.schedule(p)["lr_g"] / 1e-3 for p in (0.0, 0.4999, 0.5, 0.7476, 0.9999, 1.0)]
    assert rates == pytest.approx([1, 1, factors[100], factors[149], factors[199], factors[199]])
    assert task_of(tiny("cyclegan", decay=False)).schedule(1.0)["lr_d"] == 1e-3


# -- pool -----------------------------------------------------------------------------------------------------------------


def numbered(first: int, n: int) -> Tensor:
    return torch.arange(first, first + n).float().view(n, 1, 1, 1)


def test_a_pool_returns_the_first_ones_and_stores_one_exactly_where_it_returns_an_older_one() -> None:
    pool = ImagePool(50, "test")
    assert torch.equal(pool.query(numbered(0, 50)), numbered(0, 50))
    swaps = 0
    for k in range(50, 1050):
        assert pool.images is not None
        before = set(pool.images.flatten().tolist())
        (shown,) = pool.query(numbered(k, 1)).flatten().tolist()
        after = set(pool.images.flatten().tolist())
        if shown == k:
            assert after == before
        else:
            swaps += 1
            assert shown in before and after == (before - {shown}) | {float(k)}
    assert 430 < swaps < 570, "one half, within four deviations"


def test_a_pool_goes_on_from_its_state_and_an_empty_one_lets_all_pass() -> None:
    pool, other = ImagePool(5, "one"), ImagePool(5, "another")
    pool.query(numbered(0, 9))
    saved = torch.load(_through_a_file(pool.state()), weights_only=True)
    other.load(saved, (1, 1, 1), torch.device("cpu"))
    expected = [pool.query(numbered(k, 3)) for k in (9, 12, 15)]
    assert all(torch.equal(other.query(numbered(k, 3)), e) for k, e in zip((9, 12, 15), expected, strict=True))
    none = ImagePool(0, "none")
    assert torch.equal(none.query(numbered(0, 70)), numbered(0, 70)) and none.images is None
    for size, shape in ((3, (1, 1, 1)), (5, (1, 2, 2))):
        with pytest.raises(ValueError, match=f"a pool of .* where {size} images"):
            ImagePool(size, "other").load(saved, shape, torch.device("cpu"))


def _through_a_file(tree: Any) -> Any:
    file = io.BytesIO()
    torch.save(tree, file)
    file.seek(0)
    return file


# -- batches --------------------------------------------------------------------------------------------------------------


def unequal(a: int, b: int) -> Any:
    """The task on `a` pictures of A and `b` of B, each picture of one value of its own."""
    experiment = tiny("cyclegan", flip="none", batch_size=4, enlarge=1.0)
    sets = [torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, 16, 16).contiguous() for n in (a, b)]
    first, second = (ImageData(name, images, None, images, None) for name, images in zip("ab", sets, strict=True))
    return base.module("cyclegan").build(
        experiment, base.Context(data=first, process_group=Distributed.start("cpu"), more={"data_b": second})
    )


def test_an_epoch_is_the_larger_set_and_the_smaller_one_goes_round_in_new_orders() -> None:
    task = unequal(24, 8)
    assert task.steps_per_epoch == 6
    batches = [task.batch(0, step) for step in range(6)]
    values = [[round(float(v + 1) * 127.5) for v in torch.cat(side)[:, 0, 0, 0]] for side in zip(*batches, strict=True)]
    assert sorted(values[0]) == list(range(24)) and sorted(values[1]) == sorted([*range(8)] * 3)
    assert values[1][:8] != values[1][8:16]
    again = unequal(8, 24)
    assert again.steps_per_epoch == 6 and torch.equal(again.batch(1, 2)[0], unequal(8, 24).batch(1, 2)[0])


def test_sets_of_one_size_are_paired_at_random() -> None:
    task = unequal(40, 40)
    a, b = (torch.cat(side)[:, 0, 0, 0] for side in zip(*[task.batch(0, s) for s in range(10)], strict=True))
    assert int((a == b).sum()) < 8, "one is expected by chance"


def test_enlarged_pictures_are_cut_at_places_of_their_own(task: Any) -> None:
    images = torch.linspace(-1, 1, 16).expand(8, 3, 16, 16).contiguous()
    cut = task._cut(images, task.draws(0, 0))
    assert cut.shape == images.shape and cut.is_contiguous(memory_format=torch.channels_last)
    lefts = cut[:, 0, 0, 0]
    assert len({round(float(v), 4) for v in lefts}) > 1, "other columns for other images"
    slope = 2 / 15 / task.experiment.enlarge
    assert float((cut[:, 0, 8, 9] - cut[:, 0, 8, 5]).mean() / 4) == pytest.approx(slope, rel=0.1)
    assert torch.equal(cut, task._cut(images, task.draws(0, 0)))


# -- runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 5 s of processor time: it computes
def test_a_killed_run_ends_bit_identical_with_its_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"checkpoint_every": 0.001, "pool": 6}
    whole = finish(made(tmp_path / "whole", "cyclegan", **values))
    run = made(tmp_path / "killed", "cyclegan", **values)
    for step in random.Random(0).sample(range(2, 19), 2):
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
    trainer = trainer_of(run)
    assert trainer.task.pools["a"].count == 6, "the pool came from the checkpoint"
    result = finish(run)
    assert result["weights_sha256"] == whole["weights_sha256"] and result["cycle"] == whole["cycle"]
    assert result["steps"] == whole["steps"] == 20


@pytest.mark.slow  # 2 s of processor time: it computes
def test_a_run_exports_both_generators_and_measures_both_directions(tmp_path: Path) -> None:
    run = made(tmp_path, "cyclegan", distance_images=0)
    finish(run)
    assert generator_io.exported(run) == ["a2b", "b2a"]
    definition = json.loads(run.export("a2b").with_suffix(".json").read_text())
    assert definition["net"] == "cyclegan" and definition["input"] == "images" and "latent" not in definition
    grids = sorted(run.samples.glob("step-*.png"))
    assert Image.open(grids[-1]).size == (6 * 18 + 2, 2 * 18 + 2), (
        "source, translation and cycle of A and of B, two rows"
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Thirty small pictures of red and of blue noise."""
    made_ = []
    for name, channel in (("red", 0), ("blue", 2)):
        folder = tmp_path / name
        folder.mkdir()
        for k in range(30):
            pixels = np.zeros((20, 24, 3), np.uint8)
            pixels[..., channel] = np.random.default_rng(k).integers(0, 256, (20, 24))
            Image.fromarray(pixels).save(folder / f"{k}.png")
        made_.append(folder)
    return made_[0], made_[1]


@pytest.mark.slow  # 2 s of processor time: it computes
def test_a_run_is_held_to_both_of_its_sets(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "cache"))
    red, blue = folders
    values = {"data": str(red), "data_b": str(blue), "train_images": None, "distance_images": 0, "epochs": 1}
    run = made(tmp_path, "cyclegan", **values)
    finish(run)
    assert held_data.record_of(run.folder)["path"] == str(red)  # type: ignore[index]
    assert held_data.record_of(run.folder, "data_b")["path"] == str(blue)  # type: ignore[index]
    definition = tiny("cyclegan", **values).definition
    assert held_data.hold(run.folder, definition) == ""
    red.rename(tmp_path / "third")
    blue.rename(red)
    (tmp_path / "third").rename(blue)
    exchanged = rf"in {red} are not those .* of 30, 30 replaced \(first: 0.png\) \(they are those of --data-b then: the two are exchanged\)"
    with pytest.raises(held_data.DataChanged, match=exchanged):
        held_data.hold(run.folder, definition)
    with pytest.raises(held_data.DataChanged, match=exchanged):
        prepare(run, run.experiment(), Distributed.start("cpu"), 0.0)
    blue.rename(tmp_path / "third")
    red.rename(blue)
    (tmp_path / "third").rename(red)
    assert held_data.hold(run.folder, definition) == "", "put back"
    moved = blue.rename(tmp_path / "moved")
    again = tiny("cyclegan", **{**values, "data_b": str(moved)})
    assert held_data.chosen([], run.folder.parent, again.definition) == run.folder, "known again where B has moved"
    swapped = tiny("cyclegan", **{**values, "data": str(moved), "data_b": str(red)})
    assert held_data.chosen([], run.folder.parent, swapped.definition) is None
    (moved / "3.png").write_bytes((moved / "4.png").read_bytes())
    with pytest.raises(held_data.DataChanged, match=r"moved are not those .* 1 replaced"):
        held_data.hold(run.folder, again.definition)
    with pytest.raises(
        UserError, match=r"^--data-b .*there is no such folder or zip any more.* with --data-b and the new place"
    ):
        held_data.hold(run.folder, definition)


def test_sets_that_do_not_fit_are_refused(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "cache"))
    red, _ = folders
    with pytest.raises(UserError, match="are both lines: a translation needs two sets"):
        tiny("cyclegan", data_b="lines")
    copy = tmp_path / "copy"
    shutil.copytree(red, copy)
    experiment = tiny("cyclegan", data=str(red), data_b=str(copy), train_images=None)
    with pytest.raises(UserError, match="hold the same pictures"):
        task_of(experiment)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"^--data-b .*empty"):
        trainer_of(made(tmp_path, "cyclegan", data_b=str(empty)))
    few = tiny("cyclegan", data_b=str(red), train_images=None, batch_size=64)
    with pytest.raises(UserError, match="more than the 28 training images of --data-b"):
        task_of(few)
    with pytest.raises(UserError, match="--image-size 18 must be a multiple of 4: try 16 or 20"):
        tiny("cyclegan", image_size=18)


def test_presets_are_the_published_networks() -> None:
    counts = {}
    for preset in ("default", "128", "small", "faces2simpsons"):
        experiment = find("cyclegan").from_preset(preset)
        experiment.check()
        with torch.device("meta"):
            nets = cyclegan.networks(experiment, (3, experiment.image_size, experiment.image_size))
        counts[preset] = (parameters(nets["a2b"]), parameters(nets["discriminator_b"]))
    assert counts["default"] == (11_378_179, 2_764_737) and counts["128"] == (7_837_699, 2_764_737)
    assert counts["small"] == (272_515, 42_865) and counts["faces2simpsons"][0] == 7_837_699


def test_both_sets_are_in_the_signature() -> None:
    first, second = tiny("cyclegan"), tiny("cyclegan", data_b="synthetic")
    assert first.signature != second.signature and "synthetic" in second.variant
    assert registry.load(request_of(first, "data_b")).name == "negatives"


def test_steps_of_any_arithmetic_are_finite() -> None:
    figures = steps(task_of(tiny("cyclegan", precision="bf16")), 3)
    assert all(np.isfinite(list(each.values())).all() for each in figures)
