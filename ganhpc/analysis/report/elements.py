"""Elements of a report, before it becomes HTML, Markdown or PDF: plain data, with text that nobody has escaped yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ganhpc.core.digests import short_digest


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Note:
    """A note that a reader must not miss: a run that failed, a file that could not be read."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines kept as they are."""

    caption: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    sort: float | str | None = None
    """Sort key (None: its text)."""
    heat: float | None = None
    """Its shade, from 0 (none) to 1; what a file holds beyond is brought there."""
    best: bool = False

    def __post_init__(self) -> None:
        if self.heat is not None:
            object.__setattr__(self, "heat", min(1.0, max(0.0, self.heat)))


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers."""

    title: str
    number: bool = False
    hint: str = ""
    """The title in full, where it is an abbreviation."""


@dataclass(frozen=True)
class Table:
    """The first cell of each row is the row's heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    folded: bool = False
    foot: Sequence[Cell] = ()


@dataclass(frozen=True)
class DefinitionList:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y) in the order of x."""

    label: str
    points: Sequence[tuple[float, float]]
    marked: bool = False
    """Show each point."""
    right: bool = False
    """Against the axis on the right."""
    levels: bool = False
    """Horizontal up to each point, then a jump to the next level, instead of a slope."""


@dataclass(frozen=True)
class Plot:
    """A drawing of curves (`lines`), of bars laid end to end (`bars`), or of parallel axes (`parallel`)."""

    name: str
    """A word for files and ids."""
    caption: str
    alt: str
    kind: str = "lines"
    x: str = ""
    y: str = ""
    y_right: str = ""
    lines: Sequence[Line] = ()
    per_cent: bool = False
    log: bool = False
    bars: Sequence[tuple[str, Sequence[float]]] = ()
    """(name, one height for each place in `places`)."""
    places: Sequence[str] = ()
    axes: Sequence[tuple[str, Sequence[tuple[float, str]]]] = ()
    """parallel: (title, ticks as (height in [0, 1], text))."""
    paths: Sequence[tuple[Sequence[float], float]] = ()
    """parallel: (heights in [0, 1] on each axis, how good in [0, 1])."""


@dataclass(frozen=True)
class Picture:
    """An image that a run left: encoded bytes."""

    name: str
    caption: str
    alt: str
    data: bytes
    mime: str
    width: int
    height: int
    link: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside one another; `wide` ones below one another."""

    pictures: Sequence[Picture]
    wide: bool = False


Block = Paragraph | Note | Code | Table | DefinitionList | Plot | Gallery


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it. Sections lie one deep in another at most."""

    id: str
    title: str
    blocks: Sequence[Block]
    parts: Sequence[Section] = ()


@dataclass(frozen=True)
class Document:
    """A whole report. `figures` are the few numbers at its top: (name, value)."""

    title: str
    subtitle: str
    lang: str
    sections: Sequence[Section]
    figures: Sequence[tuple[str, str]] = ()
    made: str = ""
    words: Any = field(default=None, compare=False)
    """The language's `Translator`, for the few words that a form of output adds itself."""


def safe_word(name: str) -> str:
    """A plot's or picture's name, which may have a figure's in it that a program has given, as a word of files and of ids in pages."""
    word = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    return word if word == name else f"{word[:80]}-{short_digest(name, 6)}"
