"""Published presets of SDPC in one real step each, and pictures that are not square, from a folder to reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import ImageData
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.known_experiments import find
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from ganhpc.train.nets import sdpc
from ganhpc.train.nets.sdpc import Sdpc, adjoint, synthesis
from ganhpc.train.nets.sdpc_preparation import Preparation, border, whitening_filter
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import sdpc as task_module
from ganhpc.train.tasks.task import Context
from tests.helpers import finish
from tests.train.tasks.tiny import made, task_of, tiny

SHAPES: dict[str, tuple[tuple[int, int], list[tuple[int, ...]], int]] = {
    "cfd": ((120, 171), [(64, 38, 55), (128, 30, 47)], 679_296),
    "att": ((112, 92), [(64, 52, 42), (128, 44, 34)], 668_928),
    "stl10": ((96, 96), [(64, 45, 45), (128, 38, 38)], 536_768),
    "mnist": ((28, 28), [(32, 12, 12), (64, 8, 8)], 52_096),
}
"""Of each published preset: height and width, maps of both layers, parameters (W1, W2 and v)."""


def of_random_pictures(preset: str, size: tuple[int, int]) -> Any:
    """A task of the preset with an inference of two iterations on batches of one random picture."""
    definition: Any = find("sdpc").from_preset(preset).replace(batch_size=1, iterations=2, device="cpu")
    drawn = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    context = Context(data=ImageData("random", drawn, None, drawn[:1], None), process_group=Distributed.start("cpu"))
    task: Any = task_module.build(definition, context)
    task.wrap(lambda module: module)
    return task


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("preset", SHAPES)
def test_published_presets_take_a_real_step_with_the_published_maps_and_counts(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the power iteration, whose whole length other tests make, one round: these are large networks.
    monkeypatch.setattr(sdpc, "_LEAST_POWERS", 1)
    monkeypatch.setattr(sdpc, "_MOST_POWERS", 1)
    size, maps, params = SHAPES[preset]
    task = of_random_pictures(preset, size)
    net, before = task.net, [weight.detach().clone() for weight in task.net.weights]
    figures = task.train_step(task.batch(0, 0))
    assert all(bool(torch.isfinite(value).all()) for value in figures.values())
    assert sum(p.numel() for p in net.parameters()) == params
    for old, new in zip(before, net.weights, strict=True):
        assert not torch.equal(old, new)
        torch.testing.assert_close(new.flatten(1).norm(dim=1), torch.ones(len(new)), atol=1e-5, rtol=0)
    prepared = net.preparation(task._held_out)
    found = net.infer(prepared)
    assert [tuple(codes.shape[1:]) for codes in found.codes] == maps
    assert found.painted[0].shape == prepared.shape and found.painted[1].shape == found.codes[0].shape
    # Output padding 0, 0, 1, 1 for CFD, STL-10, MNIST and AT&T: systems.md has it from the authors' code.
    assert [layer.output_padding for layer in net.layers] == [int(preset in ("att", "mnist")), 0]


def test_maps_that_are_left_over_differently_down_and_across_are_painted_whole() -> None:
    net = Sdpc(image_size=[17, 22], atoms=(6, 5), kernels=(5, 3), strides=(3, 2), paddings=(0, 1))
    assert net.layers[0].output_padding == (0, 2) and net.image_shape == (3, 17, 22)
    weight, layer = net.weights[0], net.layers[0]
    x = torch.randn(2, 3, 17, 22)
    codes = adjoint(x, weight, layer)
    painted = synthesis(codes, weight, layer)
    assert painted.shape == x.shape
    torch.testing.assert_close((painted * x).sum(), codes.square().sum())
    assert net(x.clamp(-1, 1)).shape == x.shape


def test_preparation_of_pictures_that_are_not_square() -> None:
    x = torch.rand(3, 3, 12, 18) * 2 - 1
    net = Preparation((12, 18))
    net.fit(x)
    torch.testing.assert_close(net.undo(net(x)), x, atol=1e-4, rtol=0)
    gain = whitening_filter((12, 18), 0.5, 2.0, invertible=True)
    assert gain.shape == (12, 10)
    # f in cycles a pixel: the same along both axes, though their numbers of frequencies differ; the lowest is 1 / 18.
    assert float(gain[4, 0]) == pytest.approx(float(gain[0, 6])) and float(gain[0, 0]) == pytest.approx(
        float(gain[0, 1])
    )
    mask = border((12, 18))
    assert mask.shape == (12, 18) and torch.equal(mask, mask.flip(0)) and torch.equal(mask, mask.flip(1))
    assert float(mask[0, 0]) == 0 and float(mask[6, 9]) > 0.99
    assert torch.equal(border(9), border((9, 9))) and torch.equal(
        whitening_filter(9, 0.5, 2), whitening_filter((9, 9), 0.5, 2)
    )


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures twice as wide as high, red on the left and blue on the right, green below."""
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    folder = tmp_path / "wide"
    folder.mkdir()
    for k in range(8):
        image = Image.new("RGB", (60, 30), (200, k, 0))
        image.paste((0, k, 200), (30, 0, 60, 30))
        image.paste((0, 200, k), (0, 20, 60, 30))
        image.save(folder / f"{k}.png")
    return folder


def test_pictures_of_a_folder_are_not_cut_to_squares(wide: Path, tmp_path: Path) -> None:
    values = {"data": str(wide), "image_size": 16, "image_width": 32, "train_images": 6, "batch_size": 2, "epochs": 1}
    run = made(tmp_path, "sdpc", **values)
    result = finish(run)
    assert result["steps"] == 3
    task = task_of(tiny("sdpc", **values))
    image = task.context.data.images[0]
    assert image.shape == (3, 16, 32)
    assert image[0, 2, 2] > 150 > image[0, 2, 29] and image[2, 2, 29] > 150 and image[1, 14, 16] > 150
    (picture, *_) = sorted((run.folder / "samples").glob("step-*.png"))
    assert Image.open(picture).size == (16 * 34 + 2, 7 * 18 + 2)
    net, _ = generator_io.load(Run(run.folder))
    assert net.image_shape == (3, 16, 32) and net(torch.zeros(1, 3, 16, 32)).shape == (1, 3, 16, 32)


def test_shapes_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--image-width 32: lines has square images; leave the option out"):
        task_of(tiny("sdpc", image_width=32))
    with pytest.raises(UserError, match="--image-width 4"):
        tiny("sdpc", image_width=4)
    with pytest.raises(UserError, match="--contrast 13 must be odd and at most as many pixels as the images have, 12"):
        tiny("sdpc", contrast=13, image_width=12)
    del tmp_path


def test_the_width_came_later_and_changes_no_signature() -> None:
    default: Experiment = find("sdpc").from_preset("default")
    assert (default.signature, default.replace(image_width=40).signature != default.signature) == ("a594f0c982", True)
    tree = default.to_json()
    assert "image_width" not in tree and known_experiments.from_json(tree) == default
    wide = default.replace(image_width=40)
    assert wide.to_json()["image_width"] == 40 and known_experiments.from_json(wide.to_json()) == wide
