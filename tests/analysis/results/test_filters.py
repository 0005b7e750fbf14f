"""Filters and order: every operator and unit, fields of the definition, and what can't be read."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganhpc.analysis.results import rows as results
from ganhpc.analysis.results.filters import Filter, look_up, ordered, sort_field
from ganhpc.analysis.results.rows import Row
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs.experiment import from_typed
from ganhpc.runs.run_folder import Run
from jobs.program import Program
from tests.run_folders import done, stopped


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs (accuracy 0.6, 0.62, and 0.7 with lr 0.5) and a crashed one without batches of its own size."""
    folder = tmp_path_factory.mktemp("runs")
    done(folder, 0.6, figures={"finished": "2026-11-20T08:00:00+00:00"})
    done(folder, 0.62, seed=1, figures={"finished": "2026-11-21T08:00:00+00:00"})
    done(folder, 0.7, lr=0.5, figures={"params": 256_000, "finished": "2026-11-22T08:00:00+00:00"})
    stopped(folder, "crashed", seed=2, batch_norm=True, conv=(8, 16))
    return folder


def left(runs: Path, text: str) -> list[float | None]:
    """Accuracies of the runs that pass."""
    found, test = results.rows(runs), Filter.parse(text)
    look_up(found, test.field, "--filter")
    return sorted(row["test_accuracy"] for row in found if test.passes(row))


