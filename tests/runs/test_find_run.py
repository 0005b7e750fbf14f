"""RUN on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.runs.find_run import find_run, find_runs, fitting
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(2):
        Run.open(tmp_path, Cifar(data="synthetic", seed=seed))
    Run.open(tmp_path, Cifar(data="synthetic", name="alone"))
    return tmp_path


def test_a_folder_a_name_and_a_part_of_one(runs: Path) -> None:
    (alone,) = (run for run in Run.all(runs) if run.name.startswith("alone"))
    for word in (str(alone.folder), f"cifar/{alone.name}", alone.name, "alone", alone.name[-10:]):
        assert find_run(word, runs).folder == alone.folder


def test_a_part_of_several_names_them(runs: Path) -> None:
    with pytest.raises(UserError, match=r"'default' means 2 runs below .*: type one of cifar/default-"):
        find_run("default", runs)


def test_an_unknown_name_gives_the_nearest(runs: Path) -> None:
    with pytest.raises(UserError, match=re.escape("there is no run 'elone'")):
        find_run("elone", runs)
    with pytest.raises(UserError, match="nor any other below"):
        find_run("x", runs / "empty")


def test_without_a_word_all_and_none_twice(runs: Path) -> None:
    assert len(find_runs((), runs)) == 3
    assert len(find_runs(("alone", "alone"), runs)) == 1


def test_an_exact_name_goes_before_a_beginning_and_that_before_a_part() -> None:
    named = {"1": ("ab", "x/ab"), "2": ("abc", "x/abc"), "3": ("zab", "x/zab")}
    assert fitting("ab", named) == ["1"]
    assert fitting("abc", named) == ["2"]
    assert fitting("x/a", named) == ["1", "2"]
    assert fitting("za", named) == ["3"]
    assert fitting("bc", named) == ["2"]
    assert fitting("", named) == fitting("q", named) == []


def test_a_folder_that_is_no_run_and_words_that_are_no_names(runs: Path) -> None:
    (runs / "cifar" / "notes").mkdir()
    with pytest.raises(UserError, match="is not a run folder"):
        find_run(str(runs / "cifar" / "notes"), runs)
    for word in ("", "/", "n" * 5000, "a\0b", "../..", "\udcff"):
        with pytest.raises(UserError):
            find_run(word, runs)


def test_one_run_by_several_paths_is_one(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in one launch it would be submitted twice."""
    (alone,) = (run for run in Run.all(runs) if run.name.startswith("alone"))
    (runs / "link").symlink_to(alone.folder)
    monkeypatch.chdir(runs)
    assert len(find_runs(("alone", str(alone.folder), f"cifar/../cifar/{alone.name}", "link"), runs)) == 1


def test_the_title_of_a_run_that_was_moved_or_renamed_has_its_experiment(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone,) = (run for run in Run.all(runs) if run.name.startswith("alone"))
    assert alone.title == f"cifar/{alone.name}"
    (runs / "kept").mkdir()
    moved = Run(alone.folder.rename(runs / "kept" / "the best"))
    assert moved.title == "cifar/the best"
    monkeypatch.chdir(moved.folder)
    assert Run(Path()).title == "cifar/the best" and Run(Path("../the best")).title == "cifar/the best"
