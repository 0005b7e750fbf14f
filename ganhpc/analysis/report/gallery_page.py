"""A gallery of all runs as one page: a picture, the key figures and links of each"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from ganhpc import __version__
from ganhpc.analysis.report import render_html
from ganhpc.analysis.report.elements import Document, Line, Picture, Plot
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.thumbnails import small
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.analysis.results import rows as results
from ganhpc.analysis.results.rows import Row
from ganhpc.core.printable import printable_tree
from ganhpc.runs.figures import is_share
from ganhpc.runs.run_folder import Run

_SIDE = 220
_MOST_PICTURES = 120
"""So many runs have a picture, finished ones and the newest first: a page of all would be too heavy to open."""


@dataclass(frozen=True)
class _Card:
    """One run on the page."""

    title: str
    state: str
    reason: str
    facts: list[tuple[str, str]]
    picture: Picture | None
    plot: Plot | None
    folder: str
    report: str
    """Links relative to the page; the second is empty where there is no report."""


def page(runs: Path, out: Path, words: Translator, warn: Callable[[str], None]) -> tuple[str, int]:
    """(the gallery of the runs below `runs` as HTML, how many there are). Links are relative to the file `out`."""
    found = results.rows(runs, warn)
    order = sorted(found, key=lambda row: (row["state"] != "done", -_changed(row)))
    pictured = {row["folder"] for row in order[:_MOST_PICTURES]}
    cards = [_card(row, out.absolute().parent, words, pictured=row["folder"] in pictured) for row in order]
    left = max(0, len(found) - _MOST_PICTURES)
    made = words("report.made", date=words.date(datetime.now().isoformat(timespec="minutes")), version=__version__)
    doc = Document(words("gallery.title"), words.several("gallery.runs", len(found)), words.lang, (), (), made, words)
    more = words.several("gallery.more", left) if left else ""
    return render_html.page("gallery.html", words, doc=doc, cards=cards, more=more), len(found)


def _changed(row: Row) -> float:
    try:
        return Path(row["folder"]).stat().st_mtime
    except OSError:
        return 0.0


def _card(row: Row, beside: Path, words: Translator, *, pictured: bool) -> _Card:
    row = {**printable_tree(row), "folder": row["folder"]}
    each = RunData(Run(Path(row["folder"])), row)
    name = f"{row['experiment']}/{row['run']}"
    headline = str(row.get("headline") or "test_accuracy")
    facts = (
        [(words.name("figure", headline), figure(words, headline, row[headline]))]
        if is_finite(row.get(headline))
        else []
    )
    for key, shown in (("params", words.count), ("epochs", words.number)):
        if is_finite(row.get(key)):
            facts.append((words(f"column.{key}"), shown(row[key])))
    if is_finite(row.get("train_seconds")):
        facts.append((words("column.time"), words.seconds(row["train_seconds"])))
    picture = _samples(each, name, words) if pictured else None
    plot = _curve(each, headline, name, words) if pictured and picture is None else None
    report = beside / f"report-{Path(row['folder']).name}.html"
    return _Card(
        name,
        words.name("state", str(row["state"])),
        str(row.get("reason") or ""),
        facts,
        picture,
        plot,
        quote(os.fsencode(os.path.relpath(row["folder"], beside))) + "/",
        quote(os.fsencode(report.name)) if os.path.isfile(report) else "",  # noqa: PTH113 (a name may be too long)
    )


def _samples(each: RunData, name: str, words: Translator) -> Picture | None:
    return small(each.grids[-1], _SIDE, "samples", "", words("gallery.alt", run=name)) if each.grids else None


def _curve(each: RunData, headline: str, name: str, words: Translator) -> Plot | None:
    points = each.series(headline)
    if len(points) < 2:
        return None
    title = words.name("figure", headline)
    alt = words("gallery.curve_alt", figure=title, run=name)
    line = Line(title, points[:: max(1, len(points) // 60)], marked=True)
    unique = "curve-" + "".join(c for c in name if c.isalnum())
    return Plot(unique, "", alt, x=words("axis.epoch"), y=title, lines=(line,), per_cent=is_share(headline))
