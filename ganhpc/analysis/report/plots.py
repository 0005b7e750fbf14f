"""Plots by matplotlib: as SVG whose colours the page decides (light or dark), or as PNG for paper."""

from __future__ import annotations

import io
import re
from typing import Any

from ganhpc.analysis.report.elements import Plot, safe_word
from ganhpc.analysis.report.translation import Translator
from ganhpc.core import plot_settings

_COLOURS = ("#1d5fa6", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be185d", "#475569")
"""Of curves on white; each keeps a contrast of more than 4.5 to 1. The page has brighter ones for black."""
INK, GRID = "#1a1c20", "#c9ced6"
_INCHES = (5.0, 3.0)
"""Small, so that the letters can still be read where a phone makes the plot smaller."""

_LEGEND_LETTERS = 48
"""Letters of two columns of names beside one another that the width of a plot has room for."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.unicode_minus": True,
    "text.parse_math": False,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def svg(plot: Plot, words: Translator) -> str:
    """The plot as an SVG element: no colour of its own but the page's variables --ink, --grid and --c0 to --c7."""
    text = _saved(plot, words, "svg", transparent=True, metadata={"Date": None}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    for number, colour in enumerate(_COLOURS):
        text = text.replace(colour, f"var(--c{number})")
    # Ids are the plot's own: a page holds several.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\1{safe_word(plot.name)}-", text)
    text = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", text)
    return text.replace(INK, "var(--ink)").replace(GRID, "var(--grid)").replace("<svg", '<svg aria-hidden="true"', 1)


def png(plot: Plot, words: Translator, dpi: int = 160) -> bytes:
    """The plot on white."""
    return _saved(plot, words, "png", dpi=dpi)


def _saved(plot: Plot, words: Translator, form: str, **options: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = {**_SETTINGS, "svg.hashsalt": plot.name}
    with plot_settings.only(settings):
        rows = 0.28 * max(0, len(plot.places) - 6) if plot.kind == "bars" else 0.0
        figure = Figure(figsize=(_INCHES[0], _INCHES[1] + rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        {"lines": _lines, "bars": _bars, "parallel": _parallel}[plot.kind](axes, plot, words)
        file = io.BytesIO()
        figure.savefig(file, format=form, **options)
    return file.getvalue()


def _formatter(words: Translator, *, per_cent: bool = False) -> Any:
    from matplotlib.ticker import FuncFormatter

    def shown(value: float, _position: object) -> str:
        if not per_cent:
            return words.plain(value)
        # As many places as the tick has, so that no two look alike.
        return words.per_cent(value, next((n for n in (0, 1, 2) if abs(round(100 * value, n) - 100 * value) < 1e-9), 3))

    return FuncFormatter(shown)


def _lines(axes: Any, plot: Plot, words: Translator) -> None:
    right = axes.twinx() if any(line.right for line in plot.lines) else None
    handles = []
    for number, line in enumerate(plot.lines):
        xs, ys = [x for x, _ in line.points], [y for _, y in line.points]
        marked = (line.marked and len(xs) <= 60) or len(xs) == 1  # a line of one point would not be seen
        marker = _MARKERS[number % len(_MARKERS)] if marked else None
        style = "--" if line.right or number >= len(_COLOURS) else "-"
        # A level holds from the point before to its own: a rate is known at the end of the steps that it was used in.
        drawn = "steps-pre" if line.levels else "default"
        where = right if right is not None and line.right else axes
        handles += where.plot(
            xs,
            ys,
            style,
            color=_COLOURS[number % len(_COLOURS)],
            marker=marker,
            markersize=4,
            label=line.label,
            drawstyle=drawn,
        )
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.xaxis.set_major_formatter(_formatter(words))
    if plot.log:
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_formatter(words, per_cent=plot.per_cent))
    axes.yaxis.set_minor_formatter("")
    if right is not None:
        right.set_ylabel(plot.y_right)
        right.yaxis.set_major_formatter(_formatter(words))
        right.spines["right"].set_visible(True)
    axes.grid(linewidth=0.6)
    _limit(axes, [y for line in plot.lines if not line.right for _, y in line.points], plot)
    if len(plot.lines) > 1:
        _legend(axes, [line.label for line in plot.lines], handles=handles)


def _limit(axes: Any, values: list[float], plot: Plot) -> None:
    """A share is never shown below zero; a constant stands in the middle of the height, above zero."""
    if plot.log or not values or min(values) < 0:
        return
    if min(values) == max(values) > 0:
        axes.set_ylim(0, 2 * max(values))
    elif plot.per_cent:
        axes.set_ylim(bottom=0 if max(values) == 0 else max(0.0, axes.get_ylim()[0]))


def _legend(axes: Any, labels: list[str], **options: Any) -> None:
    """The names above the plot, in two columns where they are short enough: one that is too wide would be cut off."""
    half = -(-len(labels) // 2)
    widths = [max(map(len, column), default=0) for column in (labels[:half], labels[half:])]
    columns = 2 if sum(widths) <= _LEGEND_LETTERS else 1
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, **options)


def _bars(axes: Any, plot: Plot, words: Translator) -> None:
    places = range(len(plot.places))
    ends = [0.0] * len(plot.places)
    for number, (name, heights) in enumerate(plot.bars):
        axes.barh(places, heights, left=ends, label=name, color=_COLOURS[number % len(_COLOURS)], height=0.75)
        ends = [end + height for end, height in zip(ends, heights, strict=True)]
    axes.set_yticks(places, plot.places)
    axes.invert_yaxis()
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.xaxis.set_major_formatter(_formatter(words))
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(plot.bars) > 1:
        _legend(axes, [name for name, _ in plot.bars])


def _parallel(axes: Any, plot: Plot, words: Translator) -> None:
    del words
    for heights, good in sorted(plot.paths, key=lambda path: path[1]):
        best = good >= 1
        colour = _COLOURS[1] if best else _COLOURS[0]
        axes.plot(
            range(len(heights)),
            heights,
            color=colour,
            alpha=1.0 if best else 0.3 + 0.5 * good,
            linewidth=2.6 if best else 1.2,
        )
    for place, (_, ticks) in enumerate(plot.axes):
        axes.axvline(place, color=INK, linewidth=1)
        for height, text in ticks:
            last = place == len(plot.axes) - 1
            axes.annotate(
                text,
                (place, height),
                xytext=(5 if last else -5, 0),
                textcoords="offset points",
                va="center",
                ha="left" if last else "right",
                fontsize=8.5,
            )
    axes.set_xticks(range(len(plot.axes)), [title for title, _ in plot.axes])
    axes.set_yticks([])
    axes.set_xlim(-0.35, len(plot.axes) - 0.65)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
