"""`sample`: from a run's folder alone, finished or not, old or new."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from ganhpc.cli.commands.sample import sample
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs.find_run import find_run
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from ganhpc.train.nets import wgan_gp
from ganhpc.train.nets.sdpc import Sdpc
from ganhpc.train.runtime import checkpoint
from tests.conftest import Launch
from tests.golden import generators
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = made(tmp_path_factory.mktemp("done"), "dcgan", sample_rows=2, sample_columns=3)
    finish(run)
    return run


def draw(run: object, out: Path, **values: object) -> Image.Image:
    options = {"rows": 2, "columns": 3, "seed": None, "interpolate": None, "frames": 4, "onnx": None, "runs": "runs"}
    sample(**{"run": str(run), "out": str(out), **options, **values})  # type: ignore[arg-type]
    return Image.open(out)


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_a_copied_folder_gives_the_pictures_of_the_training(done: Run, tmp_path: Path, launch: Launch) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    copy.mkdir(parents=True)
    for name in ("generator.safetensors", "experiment.json"):
        shutil.copy(done.folder / name, copy)
    finished = launch("sample", "elsewhere/copy", "--rows", "2", "--columns", "3", CUDA_VISIBLE_DEVICES="")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("copy-seed0.png: 2x3 pictures, seed 0, weights from generator.safetensors")
    drawn, trained = Image.open(tmp_path / "copy-seed0.png"), Image.open(max(done.samples.glob("step-*.png")))
    assert drawn.tobytes() == trained.tobytes()


def test_another_seed_gives_other_pictures_and_the_same_seed_the_same(done: Run, tmp_path: Path) -> None:
    first, second = draw(done.folder, tmp_path / "a.png", seed=5), draw(done.folder, tmp_path / "b.png", seed=6)
    again = draw(done.folder, tmp_path / "c.png", seed=5)
    assert first.tobytes() == again.tobytes() != second.tobytes()


def test_a_run_that_is_not_finished_gives_what_its_checkpoint_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, "began", checkpoint_every=0.001)
    with pytest.raises(UserError, match="has no generator"):
        draw(run.folder, tmp_path / "x.png")
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    draw(run.folder, tmp_path / "x.png")
    assert "a checkpoint: the run is not finished" in capsys.readouterr().out


def test_interpolation_goes_from_one_picture_to_another(done: Run, tmp_path: Path) -> None:
    for kind in ("linear", "slerp"):
        sheet = draw(done.folder, tmp_path / f"{kind}.png", rows=1, columns=7, interpolate=kind, seed=1)
        assert sheet.size == (2 + 7 * 18, 20)
    film = draw(done.folder, tmp_path / "film.gif", frames=5, seed=1)
    assert film.n_frames == 8, "five there, and three back"  # type: ignore[attr-defined]
    net, _ = generator_io.load(done)
    z = generator_io.latents(2, 6, 1)
    ends = generator_io.draw(net, torch.stack([generator_io.between(z[:1], z[1:], s, "slerp")[0] for s in (0.0, 1.0)]))
    torch.testing.assert_close(ends, generator_io.draw(net, z), rtol=1e-5, atol=1e-5)


def test_slerp_keeps_the_length_where_linear_shortens() -> None:
    start, end = generator_io.latents(2, 1000, 0).split(1)
    half = generator_io.between(start, end, 0.5, "slerp")
    assert half.norm() == pytest.approx(float(start.norm()), rel=0.05)
    assert generator_io.between(start, end, 0.5, "linear").norm() < 0.8 * start.norm()
    torch.testing.assert_close(generator_io.between(start, start, 0.3, "slerp"), start)


def test_a_run_is_found_by_its_name(done: Run) -> None:
    runs = done.folder.parents[1]
    for text in (done.name, f"dcgan/{done.name}", done.name[:10], str(done.folder)):
        assert find_run(text, runs).folder == done.folder
    with pytest.raises(UserError, match="there is no run 'xyz'"):
        find_run("xyz", runs)
    with pytest.raises(UserError, match="nor any other below"):
        find_run("xyz", runs / "empty")


def test_a_name_that_two_runs_share_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "dcgan"), made(tmp_path, "dcgan", seed=3)
    with pytest.raises(UserError, match="means 2 runs"):
        find_run("dcgan/", tmp_path / "runs")


@pytest.mark.parametrize(("out", "match"), [("x.jpg", r"\.png or \.gif"), ("nowhere/x.png", "no folder nowhere")])
def test_a_picture_that_cannot_be_written_is_refused(done: Run, out: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        sample(
            run=str(done.folder), rows=1, columns=1, seed=0, interpolate=None, frames=2, out=out, onnx=None, runs="runs"
        )


@pytest.mark.parametrize("name", sorted(generators.ARGUMENTS))
def test_generators_exported_by_earlier_versions_are_still_read(name: str) -> None:
    """Their pictures stay what they were, whatever becomes of the classes."""
    expected = load_file(generators.FOLDER / f"pictures-{name}.safetensors")["pictures"]
    torch.testing.assert_close(generators.pictures(name), expected, rtol=1e-4, atol=1e-5)


def test_a_file_that_is_not_whole_is_told(done: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    data = done.export("generator").read_bytes()
    run.export("generator").write_bytes(data[:-50])
    with pytest.raises(UserError, match="not a whole exported generator"):
        generator_io.load(run)


def test_a_generator_of_a_later_version_is_told() -> None:
    with pytest.raises(UserError, match=r"'biggan' in format 9.*use the version that made it"):
        generator_io.build({"format": 9, "net": "biggan", "arguments": {}}, Path("generator.json"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["dcgan", "strips"])
def test_onnx_makes_the_same_pictures(case: str, done: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    run = done
    if case != "dcgan":
        run = made(tmp_path, case)
        finish(run)
    draw(run.folder, tmp_path / "a.png", onnx=str(tmp_path / "g.onnx"))
    net, _ = generator_io.load(run)
    z = generator_io.latents(5, 6, 0)
    session = runtime.InferenceSession(str(tmp_path / "g.onnx"), providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {"z": z.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(images), net(z), rtol=1e-3, atol=1e-4)


SMALL = {"image_size": 32, "channels": 3, "base_channels": 8, "depth": 4, "latent_dim": 16}


@pytest.mark.parametrize(
    "about",
    [
        [1], "x", {}, {"net": []}, {"arguments": []}, {"arguments": None}, {"net": "began", "arguments": {}}, {"arguments": {**SMALL, "depth": 10**9}},
        {"arguments": {**SMALL, "base_channels": 60_000}}, {"arguments": {**SMALL, "image_size": 2**16}}, {"arguments": {**SMALL, "latent_dim": -1}},
        {"arguments": {**SMALL, "base_channels": "8"}}, {"arguments": {**SMALL, "base_channels": 16}}, {"arguments": {**SMALL, "unheard": 1}}, {"format": [1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_foreign_generator_is_a_sentence(about: object, tmp_path: Path) -> None:
    """In an exported file, and beside a checkpoint: nothing of its size is built, and nothing raises but a UserError."""
    net = wgan_gp.Generator(**SMALL)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    good = generator_io.definition("wgan-gp", SMALL)
    wrong = {**good, **about} if isinstance(about, dict) and about else about
    run = Run(tmp_path)
    run.export("generator").write_bytes(save(weights, metadata={"definition": json.dumps(wrong)}))
    with pytest.raises(UserError):
        generator_io.load(run)
    run.export("generator").unlink()
    run.checkpoints.mkdir()
    write_json(run.export("generator").with_suffix(".json"), wrong)
    checkpoint.save(run.checkpoints, 1, {"modules": {"generator": weights}})
    with pytest.raises(UserError):
        generator_io.load(run)


def test_the_checkpoint_before_one_of_another_network_is_drawn_from(tmp_path: Path) -> None:
    net, run = wgan_gp.Generator(**SMALL), Run(tmp_path)
    run.checkpoints.mkdir()
    write_json(run.export("generator").with_suffix(".json"), generator_io.definition("wgan-gp", SMALL))
    for step, modules in ((2, {"generator": {"x": torch.zeros(1)}}), (4, {}), (6, [])):
        checkpoint.save(run.checkpoints, step, {"modules": {"generator": net.state_dict()}})
        checkpoint.save(run.checkpoints, step + 1, {"modules": modules})
        found, _ = generator_io.load(run)
        for name, value in found.state_dict().items():
            assert torch.equal(value, net.state_dict()[name])


@pytest.mark.parametrize("share", [1, 1000])
def test_weights_that_are_no_numbers_draw_nothing(tmp_path: Path, share: int) -> None:
    """They would make pictures that are black, and look like a generator's. One such number is enough."""
    net, run = wgan_gp.Generator(**SMALL), Run(tmp_path)
    whole = {name: value.contiguous() for name, value in net.state_dict().items()}
    name = next(name for name, value in whole.items() if value.is_floating_point() and value.numel() > 1)
    wrong = {**whole, name: whole[name].clone()}
    wrong[name].view(-1)[::share] = math.nan
    about = generator_io.definition("wgan-gp", SMALL)
    run.export("generator").write_bytes(save(wrong, metadata={"definition": json.dumps(about)}))
    with pytest.raises(UserError, match=r"not a whole exported generator \(.*not all numbers"):
        generator_io.load(run)
    run.export("generator").unlink()
    run.checkpoints.mkdir()
    write_json(run.export("generator").with_suffix(".json"), about)
    checkpoint.save(run.checkpoints, 1, {"modules": {"generator": whole}})
    checkpoint.save(run.checkpoints, 2, {"modules": {"generator": wrong}})
    found, _ = generator_io.load(run)
    assert torch.equal(found.state_dict()[name], whole[name]), "of the checkpoint before"


