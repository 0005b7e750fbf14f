"""Reports of translators and of conditional generators: the references beside the figures, and the sentence that follows from them."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

from ganhpc.analysis.report import elements
from ganhpc.analysis.report.elements import Note, Paragraph, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections import gan, gan_tables
from ganhpc.analysis.report.translation import FOLDER, LANGUAGES, Translator
from ganhpc.cli.views.results_table import _with_distances
from ganhpc.runs.run_folder import Run
from tests.conftest import Launch


def texts(section: Any, kind: type) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, kind)]


def tables(section: Any) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def test_a_translation_is_told_by_its_references(translated: Run) -> None:
    words = Translator("en")
    section = gan_tables.translation(RunData.of(translated), words)
    (yes,) = [text for text in texts(section, Paragraph) if "A to B" in text]
    assert "A to B: translated. The distance 150" in yes and "(250)" in yes and "(240)" in yes
    assert "rises from 0.100 to 0.300" in yes, "the source is hidden in it"
    (no,) = texts(section, Note)
    assert no.startswith("B to A: nothing was translated that counts") and "230" in no and "hidden" not in no
    distances, others = tables(section)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in distances.rows}
    assert rows["translations"] == ["150", "0.200", "230", "0.200"]
    assert rows["sources as they are (doing nothing)"] == ["250", "0.400", "250", "0.400"]
    assert len(rows) == 5 and [column.title for column in distances.columns][1:3] == [
        "FD-EffLite0 A to B",
        "KD-EffLite0 A to B",
    ]
    assert {row[0].text: row[1].text for row in others.rows}[
        "share of translations whose outlines fit their own source best"
    ] == "70.0%"


@pytest.mark.parametrize(("translated_", "said"), [(215.9, True), (216.1, False)])
def test_clearly_below_is_by_a_tenth_and_of_both(translated_: float, said: bool) -> None:
    tree = {"a2b": {"frechet": {"translated": translated_, "nothing": 250.0, "colour": 240.0}}}
    verdict = gan_tables._verdict(tree, "a2b", Translator("en"))
    assert isinstance(verdict, Paragraph) is said


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_names_both_sets_and_what_the_grids_show(translated: Run, lang: str) -> None:
    words, each = Translator(lang), RunData.of(translated)
    assert each.data == "A: lines, B: negatives"
    (shown,) = texts(gan.samples(each, words), Paragraph)
    assert shown == words("gan.samples_of_translations", n=words.count(len(each.grids)))
    assert [section.id for section in gan.sections(each, words)][-1] == "translation"


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("lang", LANGUAGES)
def test_classes_are_told_beside_real_pictures(conditional: Run, lang: str) -> None:
    words, each = Translator(lang), RunData.of(conditional)
    section = gan_tables.conditional(each, words)
    said = texts(section, Paragraph)[1]
    assert all(words.per_cent(value, 1) in said for value in (0.25, 0.875, 0.1))
    (table,) = tables(section)
    assert len(table.rows) == 10 and [cell.text for cell in table.rows[3]][:3] == [
        "grating-3",
        "50",
        words.number(99.5),
    ]
    (shown,) = texts(gan.samples(each, words), Paragraph)
    assert shown == words("gan.samples_of_classes", n=words.count(len(each.grids)))


@pytest.mark.parametrize(
    "damage", [None, [], "x", {"a2b": 3}, {"a2b": {"frechet": {"translated": "x"}}}, {"classes": []}]
)
def test_damaged_measures_leave_the_section_out(translated: Run, damage: Any) -> None:
    each = RunData.of(translated)
    each.__dict__["evaluation"] = {"translation": damage, "conditional": damage}
    assert not gan_tables.translation(each, Translator("en")).blocks
    assert not gan_tables.conditional(each, Translator("en")).blocks


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("name", ["translated", "conditional"])
def test_whole_reports_are_written(name: str, request: pytest.FixtureRequest, tmp_path: Path, launch: Launch) -> None:
    run = request.getfixturevalue(name)
    done = launch("report", str(run.folder), "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    wanted = (
        ("Was anything translated?", "A: lines, B: negatives")
        if name == "translated"
        else ("Class by class", "grating-7")
    )
    assert not [text for text in wanted if text not in page]


def test_the_two_distances_of_a_translation_are_told_apart(translated: Run, launch: Launch) -> None:
    row = json.loads(translated.result_json.read_text())
    titles = [column.title for column in _with_distances([row])]
    assert titles.count("FD a2b") == titles.count("FD b2a") == 1 and "FD" not in titles
    assert [c.title for c in _with_distances([{"FD-EffLite0": 3.0}])].count("FD") == 1
    shown = launch("results", "--runs", str(translated.folder.parents[1]), COLUMNS="250")
    assert "FD a2b" in shown.stdout and "FD b2a" in shown.stdout


def test_the_page_has_a_form_for_every_kind_of_block() -> None:
    """The template knows blocks by the names of their classes: one that it does not know would be left out without a word."""
    template = (FOLDER / "blocks.html").read_text()
    kinds = typing.get_args(elements.Block)
    assert len(kinds) >= 7 and not [kind.__name__ for kind in kinds if f'"{kind.__name__}"' not in template]
