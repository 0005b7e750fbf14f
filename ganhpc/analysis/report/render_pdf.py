"""A report as PDF, by fpdf2 (an optional package), with the fonts that matplotlib brings."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ganhpc.analysis.report import plots
from ganhpc.analysis.report.elements import (
    Block,
    Code,
    DefinitionList,
    Document,
    Gallery,
    Note,
    Paragraph,
    Plot,
    Section,
    Table,
)
from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open

_HEADING = {1: 18, 2: 13.5, 3: 11.5}
TEXT, SMALL = 9.5, 7.5
_WIDE = 7
"""A table of more columns is printed smaller."""
_LEAST = 4.5
"""Smallest letters of a table, in points: where words need more room still, they are broken."""
_PADDING = 0.6
"""Millimetres beside and above what stands in a cell."""
_LONGEST = 0.2
"""Share of the page's width from which on a word (a path, a hash) may be broken."""


def write(doc: Document, path: Path) -> None:
    """Write the report to `path`. Raises UserError where fpdf2 is missing or the file can't be written."""
    try:
        from fpdf import FPDF
    except ImportError:
        raise UserError(
            "--format pdf needs the package fpdf2, which is not installed: type `python -m pip install 'fpdf2>=2.8,<3'`, or choose "
            "--format html."
        ) from None
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pdf = FPDF(format="A4")
    for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
        pdf.add_font("text", style, fonts / file)
    pdf.add_font("mono", "", fonts / "DejaVuSansMono.ttf")
    pdf.set_margins(18, 16, 18)
    pdf.set_auto_page_break(True, 18)
    pdf.set_title(doc.title)
    pdf.set_lang(doc.lang)
    pdf.add_page()
    _heading(pdf, doc.title, 1)
    _words(pdf, doc.subtitle)
    if doc.figures:
        _facts(pdf, doc.figures)
    for section in doc.sections:
        _section(pdf, section, 2, doc)
    pdf.ln(4)
    _words(pdf, doc.made, SMALL)
    with atomic_open(path, durable=False) as target:
        target.write(bytes(pdf.output()))


def _printable(text: str) -> str:
    """Text without what a PDF's fonts can't draw."""
    return "".join(c if c.isprintable() or c in "\n" + "\u202f\u00a0" else "\ufffd" for c in text)


def _words(pdf: Any, text: str, size: float = TEXT, style: str = "", **options: Any) -> None:
    pdf.set_font("text", style, size)
    pdf.multi_cell(0, size * 0.5, _printable(text), align="L", new_x="LMARGIN", new_y="NEXT", **options)
    pdf.ln(1.5)


def _heading(pdf: Any, text: str, level: int) -> None:
    if pdf.will_page_break(30):
        pdf.add_page()
    pdf.ln(3 if level > 1 else 0)
    with pdf.local_context():
        if level > 1:
            pdf.start_section(_printable(text), level=level - 2)
    _words(pdf, text, _HEADING[level], "B")


def _section(pdf: Any, section: Section, level: int, doc: Document) -> None:
    _heading(pdf, section.title, level)
    for block in section.blocks:
        _block(pdf, block, doc)
    for part in section.parts:
        _section(pdf, part, level + 1, doc)


def _block(pdf: Any, block: Block, doc: Document) -> None:
    if isinstance(block, Paragraph):
        _words(pdf, block.text)
    elif isinstance(block, Note):
        pdf.set_fill_color(255, 244, 224)
        _words(pdf, block.text, fill=True)
    elif isinstance(block, Code):
        _words(pdf, block.caption, SMALL + 1, "B")
        pdf.set_font("mono", "", 6.6)
        pdf.multi_cell(0, 3.3, _printable(block.text), align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(2)
    elif isinstance(block, DefinitionList):
        _facts(pdf, block.rows)
    elif isinstance(block, Table):
        _table(pdf, block)
    elif isinstance(block, Plot):
        _image(pdf, plots.png(block, doc.words), 120, block.alt, block.caption)
    elif isinstance(block, Gallery):
        for picture in block.pictures:
            _image(pdf, picture.data, 70, picture.alt, picture.caption)


def _image(pdf: Any, data: bytes, width: float, alt: str, caption: str) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        height = width * image.height / image.width
    if pdf.will_page_break(height + 8):
        pdf.add_page()
    pdf.image(io.BytesIO(data), w=width, h=height, alt_text=_printable(alt))
    pdf.ln(1)
    _words(pdf, caption, SMALL)


def _facts(pdf: Any, rows: Any) -> None:
    pdf.set_font("text", "", SMALL + 1)
    with pdf.table(
        first_row_as_headings=False, col_widths=(2, 3), borders_layout="HORIZONTAL_LINES", line_height=4.6, align="L"
    ) as table:
        for name, value in rows:
            row = table.row()
            row.cell(_printable(name))
            row.cell(_printable(value))
    pdf.ln(2)


def _table(pdf: Any, block: Table) -> None:
    from fpdf.fonts import FontFace

    _words(pdf, block.caption, SMALL + 1, "B")
    size, widths = _fitted(pdf, block)
    pdf.set_font("text", "", size)
    aligned = tuple("RIGHT" if column.number else "LEFT" for column in block.columns)
    titles = FontFace(emphasis="BOLD", fill_color=(243, 245, 248))
    rows = [*block.rows, *([block.foot] if block.foot else [])]
    with pdf.table(
        col_widths=widths,
        text_align=aligned,
        borders_layout="HORIZONTAL_LINES",
        line_height=size * 0.5,
        padding=_PADDING,
        headings_style=titles,
    ) as table:
        table.row([_printable(column.title) for column in block.columns])
        for cells in rows:
            row = table.row()
            for cell in cells:
                shade = (
                    None
                    if cell.heat is None
                    else tuple(round(255 - 0.45 * cell.heat * (255 - c)) for c in (29, 95, 166))
                )
                row.cell(
                    _printable(cell.text), style=FontFace(emphasis="BOLD" if cell.best else None, fill_color=shade)
                )
    pdf.ln(3)


def _fitted(pdf: Any, block: Table) -> tuple[float, tuple[float, ...]]:
    """(points of a table's letters, millimetres of each column): the page's width, shared so that no column is narrower than its longest
    word, and by the longest texts beyond that."""
    pdf.set_font("text", "B", SMALL)
    columns = [[column.title, *(row[k].text for row in block.rows)] for k, column in enumerate(block.columns)]
    texts = [_widest(pdf, cells) for cells in columns]
    words = [_widest(pdf, (word for text in cells for word in re.split("[ \n]", text))) for cells in columns]
    beside = 2 * _PADDING + 4 * pdf.line_width  # the borders, and rounding
    size = SMALL if len(block.columns) <= _WIDE else SMALL - 1.5
    while True:
        least = [min(word * size / SMALL, _LONGEST * pdf.epw) + beside for word in words]
        rest = pdf.epw - sum(least)
        if rest >= 0 or size <= _LEAST:
            break
        size -= 0.5
    if rest < 0:
        return size, tuple(width * pdf.epw / sum(least) for width in least)
    more = [
        max(0.1, min(text * size / SMALL, 2 * _LONGEST * pdf.epw) - width)
        for text, width in zip(texts, least, strict=True)
    ]
    return size, tuple(width + rest * each / sum(more) for width, each in zip(least, more, strict=True))


def _widest(pdf: Any, texts: Iterable[str]) -> float:
    """Width of the widest of `texts` in the present letters, in millimetres."""
    return max((pdf.get_string_width(_printable(text)) for text in set(texts)), default=0.0)
