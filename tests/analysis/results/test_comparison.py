"""Comparisons and the best, against figures worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ganhpc.analysis.results import rows as results
from ganhpc.analysis.results.comparison import chosen, compare
from ganhpc.analysis.results.filters import Filter
from ganhpc.analysis.results.ranking import best
from ganhpc.core.errors import UserError
from tests.run_folders import done, stopped


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed, accuracy in enumerate((0.60, 0.62, 0.67)):
        done(folder, accuracy, seed=seed)
    done(folder, 0.9, lr=0.5)
    stopped(folder, "crashed", lr=7.0)
    return folder


def test_two_variants_side_by_side(runs: Path) -> None:
    found = results.rows(runs)
    a, b = chosen("default", found), chosen("cifar/default-lr0.5", found)
    made = compare(a, b)
    assert made["definition"] == {"lr": [0.12, 0.5]} and made["runs"][0] == "cifar/default (3 runs)"
    accuracy = made["measures"]["test_accuracy"]
    assert accuracy["a"] == pytest.approx({"mean": 0.63, "std": math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2), "n": 3})
    assert accuracy["b"] == {"mean": 0.9, "std": None, "n": 1}
    assert accuracy["difference"] == pytest.approx(0.27) and accuracy["relative"] == pytest.approx(0.27 / 0.63)
    assert made["measures"]["params"]["difference"] == 0


def test_two_runs_and_their_seeds(runs: Path) -> None:
    found = [row for row in results.rows(runs) if row["variant"] == "default"]
    a, b = (chosen(row["run"], found) for row in sorted(found, key=lambda row: row["seed"])[:2])
    made = compare(a, b)
    assert made["definition"] == {"seed": [0, 1]} and made["measures"]["test_accuracy"]["difference"] == pytest.approx(
        0.02
    )
    assert chosen(a["folder"], found)["run"] == a["run"]


def test_what_cannot_be_compared_is_a_sentence(runs: Path) -> None:
    found = results.rows(runs)
    with pytest.raises(UserError, match=r"there is no such run or variant; did you mean|there is no such run"):
        chosen("defualt-lr0.5", found)
    with pytest.raises(UserError, match=r"means 3 variants .*type more of the name"):
        chosen("cifar/def", found)
    with pytest.raises(UserError, match="the same one"):
        compare(chosen("default", found), chosen("default", found))
    with pytest.raises(UserError, match="no runs at all"):
        chosen("x", [])


def test_the_best_is_by_a_measure_and_a_way(runs: Path) -> None:
    found = results.grouped(results.rows(runs))
    ways, marked = best(found)
    assert ways == {"test_accuracy": True}
    assert [row["test_accuracy"]["mean"] for row in found if (id(row), "test_accuracy") in marked] == [0.9]
    gans = [
        {"experiment": "dcgan", "data": "x", "state": "done", "frechet-net": value, "train_loss_g": 1.0}
        for value in (30.0, 20.0, None)
    ]
    ways, marked = best(gans)
    assert ways == {"frechet-net": False} and marked == {(id(gans[1]), "frechet-net")}
    other = [{**gans[0], "data": "y"}]
    assert best(other) == ({}, set()), "one alone is not the best of anything"


def test_several_tests_in_one_filter() -> None:
    row = {"lr_g": 1e-4, "name": "rock and roll", "valid": 0.7}
    for text, passes in (
        ("lr_g<2e-4 and valid>0.5", True),
        ("lr_g<2e-4 and valid>0.8", False),
        ("name~rock and roll", True),
        ("name~and roll and lr_g>1", False),
    ):
        assert all(test.passes(row) for test in Filter.parse_all(text)) is passes
