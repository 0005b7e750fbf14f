"""The report's section on sparse codes, from a run that was trained, and from files that hold something else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ganhpc.analysis.report.elements import Gallery, Note, Paragraph, Plot, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections import sdpc
from ganhpc.analysis.report.translation import LANGUAGES, Translator
from ganhpc.runs.run_folder import Run
from ganhpc.runs.sdpc_grid import rows_of
from tests.helpers import finish
from tests.train.tasks.tiny import made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of sdpc."""
    found = made(tmp_path_factory.mktemp("sdpc"), "sdpc", epochs=1)
    finish(found)
    return found


def blocks(run: Run, kind: type, lang: str = "en") -> list[Any]:
    section = sdpc.section(RunData.of(run), Translator(lang))
    return [block for block in section.blocks if isinstance(block, kind)] if section else []


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_section_shows_every_part_of_the_grid_and_the_curves_of_one_inference(run: Run, lang: str) -> None:
    (gallery,) = blocks(run, Gallery, lang)
    names = ["images-0", "painted-1", "painted-2", "codes-1", "codes-2", "atoms-1", "atoms-2"]
    assert [picture.name for picture in gallery.pictures] == [f"sdpc-{name}" for name in names]
    assert len({picture.caption for picture in gallery.pictures}) == 7
    # A row of 16 pictures of 16 pixels each, with borders.
    assert all((picture.width, picture.height) in ((290, 18), (290, 19)) for picture in gallery.pictures)
    assert len({picture.data for picture in gallery.pictures}) == 7
    energy, active = blocks(run, Plot, lang)
    tree = json.loads(run.evaluation_json.read_text())
    assert [y for _, y in energy.lines[1].points] == [row[1] for row in tree["energies"]]
    assert [y for _, y in active.lines[0].points] == [row[0] for row in tree["active_units"]]
    assert active.lines[0].points[-1][1] == pytest.approx(tree["curve"][-1]["active_1"])
    (table,) = blocks(run, Table, lang)
    assert [row[0].text for row in table.rows] == ["0", "1", "2", "3", "4"] and len(table.columns) == 8
    told = tree["feedback_effect"]["rows"]
    assert [row[1].sort for row in table.rows] == [row["error_1"] for row in told]
    assert len(blocks(run, Paragraph, lang)) == 3


def test_the_bands_are_those_that_the_task_draws(run: Run) -> None:
    """The first band holds the pictures: those of the training set's held-out part, not what is painted of them."""
    bands = rows_of(json.loads(run.experiment_json.read_text()))
    assert [(band.what, band.layer, band.first, band.end) for band in bands][-2:] == [
        ("atoms", 1, 5, 6),
        ("atoms", 2, 6, 7),
    ]
    assert rows_of({"atoms": [64, 300]})[-1] == ("atoms", 2, 9, 17) and rows_of({"atoms": "no"}) == []
    (gallery,) = blocks(run, Gallery)
    whole = Image.open(sorted(run.samples.glob("*.png"))[-1])
    first = Image.open(io.BytesIO(gallery.pictures[0].data))
    assert whole.size == (290, 128) and first.size[0] == 290


def test_signs_are_those_of_the_figures() -> None:
    rows = [
        {
            "feedback": b,
            "error_1": 0.05 + b / 50,
            "error_2": 0.3 + b / 50,
            "active_1": 0.1 + b / 50,
            "iterations": 40.0 - b,
        }
        for b in (4.0, 0.0)
    ]
    said = sdpc._signs(rows, Translator("en"))
    yes, _, no = said.partition("These do not:")
    assert "error, layer 1; active units, layer 1; iterations" in yes and no.strip().startswith("error, layer 2.")


def test_tensorboard_has_energies_active_units_and_effects(run: Run) -> None:
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    tree = json.loads(run.evaluation_json.read_text())
    found = events.Scalars("final/energy_2_over_iterations")
    assert [point.step for point in found] == list(range(1, len(tree["energies"]) + 1))
    assert [point.value for point in found] == pytest.approx([row[1] for row in tree["energies"]])
    effects = events.Scalars("final/error_1_over_feedback")
    rows = tree["feedback_effect"]["rows"]
    assert [(p.step, p.value) for p in effects] == [(int(r["feedback"]), pytest.approx(r["error_1"])) for r in rows]
    assert "final/active_1_over_iterations" in events.Tags()["scalars"]


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"energies": "no", "active_units": [[]], "feedback_effect": 3},
        {"energies": [[1.0], ["x"]], "feedback_effect": {"rows": [1, {"feedback": "a"}, {"feedback": None}]}},
        {"energies": [[1.0, 2.0], [1.0]], "feedback_effect": {"rows": [{"feedback": 1.0, "error_1": None}]}},
    ],
)
def test_files_that_hold_something_else_hide_nothing_else(run: Run, tree: dict[str, Any], tmp_path: Path) -> None:
    kept = run.evaluation_json.read_bytes()
    run.evaluation_json.write_text(json.dumps(tree))
    try:
        assert len(blocks(run, Gallery)) == 1
        for picture in (run.samples.rename(tmp_path / "samples"),):
            assert picture.exists() and not blocks(run, Gallery) and not blocks(run, Note)
    finally:
        (tmp_path / "samples").rename(run.samples)
        run.evaluation_json.write_bytes(kept)