@pytest.mark.parametrize(
    ("text", "accuracies"),
    [
        ("test_accuracy>0.62", [0.7]), ("test_accuracy>=0.62", [0.62, 0.7]), ("test_accuracy >= 62%", [0.62, 0.7]),
        ("test_accuracy<6e-1", [0.25]), ("test-accuracy<=.6", [0.25, 0.6]), ("test_accuracy=0.7", [0.7]), ("test_accuracy==0.7", [0.7]),
        ("params=62006", [0.6, 0.62]), ("params=256k", [0.7]), ("params<256Ki", [0.6, 0.62, 0.7]), ("params>0.2M", [0.7]),
        ("params=none", [0.25]), ("params!=none", [0.6, 0.62, 0.7]), ("params!=256k", [0.25, 0.6, 0.62]),
        ("train_seconds<5m", [0.25, 0.6, 0.62, 0.7]), ("train_seconds>=00:04:00", [0.6, 0.62, 0.7]), ("train_seconds<2m30s", []),
        ("experiment=cifar", [0.25, 0.6, 0.62, 0.7]), ("experiment=Cifar", []), ("variant~LR0.5", [0.7]), ("state!=done", [0.25]),
        ("lr>0.4", [0.7]), ("lr=0.5", [0.7]), ("time=1h", [0.25, 0.6, 0.62, 0.7]), ("batch_norm=yes", [0.25]), ("batch-norm!=on", [0.6, 0.62, 0.7]),
        ("conv=8,16", [0.25]), ("conv=8x16", [0.25]), ("conv=6,16", [0.6, 0.62, 0.7]), ("conv~8", [0.25]), ("finished>2026-11-21", [0.62, 0.7]),
        ("optimizer=muon", [0.25, 0.6, 0.62, 0.7]), ("gpus_per_node=none", [0.25, 0.6, 0.62, 0.7]), ("name=none", [0.25, 0.6, 0.62, 0.7]),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_it_says(runs: Path, text: str, accuracies: list[float]) -> None:
    assert left(runs, text) == accuracies


@pytest.mark.parametrize(
    "text", ["", "test_accuracy", "test_accuracy>", ">0.6", "a b>1", "test_accuracy>>0.6x", "1>0", "__import__('os')", "a.b=1", "=", "a="]
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_a_sentence(runs: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"FIELD OPERATOR VALUE|no run has such a field|is a number"):
        left(runs, text)


def test_wrong_fields_and_values_are_sentences(runs: Path) -> None:
    with pytest.raises(UserError, match="--filter test_acuracy: no run has such a field; did you mean 'test_accuracy"):
        left(runs, "test_acuracy>0.6")
    with pytest.raises(UserError, match=r"--filter wieght_decay: .*'weight_decay'"):
        left(runs, "wieght_decay>0")
    with pytest.raises(UserError, match=r"test_accuracy is a number, and 'high' is none: .*256k or 5m"):
        left(runs, "test_accuracy>high")
    with pytest.raises(UserError, match="'nan' is none"):
        left(runs, "test_accuracy=nan")
    with pytest.raises(UserError, match="batch_norm is yes or no, not '7'"):
        left(runs, "batch_norm=7")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    row: Row = {**dict.fromkeys(results.KEYS), "test_accuracy": 0.5, "flag": True, "conv": [6, 16], "device": "cpu"}
    try:
        test = Filter.parse(text)
        assert test.passes(row) in (True, False)
    except UserError as error:
        assert "--filter" in str(error)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
def test_numbers_compare_as_numbers(value: float, other: float, sign: str) -> None:
    wanted = {
        "=": value == other,
        "!=": value != other,
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }
    assert Filter.parse(f"x{sign}{other!r}").passes({"x": value}) is wanted[sign]


def test_a_field_of_the_result_goes_before_one_of_the_definition(runs: Path) -> None:
    found = results.rows(runs)
    assert not look_up(found, "epochs", "--sort"), "every row has it: no definition is read"
    assert {row["epochs"] for row in found} == {12.0, 6.0}
    assert look_up(found, "lr", "--sort")
    assert {row["lr"] for row in found} == {0.12, 0.5}
    assert not look_up(found, "test_loss", "--sort"), "some results have it, no definition does"


def test_order(runs: Path) -> None:
    found = results.rows(runs)
    assert [row["test_accuracy"] for row in ordered(found, "test_accuracy")] == [0.25, 0.6, 0.62, 0.7]
    assert [row["params"] for row in ordered(found, "params", largest_first=True)] == [256_000, 62_006, 62_006, None]
    assert [row["params"] for row in ordered(found, "params")] == [62_006, 62_006, 256_000, None]
    mixed = [{"x": "b"}, {"x": 2}, {"x": None}, {}, {"x": "a"}, {"x": {"mean": 1.0}}, {"x": [1]}]
    assert [row.get("x") for row in ordered(mixed, "x")] == [{"mean": 1.0}, 2, [1], "a", "b", None, None]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("params", ("params", False)), ("-params", ("params", True)), ("weight-decay", ("weight_decay", False)), ("-weight-decay", ("weight_decay", True)), ("--lr", ("lr", False))],
)  # fmt: skip
def test_sort_field(text: str, wanted: tuple[str, bool]) -> None:
    assert sort_field(text) == wanted


def test_an_empty_sort_field_is_a_sentence() -> None:
    with pytest.raises(UserError, match="--sort -test_accuracy"):
        sort_field("-")


@pytest.mark.parametrize(
    ("text", "value", "passes"),
    [
        ("x>0,09", 0.1, True),
        ("x>0,09", 9, True),
        ("x>0,09", 0.05, False),
        ("x>=62,006", 62_006, True),
        ("x>1.000,5", 1000.6, True),
        ("x>60 000", 59_999, False),
        ("x>98,2%", 0.983, True),
        ("x<0,5m", 29.0, True),
    ],
)
def test_numbers_of_filters_are_read_by_the_one_rule(text: str, value: float, passes: bool) -> None:
    assert Filter.parse(text).passes({"x": value}) is passes


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("x>1,234", 0.5, "may be 1234 or 1.234"),
        ("x>62.006", 5, "may be 62006 or 62"),
        ("x>١", 1.0, "is none"),
        ("x>1e1_0", 1.0, "is none"),
        ("x>10²", 1, "is none"),
        ("x>0x10", 1, "is none"),
    ],
)
def test_numbers_of_filters_that_may_mean_two_or_none_are_refused(text: str, value: float, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Filter.parse(text).passes({"x": value})


def test_figures_and_scanned_values_of_programs_are_fields(tmp_path: Path) -> None:
    for lr, opt, loss in (("1e-3", "adam", 0.5), ("0.01", "sgd", 0.25), ("auto", "sgd", 0.75)):
        scanned = (("batch-size", "8"), ("lr", lr), ("opt", opt))
        base = from_typed(Program, {"command": ("true", "{lr}", "{opt}", "{batch-size}"), "time": 60.0})
        run = Run.open(tmp_path, dataclasses.replace(base, parameters=scanned))
        names = {"experiment": "program", "variant": "x", "run": run.name, "state": "done", "seed": 0, "group": lr}
        write_json(run.result_json, {**names, "val/loss": loss, "top-5": loss, "\u00e9cart": loss})

    def passing(text: str) -> list[float]:
        found, tests = results.rows(tmp_path), Filter.parse_all(text)
        for test in tests:
            look_up(found, test.field, "--filter")
        return sorted(row["val/loss"] for row in found if all(test.passes(row) for test in tests))

    assert passing("val/loss<0,6") == [0.25, 0.5] and passing("val/loss >= 50%") == [0.5, 0.75]
    assert passing("top-5>0.4") == passing("top_5>0.4") == passing("\u00e9cart>0.4") == [0.5, 0.75]
    assert passing("state=done and val/loss<0.6 and opt=sgd") == [0.25]
    assert passing("lr=0.001") == [0.5] and passing("lr<0.1 and lr>2e-3") == [0.25] and passing("lr=auto") == [0.75]
    assert passing("lr~1e-3") == [0.5] and passing("lr!=0,001") == [0.25, 0.75]
    assert passing("batch-size=8") == passing("batch_size=8") == [0.25, 0.5, 0.75]
    found = results.rows(tmp_path)
    assert look_up(found, "lr", "--sort") and [row["lr"] for row in ordered(found, "lr")] == ["1e-3", "0.01", "auto"]
    field, down = sort_field("-val/loss")
    assert not look_up(found, field, "--sort")
    assert [row["val/loss"] for row in ordered(found, field, largest_first=down)] == [0.75, 0.5, 0.25]
