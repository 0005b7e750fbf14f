"""Whole runs of tiny GANs: killed and resumed, what they leave behind, samples, the watch, measures, golden losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_json
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io, quality_measures
from ganhpc.train.loop.trainer import Failed
from ganhpc.train.runtime import compiling
from tests.golden import gan_losses
from tests.helpers import finish, train, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at, lines
from tests.train.tasks.tiny import VARIANTS, made, task_of, tiny


@pytest.mark.slow  # 12 s of processor time for its 5 cases
@pytest.mark.parametrize(
    ("case", "dies"), [("dcgan", [2, 7]), ("began", [6]), ("sabegan", [3]), ("wgan-gp", [1, 3]), ("strips", [2])]
)
def test_a_killed_run_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, dies: list[int]
) -> None:
    options: dict[str, Any] = {"checkpoint_every": 0.001}
    if case == "began":
        options["stall_epochs"] = 1
    reference = finish(made(tmp_path / "whole", case, **options))
    run = made(tmp_path / "killed", case, **options)
    for step in dies:
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
        torch.manual_seed(12345)
    result = finish(run)
    assert result["segments"] == len(dies) + 1
    assert result["weights_sha256"] == reference["weights_sha256"]
    assert result["diversity"] == reference["diversity"]
    whole = Run(tmp_path / "whole" / run.folder.relative_to(tmp_path / "killed"))
    for picture in sorted(whole.samples.glob("step-*.png")):
        assert picture.read_bytes() == (run.samples / picture.name).read_bytes()
    kept = [{k: v for k, v in line.items() if k.startswith(("train", "lr", "step"))} for line in lines(run)]
    assert kept == [{k: v for k, v in line.items() if k.startswith(("train", "lr", "step"))} for line in lines(whole)]


def test_k_and_the_stall_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    task = task_of(tiny("began", stall_epochs=2))
    task.k.fill_(0.123456789012)
    for mean in (0.5, 0.5, 0.6, 0.7, 0.8):
        task.end_epoch({"M": mean})
    torch.save(task.state(), tmp_path / "state.pt")
    other = task_of(tiny("began", stall_epochs=2))
    other.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert float(other.k) == 0.123456789012
    assert json.dumps(other.state()["stall"]) == json.dumps(task.state()["stall"]) and other.state()["M"] == [0.8]


@pytest.mark.parametrize("case", list(VARIANTS))
def test_losses_are_those_of_the_golden_file(tmp_path: Path, case: str) -> None:
    """Refactors keep them: the means of two epochs' figures, from a fixed seed."""
    golden = json.loads(gan_losses.FILE.read_text())[case]
    found = gan_losses.measure(case, tmp_path)
    for ours, theirs in zip(found, golden, strict=True):
        assert ours == pytest.approx(theirs, rel=5e-3, abs=1e-5), f"{case}: {json.dumps(found)}"


def test_a_run_leaves_what_people_look_at(tmp_path: Path) -> None:
    run = made(tmp_path, "wgan-gp", sample_rows=3, sample_columns=4)
    result = finish(run)
    assert result["experiment"] == "wgan-gp" and result["batch_size"] == 40 and result["steps"] == 4
    assert result["lines_n"] == 20 and result["lines_valid"] == 0.0 and result["diversity"] > 0
    assert read_json(run.evaluation_json)["lines_real"]["valid"] == 1.0, "the ceiling"  # type: ignore[index]
    assert [p.name for p in sorted(run.samples.iterdir())] == [
        "converge.png", "samples.gif", "step-0000000000.png", "step-0000000002.png", "step-0000000004.png",
    ]  # fmt: skip
    with Image.open(run.samples / "step-0000000004.png") as sheet:
        assert sheet.size == (2 + 4 * 18, 2 + 3 * 18)
    with Image.open(run.samples / "samples.gif") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
    board = [line for line in lines(run) if line["kind"] == "epoch"][-1]
    assert {"train_loss_d", "train_loss_g", "train_penalty", "wasserstein", "valid", "lr_g"} <= set(board)


