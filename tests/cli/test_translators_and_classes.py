"""`cyclegan` and `biggan` from the command line: scans, nights, descriptions, pictures, and what is refused in a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganhpc.cli.commands.sample import sample
from ganhpc.core.errors import UserError
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from tests.cli.commands.test_night import plan
from tests.cli.commands.test_sample import draw
from tests.conftest import Launch
from tests.helpers import finish
from tests.train.tasks.tiny import made

COMMON = ("--train-images", "40", "--epochs", "1", "--device", "cpu", "--distance-images", "0", "--precision", "fp32")
TINY = {
    "cyclegan": ("cyclegan", "--preset", "small", *COMMON, "--image-size", "16", "--base-channels", "2", "--blocks", "1", "--patch-layers", "1"),
    "biggan": ("biggan", "--preset", "small", *COMMON, "--base-channels", "2", "--latent-dim", "8", "--shared", "4", "--batch-size", "8"),
}  # fmt: skip
SCANNED = {"cyclegan": ("lambda_cycle=1,10", "lambda_cycle"), "biggan": ("critic_steps=1,2", "critic_steps")}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_scan_runs_once_is_listed_and_reported(name: str, launch: Launch, tmp_path: Path) -> None:
    words, option = SCANNED[name]
    done = launch(*TINY[name], "--scan", words)
    assert done.returncode == 0, done.stderr
    rows = json.loads(launch("results", "--json").stdout)
    assert (
        len(rows) == 2 and {row["state"] for row in rows} == {"done"} and len({row["signature"] for row in rows}) == 2
    )
    trees = [json.loads((Path(tmp_path, "runs", name, row["run"], "experiment.json")).read_text()) for row in rows]
    assert len({tree[option] for tree in trees}) == 2
    again = launch(*TINY[name], "--scan", words)
    assert again.returncode == 0 and len(json.loads(launch("results", "--json").stdout)) == 2
    report = launch("report", f"runs/{name}", "--out", "page.html")
    assert report.returncode == 0, report.stderr
    assert option in (tmp_path / "page.html").read_text()


def test_a_night_takes_both(launch: Launch) -> None:
    tree = plan(launch, "cyclegan", "biggan", "--time", "2h", "--now", "2026-11-23T17:30:00")
    assert len({slot["run"] for slot in tree["slots"]}) == 2 and not tree["remaining"]


@pytest.mark.slow  # 21 s in all
@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (("cyclegan", "--preset", "small"), {"a2b": 272_515, "b2a": 272_515, "discriminator_a": 42_865, "discriminator_b": 42_865}),
        (("biggan", "--preset", "small"), {"generator": 290_499, "discriminator": 265_409}),
        (("biggan", "--preset", "small", "--data", "./made/", "--classes", "10"), {"generator": 290_499, "discriminator": 265_409}),
        (("biggan", "--preset", "small", "--data", "./made/", "--classes", "7"), {"generator": 290_403, "discriminator": 265_217}),
    ],
)  # fmt: skip
def test_describe_counts_the_networks(
    words: tuple[str, ...], counts: dict[str, int], launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    done = launch("describe", *words, "--json")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert {name: about["params"] for name, about in tree["modules"].items()} == counts
    assert tree["training_step"]["macs"] > 0 and not tree["notes"]


@pytest.mark.slow  # 2 s in all
def test_describe_asks_for_the_number_of_classes_of_a_folder(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    done = launch("describe", "biggan", "--preset", "small", "--data", "./made/")
    assert done.returncode == 2 and "give --classes" in done.stderr and "Traceback" not in done.stderr


# -- translations ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = made(tmp_path_factory.mktemp("translator"), "cyclegan", epochs=1)
    finish(run)
    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for k, name in enumerate(("a.png", "b.jpg", "more/a.png")):
        pixels = np.random.default_rng(k).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_a_folder_is_translated_one_picture_a_file(
    translator: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    out = tmp_path / "out"
    sample(str(translator.folder), 2, 3, None, None, 4, f"{out}/", None, "runs", input=str(photos), direction="b2a")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a.png", "b.png", "more-a.png"] and all(Image.open(out / name).size == (16, 16) for name in names)
    said = capsys.readouterr().out
    assert "3 translations by b2a" in said and "skipped: broken.png" in said


def test_a_sheet_has_source_translation_and_cycle(translator: Run, photos: Path, tmp_path: Path) -> None:
    sheet = draw(translator.folder, tmp_path / "sheet.png", input=str(photos / "a.png"))
    assert sheet.size == (3 * 18 + 2, 18 + 2), "one picture, three pictures wide"
    import torch

    parts = [sheet.crop((2 + 18 * k, 2, 18 + 18 * k, 18)) for k in range(3)]
    source = torch.tensor(np.asarray(parts[0])).permute(2, 0, 1)[None].float() / 127.5 - 1
    there = generator_io.draw(generator_io.load(translator, "a2b")[0], source)
    back = generator_io.draw(generator_io.load(translator, "b2a")[0], there * 2 - 1)
    for part, wanted in zip(parts[1:], (there, back), strict=True):
        levels = torch.tensor(np.asarray(part)).permute(2, 0, 1).float()
        assert float((levels - wanted[0] * 255).abs().max()) <= 1.01


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"input": "nowhere"}, "--input nowhere: there is no such picture"),
        ({"input": "EMPTY"}, "--input .* empty"),
        ({"input": "BROKEN"}, "--input .*broken.png"),
        ({"direction": "a2c", "input": "PHOTOS"}, "--network a2c: .*a2b"),
        ({"direction": "a2b"}, "--direction a2b needs the pictures to translate: add --input"),
        ({}, "translates pictures: give some with --input"),
        ({"network": "a2b", "direction": "b2a", "input": "PHOTOS"}, "name two generators"),
        ({"label": "3"}, "leave out --class and --truncation"),
    ],
)
def test_translations_that_cannot_be_are_refused(
    values: dict[str, str], sentence: str, translator: Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    places = {"EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "broken.png", "PHOTOS": photos}
    given = {key: str(places.get(value, value)) for key, value in values.items()}
    with pytest.raises(UserError, match=sentence):
        draw(translator.folder, tmp_path / "x.png", **given)
    assert not (tmp_path / "x.png").exists()


# -- bad data -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ("good", "empty", r"--data-b \S*empty: the folder is empty"),
        ("empty", "good", r"--data-a \S*empty: the folder is empty"),
        ("good", "corrupt", r"--data-b \S*corrupt: .*usable"),
        ("corrupt.zip", "good", r"--data-a \S*corrupt.zip.*zip"),
        ("good", "tiny", r"--data-b \S*tiny: .*tiny, 8 x 8 pixels"),
        ("good", "good", "are both .*good: a translation needs two sets"),
        ("good", "link", "are both .*good: a translation needs two sets"),
        ("good", "missing", r"--data-b \S*missing"),
    ],
)
def test_bad_sets_are_one_sentence_and_leave_nothing(
    a: str, b: str, sentence: str, launch: Launch, tmp_path: Path
) -> None:
    for name in ("good", "empty", "corrupt", "tiny"):
        (tmp_path / name).mkdir()
    for k in range(12):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "good" / f"{k}.png")
        Image.fromarray(pixels[:8, :8]).save(tmp_path / "tiny" / f"{k}.png")
        (tmp_path / "corrupt" / f"{k}.png").write_bytes((tmp_path / "good" / f"{k}.png").read_bytes()[:60])
    (tmp_path / "corrupt.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    words = [word for word in TINY["cyclegan"] if word not in ("--train-images", "40")]
    done = launch(*words, "--data-a", f"./{a}", "--data-b", f"./{b}", GANHPC_DATA=str(tmp_path / "cache"))
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = " ".join(done.stderr.split()).split("Error: ")[1:]
    assert re.search(sentence, line), line
    assert "Error" not in done.stdout
    assert not list((tmp_path / "runs").glob("*/*")), "a set that can't be used leaves no run"
