"""Rows, groups, filters and order, against figures worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc import results
from ganhpc.errors import UserError
from ganhpc.files import write_json
from ganhpc.run import Run, State
from jobs.cifar import Cifar
from tests.conftest import Launch


def done(runs: Path, accuracy: float, **fields: object) -> Run:
    """A finished run with this accuracy."""
    definition = Cifar(**fields)  # type: ignore[arg-type]
    run = Run.open(runs, definition)
    words = {
        "experiment": "cifar",
        "variant": definition.variant,
        "run": run.name,
        "seed": definition.seed,
        "group": definition.group,
    }
    write_json(
        run.result_json, {**words, "test_accuracy": accuracy, "params": 62_006, "train_seconds": 300.0, "epochs": 3.0}
    )
    return run


def test_every_row_has_the_promised_keys_and_a_documented_state(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    waiting = Run.open(tmp_path, Cifar(seed=1))
    write_json(waiting.request_json, {"jobs": [{"tag": "t", "job_id": "7", "segment": 1}]})
    write_json(
        Run.open(tmp_path, Cifar(seed=2)).status_json,
        {"state": "crashed", "reason": "why", "seconds": 3.0, "last": {"test_accuracy": 0.1}},
    )
    found = results.rows(tmp_path)
    assert len(found) == 3
    assert all(set(results.KEYS) <= set(row) for row in found)
    assert sorted(row["state"] for row in found) == sorted([State.CRASHED, State.DONE, State.WAITING])
    crashed = next(row for row in found if row["state"] == "crashed")
    assert crashed["reason"] == "why" and crashed["train_seconds"] == 3.0 and crashed["test_accuracy"] == 0.1


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', ""])
def test_a_broken_folder_hides_no_other(tmp_path: Path, damage: str) -> None:
    run = done(tmp_path, 0.6)
    (tmp_path / "cifar" / "foreign").mkdir()
    other = Run.open(tmp_path, Cifar(seed=1))
    other.status_json.write_text(damage)
    cut = done(tmp_path, 0.5, seed=2)
    cut.result_json.write_text('{"test_acc')
    states = {row["run"]: row["state"] for row in results.rows(tmp_path)}
    assert states[run.name] == "done" and states["foreign"] == "unreadable"
    assert len(states) == 4


def test_groups_agree_with_a_hand_computation(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.60, 0.62, 0.67)):
        done(tmp_path, accuracy, seed=seed)
    done(tmp_path, 0.9, lr=0.5)
    three, one = sorted(results.grouped(results.rows(tmp_path)), key=lambda row: -row["n"])
    assert (three["n"], one["n"]) == (3, 1)
    assert three["test_accuracy"]["mean"] == pytest.approx(0.63)
    assert three["test_accuracy"]["std"] == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert three["test_accuracy"]["cv"] == pytest.approx(three["test_accuracy"]["std"] / 0.63)
    assert one["test_accuracy"]["std"] is None and one["test_accuracy"]["cv"] is None
    assert sorted(three["seeds"]) == [0, 1, 2]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_statistics_agree_with_the_standard_library(values: list[float]) -> None:
    made = results.statistics(values)
    assert made["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert made["std"] == pytest.approx(statistics.stdev(values), abs=1e-6)


@pytest.mark.parametrize(
    ("test", "left"),
    [("test_accuracy>0.65", 1), ("test_accuracy<=0.6", 1), ("variant~LR0.5", 1), ("experiment=cifar", 3), ("params=62006", 3), ("params<62k", 0), ("train_seconds=5m", 3), ("lr>0.4", 1), ("state!=done", 0)],
)  # fmt: skip
def test_filters(tmp_path: Path, test: str, left: int) -> None:
    done(tmp_path, 0.6)
    done(tmp_path, 0.62, seed=1)
    done(tmp_path, 0.7, lr=0.5)
    assert len(results.chosen(results.rows(tmp_path), (test,))) == left


@pytest.mark.parametrize(
    ("test", "words"),
    [("test_acuracy>1", "'test_accuracy'"), ("garbage", "FIELD OPERATOR VALUE"), ("params>many", "256k")],
)
def test_wrong_filters_are_a_sentence(tmp_path: Path, test: str, words: str) -> None:
    done(tmp_path, 0.6)
    with pytest.raises(UserError, match=words):
        results.chosen(results.rows(tmp_path), (test,))


def test_order(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.61, 0.63, 0.62)):
        done(tmp_path, accuracy, seed=seed)
    Run.open(tmp_path, Cifar(seed=9))
    found = results.rows(tmp_path)
    assert [row["test_accuracy"] for row in results.ordered(found, "-test_accuracy")] == [0.63, 0.62, 0.61, None]
    assert [row["test_accuracy"] for row in results.ordered(found, "test_accuracy")] == [0.61, 0.62, 0.63, None]
    with pytest.raises(UserError, match="--sort"):
        results.ordered(found, "nothing")


@pytest.mark.parametrize("width", ["80", "120", "200"])
def test_the_table_keeps_its_figures_whole(launch: Launch, tmp_path: Path, width: str) -> None:
    for seed in range(2):
        done(tmp_path / "runs", 0.6 + seed / 100, seed=seed)
    done(tmp_path / "runs", 0.7, lr=0.5)
    shown = launch("results", "--sort", "-test_accuracy", COLUMNS=width)
    assert shown.returncode == 0, shown.stderr
    assert "70.00%" in shown.stdout and "60.50% ± 0.71%" in shown.stdout and "62,006" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= int(width)
    each = launch("results", "--each", COLUMNS=width).stdout
    assert "60.00%" in each and "61.00%" in each and "±" not in each


def test_json_and_csv_give_everything(launch: Launch, tmp_path: Path) -> None:
    for seed in range(3):
        done(tmp_path / "runs", 0.6, seed=seed)
    assert len(json.loads(launch("results", "--json").stdout)) == 3
    (variant,) = json.loads(launch("results", "--group", "--json").stdout)
    assert variant["n"] == 3 and variant["test_accuracy"]["std"] == 0
    read = list(csv.DictReader(io.StringIO(launch("results", "--csv").stdout)))
    assert [row["test_accuracy"] for row in read] == ["0.6"] * 3


def test_no_runs_yet_says_how_to_make_one(launch: Launch) -> None:
    shown = launch("results")
    assert shown.returncode == 0 and "python launch.py cifar" in shown.stdout
    assert json.loads(launch("results", "--json").stdout) == []