def test_samples_are_brought_from_minus_one_to_one_into_bytes_exactly(tmp_path: Path) -> None:
    """The bug of the internship notes, week 13: saved pictures were not what the generator had made."""
    run = made(tmp_path, "dcgan", sample_rows=1, sample_columns=2)
    finish(run)
    net, source = generator_io.load(run)
    assert source == "generator.safetensors"
    with torch.no_grad():
        images = net(generator_io.latents(2, 6, 0))
    expected = ((images + 1) * 127.5).round().to(torch.uint8)
    with Image.open(max(run.samples.glob("step-*.png"))) as sheet:
        pixels = torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(20, 38, 3).permute(2, 0, 1)
    found = torch.stack([pixels[:, 2:18, 2:18], pixels[:, 2:18, 20:36]])
    assert (found.int() - expected.int()).abs().max() <= 1, "to the last bit of rounding"
    assert found.float().std() > 1


@pytest.mark.slow  # 4 s of processor time for its 4 cases
@pytest.mark.parametrize(
    ("every", "expected"), [("2", [0, 2, 4, 6, 8, 10]), ("epoch", [0, 5, 10]), ("7", [0, 7, 10]), ("10h", [0, 10])]
)
def test_samples_come_at_their_cadence_and_at_the_end(tmp_path: Path, every: str, expected: list[int]) -> None:
    run = made(tmp_path, "dcgan", sample_every=every)
    finish(run)
    assert [int(p.stem[5:]) for p in sorted(run.samples.glob("step-*.png"))] == expected


def test_a_cadence_of_seconds(tmp_path: Path) -> None:
    run = made(tmp_path, "dcgan", sample_every="0.001s")
    finish(run)
    assert len(list(run.samples.glob("step-*.png"))) > 3


def test_a_cadence_is_read_as_every_number_is() -> None:
    read = {word: tiny("dcgan", sample_every=word).cadence for word in ("1 000", "1e3", "1,000", ".5h", "1'000s")}
    assert read == {"1 000": (1000, None), "1e3": (1000, None), "1,000": (1000, None), ".5h": (None, 1800.0), "1'000s": (None, 1000.0)}  # fmt: skip


def test_a_cadence_that_is_none_is_refused() -> None:
    for wrong in ("often", "0", "-3", "2 parsecs"):
        with pytest.raises(UserError, match="--sample-every"):
            tiny("dcgan", sample_every=wrong)


def test_the_exported_generator_is_the_trained_one_and_says_how_it_is_built(tmp_path: Path) -> None:
    run = made(tmp_path, "began")
    finish(run)
    exported, whole = load_file(run.export("generator")), load_file(run.weights)
    assert all(torch.equal(value, whole[f"generator.{name}"]) for name, value in exported.items())
    about = read_json(run.folder / "generator.json")
    assert about is not None and about["net"] == "began" and about["arguments"]["image_size"] == 16


def test_shared_weights_are_counted_once(tmp_path: Path) -> None:
    run = made(tmp_path, "sabegan")
    result = finish(run)
    net = task_of(run.experiment()).modules["discriminator"]
    assert result["params"] == sum(p.numel() for p in net.parameters())


@pytest.mark.slow  # 7 s of processor time for its 3 cases
@pytest.mark.parametrize("case", ["dcgan", "began", "wgan-gp"])
def test_a_collapsed_generator_is_told_and_ends_the_run_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    from ganhpc.train.gan import collapse_detector

    monkeypatch.setattr(collapse_detector, "LEARNING_STEPS", 0)
    monkeypatch.setattr(collapse_detector, "LOW_DIVERSITY", 100.0)  # so that every generator counts as collapsed
    warned = made(tmp_path, case, epochs=4)
    finish(warned)
    assert "warning: the generator has collapsed: for 3 epochs" in capsys.readouterr().out
    stopped = made(tmp_path, case, epochs=4, stop_on_collapse=True)
    with pytest.raises(Failed, match=r"collapsed: for 3 epochs.*checkpoint of step \d+ is kept"):
        trainer_of(stopped).fit()
    assert [line["epoch"] for line in lines(stopped) if line["kind"] == "epoch"] == [0, 1, 2, 3], (
        "what was seen is logged"
    )


def test_a_set_of_another_size_is_refused_with_the_size_that_it_has() -> None:
    with pytest.raises(UserError, match=r"--image-size 16.*synthetic.*32x32.*--image-size 32"):
        task_of(tiny("began", data="synthetic"))


def test_one_rate_for_both_unless_each_has_its_own() -> None:
    experiment: Any = tiny("dcgan").replace(lr=0.02)
    assert (experiment.rate_g, experiment.rate_d) == (0.02, 0.02), (
        "--lr is meant for both, whatever the preset says of each"
    )
    experiment = tiny("dcgan", lr=0.02, lr_d=0.01)
    assert (experiment.rate_g, experiment.rate_d) == (0.02, 0.01)
    assert {k: o.param_groups[0]["lr"] for k, o in task_of(experiment).optimizers.items()} == {"g": 0.02, "d": 0.01}
    with pytest.raises(UserError, match="--lr-g"):
        tiny("wgan-gp", lr_g=0.0)


