"""Runs on the user's own pictures, as typed: one set by any name, changed pictures refused by every command, and by a job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.datasets import held_data, picture_list
from tests.datasets.test_held_data import add_one, faces, replace_two
from tests.train.data.test_image_folder import encoded, picture

TINY = [
    "--image-size",
    "32",
    "--base-channels",
    "8",
    "--batch-size",
    "8",
    "--epochs",
    "1",
    "--on",
    "local",
    "--device",
    "cpu",
]


@pytest.fixture
def typed(tmp_path):
    """Type a command in the folder `where`; returns (exit code, all that it said)."""

    def run(*words: str, where: str = ".", **more: str) -> tuple[int, str]:
        env = {
            **os.environ,
            "GANHPC_DATA": str(tmp_path / "kept"),
            "GANHPC_RUNS": str(tmp_path / "runs"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        launcher = Path(__file__).resolve().parents[2] / "launch.py"
        done = subprocess.run(
            [sys.executable, str(launcher), *words], cwd=tmp_path / where, env=env | more, capture_output=True, text=True, timeout=200, errors="replace",
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "runs/dcgan").iterdir())


@pytest.mark.slow  # 9 s of processor time: processes of its own
def test_the_same_words_elsewhere_are_another_run_and_changed_pictures_are_refused(typed, tmp_path):
    for name, first in (("x", 0), ("y", 100)):
        faces(tmp_path / name / os.fsdecode(b"fac\xe9s"), first, 12)
    word = os.fsdecode(b"./fac\xe9s")
    code, said = typed("dcgan", "--data", word, *TINY, where="x")
    assert code == 0, said
    (first,) = folders(tmp_path)
    result = json.loads((first / "result.json").read_text())
    assert result["data"] == str(tmp_path / "x" / os.fsdecode(b"fac\xe9s"))
    code, said = typed("dcgan", "--data", word, *TINY, "--dry-run", "--json", where="y")
    assert (code, json.loads(said)["runs"][0]["state"]) == (0, "new")
    for same in (word[2:] + "/", str(tmp_path / "y/.." / "x" / word)):
        code, said = typed("dcgan", "--data", same, *TINY, where="x")
        assert code == 0
        assert "already done" in said
    assert folders(tmp_path) == [first]
    report = typed("report", first.name, "--out", "r.html")
    assert report[0] == 0, report[1]
    replace_two(tmp_path / "x" / word)
    for words in (["dcgan", "--data", word, *TINY], ["dcgan", "--data", word, *TINY, "--dry-run"], ["dcgan", "--data", word, *TINY, "--scan", "flip=random"],
                  ["resume", first.name, "--on", "local"]):  # fmt: skip
        code, said = typed(*words, where="x")
        assert code == 2, said
        assert "of 12, 2 replaced (first: 03.png)" in said
        assert "--new" in said
        assert "Traceback" not in said


def test_a_folder_in_other_capitals_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "Éte" / "Faces"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for word in ("./éte/faces", "./e\u0301te/Faces", str(tmp_path / "Éte" / "FACES")):
        with pytest.raises(UserError, match=r"no such folder or zip; did you mean (\S*/)?Éte/Faces\?$"):
            held_data.require({"data": word}, {})
        with pytest.raises(UserError, match=r"--input .*did you mean (\S*/)?Éte/Faces\?$"):
            picture_list.pictures(word, 16, 4)
    monkeypatch.chdir(tmp_path / "Éte")
    with pytest.raises(UserError, match=r"neither a data set nor a folder or zip of images: did you mean Faces\?$"):
        held_data.require({"data": "faces"}, {})
    with pytest.raises(UserError, match="no such folder or zip; check the path"):
        held_data.require({"data": "./fates"}, {})


@pytest.mark.slow  # a second of processor time: processes of its own
@pytest.mark.parametrize("more", [[], ["--seeds", "2"], ["--scan", "flip=random"], ["--dry-run"]])
def test_pictures_that_are_not_there_leave_no_run_behind(typed, tmp_path, more):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no picture")
    (tmp_path / "tiny").mkdir()
    for number in range(300):
        (tmp_path / "tiny" / f"{number}.png").write_bytes(encoded(picture(number, (9, 9))))
    for word, words in (
        ("./typo", "there is no such folder or zip"),
        ("typo", "is neither a data set nor a folder or zip of images"),
        ("notes", "its one file is no image"),
        ("tiny", "it has 0 usable images"),
    ):
        code, said = typed("dcgan", "--data", word, *TINY, *more)
        assert code == 2, said
        assert words in said
        assert "Traceback" not in said
        assert not [path for path in (tmp_path / "runs").glob("dcgan/*") if path.is_dir()], (word, more)


@pytest.mark.slow  # 3 s of processor time: processes of its own
def test_describe_names_a_folder_of_any_bytes(typed, tmp_path):
    word = os.fsdecode(b"./caf\xe9")
    (tmp_path / word).mkdir()
    code, said = typed("describe", "cifar", "--data", word)
    assert code == 2, said
    assert f"--data {printable(tmp_path / word)} is not known here: give --image-size" in said


def begun(tmp_path: Path, word: str, where: Path) -> Path:
    """A run as a launch leaves it when it has submitted a job."""
    code = (
        "import sys, pathlib\nfrom ganhpc.runs.run_folder import Run\nfrom ganhpc.datasets import held_data\nfrom jobs.dcgan import Dcgan\n"
        "e = Dcgan().replace(data=sys.argv[1], image_size=32, base_channels=8, batch_size=8, time=None, epochs=1, device='cpu')\n"
        f"run = Run.open(pathlib.Path({str(tmp_path / 'runs')!r}), e)\nheld_data.hold(run.folder, e.definition)\nprint(run.folder)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "GANHPC_DATA": str(tmp_path / "kept")}
    done = subprocess.run(
        [sys.executable, "-c", code, word], cwd=where, env=env, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


@pytest.mark.slow  # 3 s of processor time: processes of its own
@pytest.mark.parametrize("change", [add_one, shutil.rmtree])
def test_a_job_refuses_pictures_that_changed_after_it_was_submitted(tmp_path, change):
    folder = faces(tmp_path / "few")
    run = begun(tmp_path, "few", tmp_path)
    change(folder)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "GANHPC_DATA": str(tmp_path / "kept")}
    words = [sys.executable, "-m", "ganhpc.node", str(run), "--walltime", "120"]
    done = subprocess.run(words, cwd="/", env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "refused"
    words = "of 10, 1 added (first: new.png)" if change is add_one else "there is no such folder or zip any more"
    assert words in status["reason"]
    assert words in done.stderr + done.stdout + ((run / "log.txt").read_text() if (run / "log.txt").exists() else "")
    assert not (run / "result.json").exists()


@pytest.mark.slow  # 7 s of processor time: processes of its own
def test_moved_pictures_are_trained_on_where_they_are_now(typed, tmp_path):
    faces(tmp_path / "few", n=12)
    run = begun(tmp_path, "few", tmp_path)
    (tmp_path / "few").rename(tmp_path / "moved")
    code, said = typed("dcgan", "--data", "moved", *TINY)
    assert code == 0, said
    assert "the same pictures as in" in said
    assert folders(tmp_path) == [run]
    assert (run / "result.json").exists()
