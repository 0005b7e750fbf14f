"""What a data set is: one folder by any of its names, and a run that is held to the pictures it began with."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.datasets import folder_index, held_data, image_folder
from ganhpc.datasets.data_path import denoted
from ganhpc.datasets.folder_index import find, fingerprint_of
from ganhpc.runs.experiment import options
from ganhpc.runs.run_folder import Run
from jobs.dcgan import Dcgan
from tests.train.data.test_image_folder import encoded, make, picture


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def faces(folder: Path, first: int = 0, n: int = 10) -> Path:
    folder.mkdir(parents=True)
    for i in range(n):
        (folder / f"{i:02}.png").write_bytes(encoded(picture(first + i)))
    return folder


def launched(runs: Path, word: str, **values) -> Run:
    """The run that a launch with --data `word` finds or makes, held to its pictures."""
    experiment = Dcgan().replace(data=word, **values)
    run = Run.open(runs, experiment)
    held_data.hold(run.folder, experiment.definition, finished=run.result_json.exists())
    return run


def test_every_name_of_a_folder_is_one_run_and_the_same_word_elsewhere_another(here, monkeypatch):
    faces(here / "x/few")
    faces(here / "y/few", 100)
    (here / "link").symlink_to(here / "x/few")
    monkeypatch.chdir(here / "x")
    names = ["few", "./few", "few/", "../x/few", str(here / "x/few") + "//", "../link"]
    runs = {launched(here / "runs", name) for name in names}
    assert len(runs) == 1
    monkeypatch.chdir(here / "y")
    other = launched(here / "runs", "few")
    assert other not in runs
    assert held_data.place(other.folder, other.experiment().data) == str(here / "y/few")
    monkeypatch.chdir(here)
    assert held_data.place(other.folder, other.experiment().data) == str(here / "y/few")


def test_a_folder_whose_name_ends_with_a_space_is_not_its_neighbour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (data,) = (each for each in options(Dcgan) if each.name == "data")
    (tmp_path / "few").mkdir()
    assert {data.parse(word) for word in ("few", " few", "./few ", "few\n")} == {str(tmp_path / "few")}
    (tmp_path / "few ").mkdir()
    assert {data.parse(word) for word in ("few ", "./few ", "few /")} == {str(tmp_path / "few ")}
    assert data.parse(" few") == str(tmp_path / "few")


def test_a_set_keeps_its_name_and_a_folder_called_so_needs_a_slash(here):
    faces(here / "lines")
    assert Dcgan().replace(data="lines").data == "lines"
    assert Dcgan().replace(data="./lines").data == str(here / "lines")
    assert denoted("nothing-here") == "nothing-here"
    for empty in ("", "  "):
        with pytest.raises(UserError, match="names nothing"):
            denoted(empty)
    (here / "a").symlink_to(here / "b")
    (here / "b").symlink_to(here / "a")
    with pytest.raises(UserError, match="can't be followed"):
        denoted("./a")


def replace_two(folder):
    for i in (3, 4):
        (folder / f"{i:02}.png").write_bytes(encoded(picture(50 + i)))


def add_one(folder):
    (folder / "new.png").write_bytes(encoded(picture(60)))


def remove_three(folder):
    for i in range(3):
        (folder / f"{i:02}.png").unlink()


def exchange(folder):
    (folder / "00.png").rename(folder / "x")
    (folder / "01.png").rename(folder / "00.png")
    (folder / "x").rename(folder / "01.png")


def convert(folder):
    for i in range(4):
        Image.open(folder / f"{i:02}.png").save(folder / f"{i:02}.webp", lossless=True)
        (folder / f"{i:02}.png").unlink()


def in_place(folder):
    """The same size and the same time of the last change."""
    path = folder / "00.png"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def all_gone(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replace_two, "of 10, 2 replaced (first: 03.png)"),
        (add_one, "of 10, 1 added (first: new.png)"),
        (remove_three, "of 10, 3 removed (first: 00.png)"),
        (exchange, "of 10, 2 renamed or exchanged (first: 00.png)"),
        (convert, "of 10, 4 converted to another format (first: 00.webp)"),
        (in_place, "of 10, 1 replaced (first: 00.png)"),
        (all_gone, "of 10, 10 removed (first: 00.png)"),
    ],
)
def test_changed_pictures_are_refused_with_what_differs(here, change, words, finished):
    folder = faces(here / "few")
    run = launched(here / "runs", "few")
    if finished:
        write_json(run.result_json, {})
    time.sleep(0.15)  # times are trusted a moment after the last change
    assert launched(here / "runs", "few") == run
    change(folder)
    with pytest.raises(held_data.DataChanged) as refused:
        launched(here / "runs", "few")
    assert words in str(refused.value)
    assert "--new" in str(refused.value)
    assert "Put the earlier ones back" in str(refused.value)


def test_put_back_it_goes_on(here):
    folder = faces(here / "few")
    run = launched(here / "runs", "few")
    shutil.copytree(folder, here / "safe")
    replace_two(folder)
    with pytest.raises(held_data.DataChanged):
        launched(here / "runs", "few")
    shutil.rmtree(folder)
    shutil.copytree(here / "safe", folder)  # other times and inodes, the same contents
    assert launched(here / "runs", "few") == run


def test_new_is_held_to_what_is_there_now_and_both_are_found_again(here):
    folder = faces(here / "few")
    first = launched(here / "runs", "few")
    shutil.copytree(folder, here / "safe")
    replace_two(folder)
    experiment = Dcgan().replace(data="few")
    second = Run.open(here / "runs", experiment, new=True)
    held_data.hold(second.folder, experiment.definition)
    assert second.folder.name == first.folder.name + "-2"
    assert launched(here / "runs", "few") == second
    shutil.rmtree(folder)
    shutil.copytree(here / "safe", folder)
    assert launched(here / "runs", "few") == first


def test_moved_and_copied_pictures_are_known_again(here):
    faces(here / "few")
    run = launched(here / "runs", "few")
    shutil.copytree(here / "few", here / "copy")
    assert launched(here / "runs", "copy") == run
    assert held_data.place(run.folder, run.experiment().data) == str(here / "few")
    (here / "few").rename(here / "moved")
    assert launched(here / "runs", "moved") == run
    assert held_data.place(run.folder, run.experiment().data) == str(here / "moved")
    assert launched(here / "runs", "moved", lr=0.5) != run
    add_one(here / "moved")
    assert launched(here / "runs", "moved") != run, "other pictures in a new place are another run"


def test_gone_pictures_are_a_sentence_until_the_run_is_done(here):
    faces(here / "few")
    run = launched(here / "runs", "few")
    shutil.rmtree(here / "few")
    definition = run.experiment().definition
    with pytest.raises(UserError, match=r"began with it. Put it back; or type .* --data and the new place"):
        held_data.hold(run.folder, definition)
    assert "were not compared" in held_data.hold(run.folder, definition, finished=True)


def test_a_zip_is_held_to_its_members(here):
    path = make(here, "zip", {f"{i}.png": encoded(picture(i)) for i in range(5)})
    run = launched(here / "runs", str(path))
    make(here, "zip", {f"{i}.png": encoded(picture(i + (i == 2) * 50)) for i in range(5)})
    with pytest.raises(held_data.DataChanged, match=r"of 5, 1 replaced \(first: 2.png\)"):
        launched(here / "runs", str(path))
    make(here, "zip", {f"{i}.png": encoded(picture(i)) for i in range(5)})
    assert launched(here / "runs", str(path)) == run


def old_run(runs: Path, word: str) -> Run:
    """A run as older versions left it: its words as they were typed, no record."""
    return Run.open(runs, dataclasses.replace(Dcgan(), data=word))


@pytest.mark.parametrize("word", ["few", "./few", "few/", "ABSOLUTE", "ABSOLUTE/"])
def test_runs_of_older_versions_keep_their_signatures_and_are_found(here, word):
    faces(here / "few")
    run = old_run(here / "runs", word.replace("ABSOLUTE", str(here / "few")))
    (run.folder / "status.json").write_text('{"state": "resumable"}')
    experiment = Dcgan().replace(data="few")
    assert Run.open(here / "runs", experiment) == run
    assert "kept no record" in held_data.hold(run.folder, experiment.definition)
    replace_two(here / "few")
    with pytest.raises(held_data.DataChanged, match="2 replaced"):
        launched(here / "runs", "few")


def test_an_older_run_s_relative_words_mean_the_folder_beside_its_runs(here, monkeypatch):
    faces(here / "x/few")
    faces(here / "y/few", 100)
    run = old_run(here / "x/runs", "few")
    monkeypatch.chdir(here / "y")
    assert held_data.place(run.folder, "few") == str(here / "x/few")
    assert launched(here / "x/runs", "few") != run, "from y these are other pictures"


def test_what_is_known_is_not_read_again(here, monkeypatch):
    folder = faces(here / "few", n=30)
    time.sleep(0.15)
    first = find(folder)
    real, read = image_folder.open_regular, []

    def opened(path, *rest, **named):
        read.append(str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(image_folder, "open_regular", opened)
    again = find(folder)
    assert fingerprint_of(again) == fingerprint_of(first)
    assert not [path for path in read if path.endswith(".png")]
    os.utime(folder / "07.png")
    time.sleep(0.15)
    assert fingerprint_of(find(folder)) == fingerprint_of(first), "touched, not changed"
    assert [Path(path).name for path in read if path.endswith(".png")] == ["07.png", "07.png"]


def test_long_reading_shows_how_far_it_is(here, monkeypatch, caplog):
    for name, seconds in (("_SLOW", 0.0), ("_TELL_SECONDS", 0.0)):
        monkeypatch.setattr(folder_index, name, seconds)
    path = make(here, "zip", {f"{k}.txt": b"%d" % k for k in range(600)} | {"a.png": encoded(picture(0))})
    folder_index.listed(path).close()
    told = [line.partition(" of 601")[0].rpartition(": ")[2] for line in caplog.messages]
    assert told == ["256", "512"], caplog.messages


def test_a_damaged_or_lost_memory_only_costs_time(here):
    folder = faces(here / "few")
    time.sleep(0.15)
    first = fingerprint_of(find(folder))
    (place,) = (here / "kept/contents").iterdir()
    for data in (
        b"",
        b"\x1f\x8bxx",
        gzip.compress(b"[1]"),
        gzip.compress(json.dumps({"format": 1, "files": {"a": 3}}).encode()),
    ):
        place.write_bytes(data)
        assert fingerprint_of(find(folder)) == first
    (here / "kept/contents").chmod(0o500)
    place.unlink() if os.access(here / "kept/contents", os.W_OK) else None
    assert fingerprint_of(find(folder)) == first


def test_a_lost_list_still_refuses_with_the_totals(here):
    folder = faces(here / "few")
    run = launched(here / "runs", "few")
    (run.folder / "data-files.gz").unlink()
    add_one(folder)
    with pytest.raises(held_data.DataChanged, match="of 10, 10 pictures then, 11 now"):
        launched(here / "runs", "few")


def test_the_launcher_s_side_imports_neither_torch_nor_numpy_nor_pillow(here):
    faces(here / "few")
    code = (
        "import sys, pathlib\nfrom ganhpc.runs.run_folder import Run\nfrom ganhpc.datasets import held_data\nfrom jobs.dcgan import Dcgan\n"
        "e = Dcgan().replace(data='few')\nrun = Run.open(pathlib.Path('runs'), e)\nheld_data.hold(run.folder, e.definition)\n"
        "print({'torch', 'numpy', 'PIL'} & set(sys.modules), held_data.record_of(run.folder)['pictures'])"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.stdout == "set() 10\n", done.stderr


@pytest.mark.slow  # 3 s of processor time: it computes
def test_many_pictures_are_known_again_quickly(here):
    folder = here / "many"
    folder.mkdir()
    data = encoded(picture(0, (16, 16)))
    for i in range(20_000):
        with (folder / f"{i}.png").open("wb") as file:
            file.write(data + b"%d" % i)
    time.sleep(0.15)
    find(folder)
    began = time.process_time()
    assert len(find(folder).items) == 20_000
    assert time.process_time() - began < 5


def test_difference_counts_each_picture_once():
    before = {"a.jpg": "1", "b.jpg": "2", "c.jpg": "3", "d.jpg": "4", "e.jpg": "5"}
    now = {"a.jpg": "2", "b.jpg": "1", "c.png": "9", "d.jpg": "8", "f.jpg": "7"}
    found = held_data.difference(before, now)
    assert found.renamed == ("a.jpg", "b.jpg")
    assert found.converted == ("c.png",)
    assert found.replaced == ("d.jpg",)
    assert (found.added, found.removed) == (("f.jpg",), ("e.jpg",))
    assert str(held_data.difference(before, before)) == ""
    twice = held_data.difference({"x.jpg": "1"}, {"x.png": "2", "x.webp": "3"})
    assert (twice.converted, twice.added, twice.removed) == (("x.png",), ("x.webp",), ())
    assert folder_index.fingerprint(before.items()) != folder_index.fingerprint(now.items())


def test_second_set_that_is_not_there_is_refused_by_its_own_option(tmp_path: Path) -> None:
    held_data.require({"data": "lines", "data_b": "negatives"}, {})
    for word in (str(tmp_path / "none"), "negative"):
        with pytest.raises(UserError, match=r"^--data-b "):
            held_data.require({"data": "lines", "data_b": word}, {})
    with pytest.raises(UserError, match=r"^--data-a "):
        held_data.require({"data": "line", "data_b": "negatives"}, {})


def test_sizes_that_a_named_set_does_not_have_are_refused_before_anything_is_submitted() -> None:
    """A job would wait for hours to be refused."""
    for word in ("synthetic", "cifar10"):
        held_data.require({"data": word, "image_size": 32, "image_width": 32}, {})
        with pytest.raises(UserError, match=f"--data {word} has images of 32x32 pixels alone.*type --image-size 32"):
            held_data.require({"data": word, "image_size": 64}, {})
    with pytest.raises(UserError, match="--data-b synthetic has images of 32x32 pixels alone"):
        held_data.require({"data": "lines", "data_b": "synthetic", "image_size": 64}, {})
    held_data.require({"data": "lines", "image_size": 64}, {})
    with pytest.raises(UserError, match="--data lines has square images, and --image-width is 171"):
        held_data.require({"data": "lines", "image_size": 120, "image_width": 171}, {})


def test_samples_that_an_older_version_took_for_pictures_are_said_to_lie_there_still(here):
    """The run can't be gone on with, and there is nothing to put back."""
    folder = faces(here / "few")
    samples = folder / "runs" / "dcgan" / "x-1" / "samples"
    samples.mkdir(parents=True)
    (samples / "step-1.png").write_bytes(encoded(picture(50)))
    (samples.parent / "experiment.json").write_text("{}")
    launched(here / "runs", "few")
    for name in ("data.json", "status.json"):  # by these the folder is known for a run
        (samples.parent / name).write_text("{}")
    with pytest.raises(UserError) as caught:
        launched(here / "runs", "few")
    said = str(caught.value)
    assert "of 11, 1 removed (first: runs/dcgan/x-1/samples/step-1.png) (1 of these lie there still, " in said
    assert f"python launch.py data {folder}` says why)" in said and "--new" in said
    shutil.rmtree(samples)
    with pytest.raises(UserError, match=r"1 removed \(first: \S+\)\. Put the earlier ones back"):
        launched(here / "runs", "few")
