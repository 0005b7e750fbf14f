"""`new`: what it writes runs and passes its test as written, in the checkout and in a folder of the user's own; nothing is overwritten."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ganhpc.cli.commands import new
from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import from_typed
from ganhpc.train.tasks.task import module_of
from tests.conftest import Launch


def written(*words: str) -> str:
    done = CliRunner().invoke(new.command, words, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def passes(test: Path, checkout: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "GANHPC_JOBS"} | {"PYTHONPATH": str(checkout)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error::pytest.PytestWarning",
        str(test),
    ]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow  # 12 s of processor time each: trainings
@pytest.mark.parametrize("kind", new.KINDS)
def test_in_a_folder_of_ones_own_it_passes_its_test_as_written(tmp_path: Path, launch: Launch, kind: str) -> None:
    folder = tmp_path / "my jobs"
    done = launch("new", "zig-zag", "--kind", kind, "--into", "my jobs")
    assert done.returncode == 0 and f"export GANHPC_JOBS='{folder}'" in done.stdout, done.stderr
    assert f"pytest '{folder / 'test_zig_zag.py'}'" in done.stdout
    passes(folder / "test_zig_zag.py", ROOT)
    listed = launch("--help", GANHPC_JOBS=str(folder)).stdout
    assert "zig-zag" in listed and f"(in {folder})" in listed.replace("\n", "")


@pytest.mark.slow  # 12 s of processor time: trainings
def test_in_the_checkout_it_lies_where_ours_do(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("ganhpc", "jobs", "templates", "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("launch.py", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    command = [sys.executable, str(checkout / "launch.py"), "new", "zig-zag", "--kind", "gan"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrote = [line.removeprefix("wrote checkout/") for line in done.stdout.splitlines() if line.startswith("wrote")]
    assert wrote == ["jobs/zig_zag.py", "ganhpc/train/nets/zig_zag.py", "ganhpc/train/tasks/zig_zag.py", "tests/train/tasks/test_zig_zag.py"]  # fmt: skip
    passes(checkout / "tests/train/tasks/test_zig_zag.py", checkout)
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert again.returncode == 2 and "there is an experiment or verb 'zig-zag' already" in again.stderr


def test_a_program_in_the_checkout_lies_beside_its_experiment() -> None:
    made = new._in_checkout("program", "zig_zag")
    names = ["jobs/_zig_zag.py", "jobs/zig_zag.py", "tests/program/test_zig_zag.py"]
    assert [str(path.relative_to(ROOT)) for path in made] == names
    test = made[ROOT / "tests/program/test_zig_zag.py"]
    assert 'PROGRAM = ROOT / "jobs" / "_zig_zag.py"' in test
    assert not any("@" in line.replace("@pytest", "") for line in test.splitlines())
    for path, text in made.items():
        compile(text, path, "exec")


OWN = """
from dataclasses import dataclass
from typing import ClassVar
from ganhpc.runs.options import option
from jobs.program import Program

@dataclass(frozen=True, kw_only=True)
class Mine(Program):
    NAME: ClassVar[str] = "mine"
    TAKES_COMMAND: ClassVar[bool] = False
    WATCHED: ClassVar[tuple[str, ...]] = ("_mine.py",)
    command: tuple[str, ...] = ("python", "_mine.py", "{lr}", "{{lr}}", "{shape}", "{deep}", "{title}")
    folder: str = FOLDER
    lr: float = option(0.5, "rate")
    shape: tuple[int, ...] = option((6, 16), "widths")
    deep: bool = option(False, "deeper")
    title: str | None = option(None, "title")

