"""The catalogue of figures: one line each, and every list that shows them follows it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from ganhpc.analysis.results import ranking
from ganhpc.analysis.results import rows as results
from ganhpc.cli.views import results_table
from ganhpc.core.units import counted
from ganhpc.runs import figures
from ganhpc.runs.figures import ShownIn
from ganhpc.runs.run_folder import State
from ganhpc.train.runtime import training_clock
from tests.helpers import ROOT

LANGUAGES = {
    path.stem: tomllib.loads(path.read_text()) for path in sorted((ROOT / "templates" / "report").glob("*.toml"))
}


def test_each_figure_has_one_line() -> None:
    keys = [figure.key for figure in figures.FIGURES]
    assert len(keys) == len(set(keys))
    for order in (figures.columns(), figures.judges()):
        places = [figure.table if order == figures.columns() else figure.judged for figure in order]
        assert places == list(range(1, len(places) + 1))


@pytest.mark.parametrize(
    ("key", "lower", "share"),
    [
        ("test_accuracy", False, True),
        ("teacher_accuracy", False, True),
        ("test_loss", True, False),
        ("train_loss", True, False),
        ("valid", False, True),
        ("lines_valid", False, True),
        ("lines_coverage", False, False),
        ("lines_total_variation", True, False),
        ("frechet_efflite0", True, False),
        ("kernel_efflite0", True, False),
        ("convergence", True, False),
        ("a_new_one", False, False),
    ],
)
def test_which_way_is_better_and_what_is_told_in_per_cent(key: str, lower: bool, share: bool) -> None:
    assert (figures.lower_is_better(key), figures.is_share(key)) == (lower, share)
    assert figures.brief(key, 0.5) == ("50.00%" if share else "0.5")


def test_families_are_found_by_the_beginning_of_their_names() -> None:
    names = ["kernel_efflite0", "params", "frechet_efflite0", "valid", "lines_valid", "lines_real"]
    assert figures.named_in(ShownIn.VARIANTS, names) == ["valid", "lines_valid", "frechet_efflite0", "kernel_efflite0"]
    assert figures.named_in(ShownIn.GAN_MEASURES, names) == [
        "valid",
        "lines_valid",
        "lines_real",
        "frechet_efflite0",
        "kernel_efflite0",
    ]


def test_runs_are_judged_by_the_first_figure_that_they_have() -> None:
    def rows(**values: float) -> list[dict]:
        return [
            {"state": "done", "experiment": "x", "data": "d", **{k: v + n for k, v in values.items()}} for n in (0, 1)
        ]

    both = rows(valid=0.1, frechet_net=5.0)
    assert ranking.best(both) == ({"frechet_net": False}, {(id(both[0]), "frechet_net")})
    only = rows(valid=0.1)
    assert ranking.best(only) == ({"valid": True}, {(id(only[1]), "valid")})


def test_the_table_and_the_rows_follow_the_catalogue() -> None:
    keys = [column.key for column in results_table.COLUMNS]
    assert list(dict.fromkeys(keys)) == [figure.key for figure in figures.columns()]
    assert [c.title for c in results_table.COLUMNS][:4] == ["accuracy", "± std", "cv", "no TTA"]
    assert set(figures.keys_of(ShownIn.ROW)) <= set(results.KEYS) and len(set(results.KEYS)) == len(results.KEYS)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_reports_have_a_name_for_each_phase_state_and_figure(lang: str) -> None:
    words = LANGUAGES[lang]
    assert set(training_clock.TIMED) | {"other"} == set(figures.PHASES) == set(words["phase"])
    assert {state.value for state in State} == set(words["state"]) == set(figures.STATE_COLOURS) | {"new"}
    shown = {f.key for place in (ShownIn.VARIANTS, ShownIn.HELD_OUT) for f in figures.shown_in(place)}
    assert shown <= set(words["figure"])


def test_no_other_file_keeps_a_list_of_figures() -> None:
    """A tuple, list or set of three or more keys of the catalogue anywhere else would drift from it again."""
    known = {figure.key for figure in figures.FIGURES if not figure.work} - {"loss"}
    found = []
    for path in sorted((ROOT / "ganhpc").rglob("*.py")):
        if path.name == "figures.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = {e.value for e in node.elts if isinstance(e, ast.Constant)}
                found += [f"{Path(path).name}:{node.lineno}"] * (len(words & known) >= 3)
    assert not found


@pytest.mark.parametrize(
    ("n", "noun", "form", "text"),
    [
        (1, "epoch", "", "1 epoch"),
        (0, "epoch", "", "0 epochs"),
        (2, "epoch", "", "2 epochs"),
        (1.0, "epoch", "", "1 epoch"),
        (1.5, "epoch", "", "1.5 epochs"),
        (0.99999, "epoch", "", "1 epoch"),
        (1.04, "epoch", ".1f", "1.0 epoch"),
        (10, "run", "", "10 runs"),
        (12345, "image", "", "12,345 images"),
        (2, "process", "", "2 processes"),
    ],
)
def test_a_count_agrees_with_its_noun(n: float, noun: str, form: str, text: str) -> None:
    assert counted(n, noun, form) == text


def test_distances_are_known_by_the_names_that_they_are_written_with() -> None:
    from ganhpc.train.gan.frechet import Extractor

    names = {name: getattr(Extractor, name) for name in ("frechet", "kernel")}
    made = type("Made", (), {"suffix": "EffLite0", **names})()
    assert (made.frechet, made.kernel) == ("FD-EffLite0", "KD-EffLite0")
    assert figures.lower_is_better(made.frechet) and figures.lower_is_better(made.kernel)
    assert figures.named_in(ShownIn.GAN_MEASURES, [made.kernel, "params", made.frechet]) == [made.frechet, made.kernel]
    keys = [made.frechet, f"{made.kernel}-deviation", "frechet_made", made.frechet]
    assert figures.of_family(keys, "frechet") == [made.frechet, "frechet_made"]
    assert figures.of_family(keys, "kernel") == []
