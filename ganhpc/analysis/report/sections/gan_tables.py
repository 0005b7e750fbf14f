"""The tables of what translators and conditional generators are worth, with the references that say so, and a sentence on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganhpc.analysis.report.elements import Block, Cell, Column, Note, Paragraph, Section, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.translation import Translator, is_finite

_CLEARLY = 0.9
"""A distance is clearly below another one from this share of it on."""
_HIDDEN = 1.5
"""An error of the cycle that disturbed translations raise so many times says that the source is hidden in them."""
_DIRECTIONS = ("a2b", "b2a")
_CANDIDATES = ("translated", "floor", "nothing", "colour", "untrained")


def _number(tree: Any, *path: str) -> float | None:
    """The number at `path` of a tree that was read from a file, None where there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return float(tree) if is_finite(tree) else None


def _cell(words: Translator, value: float | None, digits: int = 3, *, is_share: bool = False) -> Cell:
    shown = words.per_cent(value, 1) if is_share else words.number(value, digits)
    return Cell(shown, value if value is not None else -1.0)


def translation(each: RunData, words: Translator) -> Section:
    """Distances of translations beside the four references, cycles and what else was measured, and whether anything was translated."""
    tree = each.evaluation.get("translation")
    title = words("translation.title")
    if not isinstance(tree, Mapping) or not any(_number(tree, way, "frechet", "translated") for way in _DIRECTIONS):
        return Section("translation", title, [])
    blocks: list[Block] = [Paragraph(words("translation.text", n=words.count(_number(tree, "images"))))]
    for way in _DIRECTIONS:
        blocks += [_verdict(tree, way, words)]
    columns = [Column(words("translation.pictures"))]
    columns += [
        Column(f"{name} {words(f'translation.{way}')}", True)
        for way in _DIRECTIONS
        for name in ("FD-EffLite0", "KD-EffLite0")
    ]
    rows = [
        [
            Cell(words(f"translation.{name}")),
            *(_cell(words, _number(tree, way, kind, name)) for way in _DIRECTIONS for kind in ("frechet", "kernel")),
        ]
        for name in _CANDIDATES
    ]
    blocks.append(Table(words("translation.distances"), columns, rows))
    columns = [Column(words("column.quantity")), *(Column(words(f"translation.{way}"), True) for way in _DIRECTIONS)]
    others = (
        ("cycle", "plain"),
        ("cycle", "noise"),
        ("cycle", "jpeg"),
        ("identity",),
        ("content", "kept"),
        ("content", "chance"),
        ("diversity", "translated"),
        ("diversity", "target"),
    )
    rows = [
        [
            Cell(words("translation." + "_".join(path))),
            *(_cell(words, _number(tree, way, *path), is_share=path[0] == "content") for way in _DIRECTIONS),
        ]
        for path in others
    ]
    blocks.append(Table(words("translation.others"), columns, rows))
    return Section("translation", title, blocks)


def _verdict(tree: Any, way: str, words: Translator) -> Block:
    """Verdict on a translation: the distance against doing nothing and colour transfer; what the cycle hides."""
    found = {name: _number(tree, way, "frechet", name) for name in _CANDIDATES}
    translated, nothing, colour = found["translated"], found["nothing"], found["colour"]
    direction = words(f"translation.{way}")
    if translated is None or nothing is None or colour is None:
        return Note(words("translation.unknown", direction=direction))
    values = {
        "direction": direction,
        "translated": words.number(translated),
        "nothing": words.number(nothing),
        "colour": words.number(colour),
    }
    clearly = translated < _CLEARLY * min(nothing, colour)
    said = words("translation.yes" if clearly else "translation.no", **values)
    plain = _number(tree, way, "cycle", "plain")
    disturbed = [error for kind in ("noise", "jpeg") if (error := _number(tree, way, "cycle", kind)) is not None]
    if plain and disturbed and max(disturbed) > _HIDDEN * plain:
        said += " " + words("translation.hidden", plain=words.number(plain), disturbed=words.number(max(disturbed)))
    return Paragraph(said) if clearly else Note(said)


def conditional(each: RunData, words: Translator) -> Section:
    """Table of the measures of each class of a conditional generator, beside real pictures."""
    tree = each.evaluation.get("conditional")
    classes = tree.get("classes") if isinstance(tree, Mapping) else None
    title = words("conditional.title")
    if not isinstance(classes, Mapping) or not classes:
        return Section("conditional", title, [])
    row = each.row
    blocks: list[Block] = [Paragraph(words("conditional.text"))]
    accuracy, ceiling = row.get("class_accuracy"), row.get("class_accuracy_real")
    if is_finite(accuracy) and is_finite(ceiling):
        chance = 1 / len(classes)
        said = words(
            "conditional.sentence",
            accuracy=words.per_cent(accuracy, 1),
            ceiling=words.per_cent(ceiling, 1),
            chance=words.per_cent(chance, 1),
        )
        blocks.append(Paragraph(said))
    names = ("n", "FD-EffLite0", "FD-EffLite0-train", "accuracy", "accuracy_real", "diversity", "diversity_real")
    columns = [Column(words("conditional.class"))]
    columns += [
        Column(words(f"conditional.{name.replace('FD-EffLite0', 'distance').replace('-', '_')}"), True)
        for name in names
    ]
    rows = []
    for name, about in classes.items():
        cells = [Cell(str(name))]
        for key in names:
            value = _number(about, key)
            shown = words.per_cent(value, 1) if key.startswith("accuracy") else words.number(value)
            cells.append(Cell(words.count(value) if key == "n" else shown, value if value is not None else -1.0))
        rows.append(cells)
    blocks.append(Table(words("conditional.table"), columns, rows, sortable=True))
    return Section("conditional", title, blocks)
