"""Plots: everything that is drawn can be seen, and axes show no value that cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest
from matplotlib.figure import Figure

from ganhpc.analysis.report import plots
from ganhpc.analysis.report.elements import Line, Plot, safe_word
from ganhpc.analysis.report.translation import Translator, is_finite

WORDS = Translator("fr")


def drawn(monkeypatch: pytest.MonkeyPatch, **values: Any) -> Figure:
    """The figure of a plot, laid out."""
    figures: list[Figure] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), saved(self, *a, **k))[1])
    plots.png(Plot("p", "caption", "alt", x="x", y="y", **values), WORDS)
    return figures[0]


def test_a_line_of_one_point_has_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch, lines=[Line("one", [(0.1, 3.0)]), Line("many", [(0.0, 1.0), (1.0, 2.0)])]).axes
    one, many = axes.get_lines()
    assert one.get_marker() not in ("None", "", None) and many.get_marker() == "None"


def test_no_figure_is_too_large_to_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(map(is_finite, (1e308, -1e308, float("inf"), float("nan"), 10**400, -(10**301), True, "1", None)))
    most = 9.9e299
    assert is_finite(most) and is_finite(-most) and is_finite(0) and is_finite(5e-324)
    for ends in ((most, most), (-most, most)):
        (axes,) = drawn(monkeypatch, lines=[Line("loss", [(0.0, ends[0]), (1.0, ends[1])])]).axes
        assert axes.get_ylim()[0] < axes.get_ylim()[1]


def test_shares_are_never_shown_below_zero_and_constants_stand_clear_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    none = [(float(x), 0.0) for x in range(5)]
    (axes,) = drawn(monkeypatch, lines=[Line("valid", none)], per_cent=True).axes
    assert axes.get_ylim()[0] == 0
    (axes,) = drawn(monkeypatch, lines=[Line("rate", [(x, 2e-4) for x, _ in none])]).axes
    assert axes.get_ylim() == (0, pytest.approx(4e-4))
    (axes,) = drawn(monkeypatch, lines=[Line("loss", [(x, x - 2) for x, _ in none])]).axes
    assert axes.get_ylim()[0] < -2, "other figures may be negative"


@pytest.mark.parametrize(
    "labels",
    [
        ["taux d'apprentissage, générateur", "taux d'apprentissage, discriminateur"],
        ["a", "b", "c"],
        ["erreur d'identité, images réservées"] * 5,
    ],
)
def test_names_of_lines_are_not_cut_off(labels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(monkeypatch, lines=[Line(label, [(0.0, 2e-4), (1.0, 2e-4)]) for label in labels])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_the_lines_beyond_the_colours_have_another_stroke(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch, lines=[Line(str(k), [(0.0, k), (1.0, k)]) for k in range(9)]).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 9


@pytest.mark.parametrize(
    ("epoch", "en", "fr"),
    [(0.0, "0", "0"), (5.0, "5", "5"), (23.976, "23.98", "23,98"), (0.1, "0.1", "0,1"), (1000.0, "1000", "1000")],
)
def test_epochs_are_written_without_zeros_behind_them(epoch: float, en: str, fr: str) -> None:
    assert (Translator("en").epoch(epoch), Translator("fr").epoch(epoch)) == (en, fr)
    assert not re.search(r"[.,]0+$", Translator("fr").epoch(epoch))


HOSTILE = ("na\x1b[31mme\n", 'a" onload="alert(1)', "\\e\\1", "<script>", "a/b", "a-b", "../../x", "é" * 100)


def test_any_name_of_a_figure_is_a_word_of_ids_and_files() -> None:
    """A program names its figures; a page and a folder hold them."""
    words = [safe_word(f"program-{name}") for name in HOSTILE]
    assert len(set(words)) == len(words) and all(re.fullmatch(r"[A-Za-z0-9._-]{1,90}", word) for word in words)
    assert safe_word("gan-loss_g.1") == "gan-loss_g.1"
    for name, word in zip(HOSTILE, words, strict=True):
        text = plots.svg(
            Plot(f"program-{name}", "caption", "alt", lines=[Line("one", [(0.0, 1.0), (1.0, 2.0)])]), WORDS
        )
        ids = re.findall(r'id="([^"]*)"', text)
        assert ids and all(each.startswith(f"{word}-") for each in ids)
        assert "onload" not in text.replace(word, "") and "<script" not in text
