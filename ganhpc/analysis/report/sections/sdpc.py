"""The section on sparse codes: dictionaries, codes and reconstructions of each layer, one inference step by step, and the effects of feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganhpc.analysis.report.elements import (
    Block,
    Cell,
    Column,
    Gallery,
    Line,
    Note,
    Paragraph,
    Picture,
    Plot,
    Section,
    Table,
)
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.thumbnails import part
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.runs.sdpc_grid import rows_of

_WIDTH = 900
"""Pixels: a picture takes the width of the page."""
_FIGURES = ("error", "active")
"""Figures of each layer."""
_WHOLE = ("total_cost", "iterations", "ssim")
_EXPECTED = (("error_1", 1), ("error_2", -1), ("active_1", 1), ("iterations", -1))
"""Published signs of what rises with feedback (1) and what falls (-1): Boutin et al., 2020."""


def section(each: RunData, words: Translator) -> Section | None:
    """None for a run that learns no sparse codes."""
    if each.definition.get("task") != "sdpc":
        return None
    blocks = [*_pictures(each, words), *_inference(each, words), *_effects(each, words)]
    return Section("sparse-codes", words("sdpc.title"), [Paragraph(words("sdpc.text")), *blocks]) if blocks else None


# -- pictures -----------------------------------------------------------------------------------------------------------------


def _pictures(each: RunData, words: Translator) -> list[Block]:
    """The last grid, cut into its parts."""
    if not each.grids:
        return []
    found: list[Picture] = []
    bands = rows_of(each.definition)
    total = bands[-1].end if bands else 0
    for band in bands:
        layer = words.count(band.layer)
        caption = words(f"sdpc.{band.what}", layer=layer)
        name = f"sdpc-{band.what}-{band.layer}"
        if picture := part(each.grids[-1], band.first / total, band.end / total, _WIDTH, name, caption):
            found.append(picture)
    return [Gallery(found, wide=True)] if found else [Note(words("gan.no_samples"))]


# -- one inference --------------------------------------------------------------------------------------------------------------


def _inference(each: RunData, words: Translator) -> list[Block]:
    """Energies and active units of the layers over the iterations of the last evaluation's inference."""
    blocks: list[Block] = []
    for key, name in (("energies", "energy"), ("active_units", "active")):
        rows = _rows(each.evaluation.get(key))
        layers = min(map(len, rows), default=0)
        lines = [
            Line(
                words("sdpc.layer", layer=words.count(n + 1)),
                [(float(k), row[n]) for k, row in enumerate(rows, 1)],
            )
            for n in range(layers)
        ]
        if lines:
            caption = words(f"sdpc.{name}_text", n=words.count(len(rows)))
            ends = "; ".join(
                f"{line.label}{words.colon}{words.number(line.points[0][1])} → {words.number(line.points[-1][1])}"
                for line in lines
            )
            blocks.append(
                Plot(
                    f"sdpc-{name}",
                    caption,
                    f"{caption} {ends}.",
                    x=words("axis.iteration"),
                    y=words(f"axis.{name}"),
                    lines=lines,
                    per_cent=name == "active",
                    log=name == "energy" and all(y > 0 for line in lines for _, y in line.points),
                )
            )
    return blocks


def _rows(tree: Any) -> list[list[float]]:
    """Rows of numbers; [] where the file holds something else."""
    if not isinstance(tree, list):
        return []
    rows = [row for row in tree if isinstance(row, list) and row and all(map(is_finite, row))]
    return rows if len(rows) == len(tree) else []


# -- feedback -----------------------------------------------------------------------------------------------------------------


def _effects(each: RunData, words: Translator) -> list[Block]:
    """The table of measures for each strength of feedback, and a sentence on the published signs."""
    tree = each.evaluation.get("feedback_effect")
    found = tree.get("rows") if isinstance(tree, Mapping) else None
    rows = [row for row in found if isinstance(row, Mapping) and is_finite(row.get("feedback"))] if isinstance(found, list) else []  # fmt: skip
    if not rows or not isinstance(tree, Mapping):
        return []
    names = [name for kind in _FIGURES for name in _layered(rows, kind)]
    names += [name for name in _WHOLE if any(is_finite(row.get(name)) for row in rows)]
    columns = [Column(words("sdpc.feedback"), True), *(Column(words.name("figure", name), True) for name in names)]
    cells = [[Cell(words.plain(float(row["feedback"]))), *(_cell(row.get(name), name, words) for name in names)] for row in rows]  # fmt: skip
    text = words("sdpc.effects_text", n=words.count(tree.get("images")), noisy=words.number(tree.get("ssim_noisy")))
    return [Paragraph(text), Table(words("sdpc.effects"), columns, cells), Paragraph(_signs(rows, words))]


def _layered(rows: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    names = {name for row in rows for name in row if str(name).startswith(f"{kind}_") and is_finite(row[name])}
    return sorted(names, key=lambda name: (len(name), name))


def _cell(value: Any, name: str, words: Translator) -> Cell:
    if not is_finite(value):
        return Cell(words.missing)
    return Cell(figure(words, name, value), float(value))


def _signs(rows: Sequence[Mapping[str, Any]], words: Translator) -> str:
    """A sentence with the figures that change from the weakest to the strongest feedback as published, and those that do not."""
    ordered = sorted(rows, key=lambda row: float(row["feedback"]))
    first, last = ordered[0], ordered[-1]
    as_published: list[str] = []
    otherwise: list[str] = []
    for name, sign in _EXPECTED:
        if is_finite(first.get(name)) and is_finite(last.get(name)):
            change = (float(last[name]) - float(first[name])) * sign
            (as_published if change > 0 else otherwise).append(words.name("figure", name))
    return words("sdpc.signs", yes="; ".join(as_published) or words.missing, no="; ".join(otherwise) or words.missing)