PRESETS = {"default": Mine()}
"""


@pytest.mark.slow  # 4 s in all
def test_own_options_of_a_program_of_ones_own_are_typed_scanned_and_part_of_its_definition(
    tmp_path: Path, launch: Launch
) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "mine.py").write_text(OWN.replace("FOLDER", repr(str(jobs))))
    (jobs / "_mine.py").write_text("import sys; print(sys.argv[1:])")

    def say(*words: str) -> set[str]:
        done = launch("mine", "--on", "local", "--time", "30s", *words, GANHPC_JOBS=str(jobs))
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.read_text().splitlines()[1] for path in (tmp_path / "runs" / "mine").glob("*/log.txt")}

    first = "['0.5', '{lr}', '6,16', 'false', '']"
    assert say() == {first}
    scanned = {f"['{lr}', '{{lr}}', '6,16', 'true', \"it's\"]" for lr in ("0.1", "0.2")}
    assert say("--scan", "lr=0.1,0.2", "--deep", "--title", "it's") == {first, *scanned}
    (jobs / "_mine.py").write_text("print('edited')")
    assert "edited" in say(), "another content of a watched file is another run"


@pytest.mark.parametrize(
    ("old", "new_", "sentence"),
    [
        ('"{lr}", ', "", "--lr: no argument of the program takes it: write {lr}"),
        ("title: str", "epochs: str", "can't be called epochs"),
        ('"_mine.py",)', '"gone.py",)', "the watched file 'gone.py' is not a file"),
    ],
)
def test_faults_of_a_program_of_ones_own_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new_: str, sentence: str
) -> None:
    (tmp_path / "mine.py").write_text(OWN.replace("FOLDER", repr(str(tmp_path))).replace(old, new_))
    monkeypatch.setenv("GANHPC_JOBS", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(sentence)):
        from_typed(known_experiments.find("mine"), {})


@pytest.mark.parametrize(("name", "sentence"), [
    ("", "small letters"), ("My", "small letters"), ("../x", "small letters"), ("a/b", "small letters"), ("a_b", "small letters"),
    ("a b", "small letters"), ("a--b", "small letters"), ("-a", "No such option|small letters"), ("a-", "small letters"), ("9a", "small letters"),
    ("é", "small letters"), ("a\nb", "small letters"), ("x" * 41, "small letters"), ("class", "a word of Python's: try my-class"),
    ("cifar", "already"), ("wgan-gp", "already"), ("status", "already"), ("new", "already"), ("test-x", "leave out test-"),
    ("x-task", "leave out test-"), ("x-nets", "leave out test-"), ("conftest", "leave out test-"),
    ("torch", "Python's module torch: try my-torch"), ("json", "try my-json"), ("random", "try my-random"), ("numpy", "try my-numpy"),
])  # fmt: skip
def test_names_that_can_not_be(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        written(name, "--into", str(tmp_path / "jobs"))
    assert not (tmp_path / "jobs").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_zig.py").write_text("mine")
    with pytest.raises(UserError, match=r"test_zig.py is there already, and nothing is overwritten"):
        written("zig", "--into", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["test_zig.py"]
    (tmp_path / "zag_nets.py").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"zag_nets.py is there already"):
        written("zag", "--into", str(tmp_path))
    with pytest.raises(UserError, match="is there already"):
        written("compact")  # ganhpc/train/nets/compact.py
    assert not (ROOT / "jobs" / "compact.py").exists()


def test_a_home_is_put_in_the_place_of_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written("zig", "--into", "~/my jobs")
    assert (tmp_path / "my jobs" / "zig.py").is_file()


def test_a_folder_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="write"):
        written("zig", "--into", str(tmp_path / "file"))
    with pytest.raises(UserError, match="can't hold a colon"):
        written("zig", "--into", str(tmp_path / "a:b"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["task", "tensor", "latent-gan", "experiment", "path", "context", "false"])
@pytest.mark.parametrize("kind", new.KINDS)
def test_a_name_like_a_class_that_the_template_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    written(name, "--kind", kind, "--into", str(tmp_path))
    monkeypatch.setenv("GANHPC_JOBS", str(tmp_path))
    definition = known_experiments.find(name).from_preset("quick")
    if kind == "program":
        assert definition.in_braces()["steps"] == "200"  # type: ignore[attr-defined]
        return
    assert module_of(definition).networks(definition, (3, 16, 16), 10)


@pytest.mark.parametrize("page", ["README.md", "docs/own-experiments.md"])
def test_the_names_that_pages_show_are_accepted(page: str) -> None:
    names = set(re.findall(r"launch\.py new ([a-z][\w-]*)", (ROOT / page).read_text()))
    assert names
    for name in names:
        assert new._stem(name) == name.replace("-", "_")


def test_the_names_that_refusals_propose_are_accepted() -> None:
    for wrong in ("class", "My", "-"):
        with pytest.raises(UserError) as told:
            new._stem(wrong)
        (proposed,) = re.findall(r"(?:try|such as) ([a-z-]+)", str(told.value))
        assert new._stem(proposed) == proposed.replace("-", "_")