# -- classes, truncation, translations ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = made(tmp_path_factory.mktemp("classes"), "biggan-shared", epochs=1)
    finish(run)
    return run


def pictures(sheet: Image.Image, side: int = 32) -> list[list[bytes]]:
    """The pictures of a sheet, row by row."""
    across, down = ((length - 2) // (side + 2) for length in sheet.size)
    boxes = [[(2 + (side + 2) * c, 2 + (side + 2) * r) for c in range(across)] for r in range(down)]
    return [[sheet.crop((x, y, x + side, y + side)).tobytes() for x, y in row] for row in boxes]


def assert_like(drawn: list[bytes], images: torch.Tensor) -> None:
    """To within a level: batches of other sizes are rounded otherwise."""
    for picture, image in zip(drawn, images, strict=True):
        levels = torch.frombuffer(bytearray(picture), dtype=torch.uint8).view(*image.shape[1:], 3).permute(2, 0, 1)
        assert float((levels.float() - image * 255).abs().max()) <= 1.01


@pytest.mark.slow  # 4 s in all
def test_a_grid_has_a_class_a_row_with_the_same_vectors(
    classes: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = pictures(draw(classes.folder, tmp_path / "all.png", rows=None))
    assert len(every) == 10 and "10x3 pictures, a class a row" in capsys.readouterr().out
    assert len({tuple(row) for row in every}) == 10
    net, _ = generator_io.load(classes)
    z = generator_io.latents(3, int(net.latent_dim), 0)  # type: ignore[arg-type]
    assert_like(every[7], generator_io.draw(net, z, y=torch.full((3,), 7)))


def test_one_class_by_number_or_name_and_truncated(
    classes: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_number = draw(classes.folder, tmp_path / "a.png", label="3")
    by_name = draw(classes.folder, tmp_path / "b.png", label="grating-3", truncation=100.0)
    assert by_number.tobytes() == by_name.tobytes()
    assert len({each for row in pictures(by_number) for each in row}) == 6
    cut = draw(classes.folder, tmp_path / "c.png", label="3", truncation=0.5)
    assert cut.tobytes() != by_number.tobytes() and "of grating-3, truncation 0.5" in capsys.readouterr().out
    plain = draw(classes.folder, tmp_path / "d.png", label="3", rows=None)
    assert len(pictures(plain)) == 5


def test_ways_within_a_class_and_across_two(classes: Run, tmp_path: Path) -> None:
    across = pictures(draw(classes.folder, tmp_path / "a.png", label="3:7", columns=3))
    net, _ = generator_io.load(classes)
    start = generator_io.latents(4, int(net.latent_dim), 0)[:2]  # type: ignore[arg-type]
    for column, y in ((0, 3), (2, 7)):
        assert_like([row[column] for row in across], generator_io.draw(net, start, y=torch.full((2,), y)))
    assert across[0][1] not in (across[0][0], across[0][2])
    within = pictures(draw(classes.folder, tmp_path / "b.png", label="3", interpolate="slerp"))
    assert within[0][0] == across[0][0] and within[0][2] != across[0][2]
    film = draw(classes.folder, tmp_path / "c.gif", label="3:7")
    assert film.n_frames == 6, "four there, and back"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"label": "10"}, "--class 10: this run has classes 0 to 9"),
        ({"label": "gratin-3"}, "--class gratin-3: .*grating-3"),
        ({"label": "3:99"}, "--class 99"),
        ({"label": ""}, "--class : "),
    ],
)
def test_a_class_that_is_not_there_is_refused(
    classes: Run, tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        draw(classes.folder, tmp_path / "a.png", **values)


def test_classes_belong_to_gans_that_have_them(done: Run, tmp_path: Path, launch: Launch, classes: Run) -> None:
    with pytest.raises(UserError, match=r"--class 3: .* draws without classes: leave it out"):
        draw(done.folder, tmp_path / "a.png", label="3")
    cut = draw(done.folder, tmp_path / "b.png", truncation=0.1)
    assert cut.tobytes() != draw(done.folder, tmp_path / "c.png").tobytes(), "any latent vectors can be cut"
    with pytest.raises(UserError, match="leave one of the two out"):
        draw(done.folder, tmp_path / "d.png", label="3", direction="a2b")
    with pytest.raises(UserError, match="leave out --input and --direction"):
        draw(done.folder, tmp_path / "d.png", direction="generator")
    typed = launch("sample", str(classes.folder), "--class", "2", "--truncation", "0,01")
    assert typed.returncode == 2 and "truncation" in typed.stderr and "Traceback" not in typed.stderr


@pytest.mark.slow  # 2 s in all
def test_the_average_of_a_run_that_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, "biggan", checkpoint_every=0.001)
    kill_at(monkeypatch, 3)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    sheet = draw(run.folder, tmp_path / "a.png", label="1")
    assert sheet.size == (3 * 34 + 2, 2 * 34 + 2) and "not finished" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("case", "inputs"), [("biggan-shared", ["z", "y"]), ("cyclegan", ["source"])])