def test_a_batch_for_which_there_are_too_few_images_is_refused() -> None:
    with pytest.raises(UserError, match="--critic-steps 5"):
        task_of(tiny("wgan-gp", batch_size=20))


@pytest.mark.parametrize("case", ["dcgan", "wgan-gp"])
def test_augmentation_is_of_the_step_alone_and_moves_the_images(case: str) -> None:
    options: dict[str, Any] = {"data": "lines", "affine": (25.0, 1.25), "hue": 0.1}
    plain, turned, again = (task_of(tiny(case, **o)).batch(0, 1) for o in ({}, options, options))
    first, second, third = (batch[0] if case == "dcgan" else batch[0][1].images for batch in (plain, turned, again))
    assert torch.equal(second, third) and not torch.equal(first, second)
    assert second.abs().max() <= 1
    with pytest.raises(UserError, match=r"--affine 25,0\.5"):
        tiny(case, affine=(25.0, 0.5))


def test_a_folder_of_all_sorts_trains_and_says_what_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = torch.randint(0, 256, (30, 20, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for index, picture in enumerate(pixels):
        Image.fromarray(picture.numpy()).save(folder / f"{index}.png")
    Image.fromarray(pixels[0].numpy()).convert("L").save(folder / "grey.png")
    Image.new("RGB", (4000, 200), "red").save(folder / "huge.png")
    (folder / "broken.jpg").write_bytes((folder / "3.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a picture")
    run = made(tmp_path, "dcgan", data=str(folder), train_images=None, epochs=1)
    result = finish(run)
    assert result["state"] == "done" and "lines_valid" not in result and "valid" not in result
    assert "skipped: broken.jpg" in capsys.readouterr().out


class _Means:
    """Stands for a network that tells images apart: their mean colours."""

    frechet, kernel = "FD-means", "KD-means"

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3)) + images.float().std((2, 3))


def test_distances_are_measured_on_held_out_images_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(quality_measures.frechet, "efflite0", lambda *_: _Means())
    task = task_of(tiny("began", distance_images=60, measure_images=0))
    found = task.measures(1000.0)
    assert found["distance_images"] == 60 and set(found) == {
        "FD-means", "KD-means", "KD-means-deviation", "distance_images", "distances_of_training_images",
    }  # fmt: skip
    assert found["FD-means"] > 10 * found["distances_of_training_images"]["FD-means"], (
        "an untrained generator is far off"
    )
    assert task.measures(0.0) == {}
    assert "left out" in capsys.readouterr().out


def test_the_critic_is_never_compiled_since_its_gradient_is_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def remember(net: torch.nn.Module) -> torch.nn.Module:
        compiled.append(type(net).__name__)
        return net

    monkeypatch.setattr(compiling, "compiled", remember)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: name)
    for case, expected in (
        ("dcgan", ["W13Generator", "W13Discriminator"]),
        ("wgan-gp", ["Generator"]),
        ("strips", ["Generator"]),
    ):
        compiled.clear()
        task_of(tiny(case, compile="on"))
        assert compiled == expected
        compiled.clear()
        task_of(tiny(case))
        assert not compiled


@pytest.mark.slow
def test_a_run_of_two_processes_ends_like_one(tmp_path: Path) -> None:
    results = []
    for processes in (1, 2):
        run = made(tmp_path / str(processes), "began")
        done = train(run, processes)
        assert done.returncode == 0, done.stderr
        results.append(read_json(run.result_json) or {})
    one, two = results
    assert two["processes"] == 2 and two["lines_n"] == 20
    assert two["convergence"] == pytest.approx(one["convergence"], rel=1e-3)


def test_decay_lowers_the_rates_of_the_second_half_to_zero() -> None:
    task = task_of(tiny("wgan-gp", decay=True, lr_d=2e-3))
    found = [task.schedule(progress) for progress in (0.0, 0.5, 0.75, 1.0)]
    assert [rates["lr_g"] for rates in found] == pytest.approx([1e-3, 1e-3, 5e-4, 0.0])
    assert [rates["lr_d"] for rates in found] == pytest.approx([2e-3, 2e-3, 1e-3, 0.0])
    assert task_of(tiny("wgan-gp")).schedule(0.9)["lr_g"] == 1e-3