def test_onnx_of_classes_and_of_translators(tmp_path: Path, case: str, inputs: list[str], classes: Run) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if case == "cyclegan":
        run = made(tmp_path, case, epochs=1)
        finish(run)
        networks = ["a2b", "b2a"]
    else:
        run, networks = classes, ["average"]
    for name in networks:
        file = tmp_path / f"{name}.onnx"
        net, _ = generator_io.load(run, name)
        sample(str(run.folder), 1, 1, None, None, 4, str(tmp_path / "x.png"), str(file), "runs", network=name)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        assert [each.name for each in session.get_inputs()] == inputs
        for n in (1, 5):
            given = [torch.randn(n, *generator_io.example(net).shape[1:]).clamp(-1, 1)]
            given += [torch.arange(n) % 10] * (len(inputs) - 1)
            (found,) = session.run(None, {key: value.numpy() for key, value in zip(inputs, given, strict=True)})
            with torch.no_grad():
                torch.testing.assert_close(torch.from_numpy(found), net(*given), rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("arguments", [{"threshold": "x"}, {"threshold": [1]}, {"iterations": 10**5}, {"iterations": "4"}, {"feedback": "1"}, {"penalties": ["a", "b"]}, {"preparation": {"contrast": "x"}}], ids=str)  # fmt: skip
def test_arguments_that_show_only_when_an_image_is_drawn(arguments: dict[str, object], tmp_path: Path) -> None:
    """An inference whose bounds are no numbers, or that would go on for hours."""
    small: dict[str, object] = {"image_size": 16, "atoms": [6, 8]}
    weights = {name: value.contiguous() for name, value in Sdpc(**small).state_dict().items()}  # type: ignore[arg-type]
    about = generator_io.definition("sdpc", small)
    path = tmp_path / "sdpc.safetensors"
    path.write_bytes(save(weights, metadata={"definition": json.dumps(about)}))
    assert isinstance(generator_io.load_file_of(path), Sdpc)
    path.write_bytes(save(weights, metadata={"definition": json.dumps({**about, "arguments": {**small, **arguments}})}))
    with pytest.raises(UserError, match=r"sdpc\.safetensors (is not a whole|does not describe)"):
        generator_io.load_file_of(path)
