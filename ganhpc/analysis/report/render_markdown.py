"""A report as Markdown, its pictures in a folder beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ganhpc.analysis.report import plots
from ganhpc.analysis.report.elements import (
    Block,
    Code,
    DefinitionList,
    Document,
    Gallery,
    Note,
    Paragraph,
    Picture,
    Plot,
    Section,
    Table,
    safe_word,
)
from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, storage_errors
from ganhpc.core.printable import in_markdown, visible

_BEGINS_A_LIST = re.compile(r"^\s*(?:(?=[-+](?!\d))|\d{1,9}(?=[.)](?:\s|$)))")
"""Beginning of a text that Markdown would take for a list, up to its sign. Numbers such as 0.25 or -3 are none: they are copied as they are."""


def _escaped(text: str) -> str:
    """`text` so that Markdown shows it as it is, in one line."""
    one = " ".join(text.split("\n"))
    return _BEGINS_A_LIST.sub(lambda found: found[0] + "\\", in_markdown(one))


def write(doc: Document, path: Path) -> None:
    """Write the report to `path`, and its pictures into the folder <name>_files beside it. Raises UserError where it can't."""
    folder = path.with_name(f"{path.stem}_files")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and the pictures would go there: choose another name with --out.")
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
    parts = [f"# {_escaped(doc.title)}", _escaped(doc.subtitle)]
    if doc.figures:
        parts.append(
            "\n".join(f"- {_escaped(name)}{doc.words.colon}**{_escaped(value)}**" for name, value in doc.figures)
        )
    for section in doc.sections:
        parts += _section(section, 2, folder, doc)
    parts.append(f"---\n\n{_escaped(doc.made)}")
    with atomic_open(path, durable=False) as file:
        file.write(visible("\n\n".join(parts) + "\n").encode())  # names of files may hold any bytes


def _section(section: Section, level: int, folder: Path, doc: Document) -> Iterator[str]:
    yield f"{'#' * level} {_escaped(section.title)}"
    for block in section.blocks:
        yield from _block(block, folder, doc)
    for part in section.parts:
        yield from _section(part, level + 1, folder, doc)


def _block(block: Block, folder: Path, doc: Document) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _escaped(block.text)
    elif isinstance(block, Note):
        yield f"> **{_escaped(block.text)}**"
    elif isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
        yield f"{_escaped(block.caption)}\n\n{fence}text\n{block.text}\n{fence}"
    elif isinstance(block, DefinitionList):
        yield "\n".join(f"- {_escaped(name)}{doc.words.colon}{_escaped(value)}" for name, value in block.rows)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Plot):
        yield _picture(
            Picture(block.name, block.caption, block.alt, plots.png(block, doc.words), "image/png", 0, 0), folder
        )
    elif isinstance(block, Gallery):
        yield from (_picture(picture, folder) for picture in block.pictures)


def _picture(picture: Picture, folder: Path) -> str:
    name = f"{safe_word(picture.name)}.{'jpg' if picture.mime == 'image/jpeg' else 'png'}"
    with atomic_open(folder / name, durable=False) as file:
        file.write(picture.data)
    there = "".join(
        c if c.isalnum() or c in "._-" else "".join(f"%{b:02X}" for b in os.fsencode(c)) for c in folder.name
    )
    return f"![{_escaped(picture.alt)}]({there}/{name})\n\n*{_escaped(picture.caption)}*"


def _table(table: Table) -> str:
    marks = ["---:" if column.number else "---" for column in table.columns]
    rows = [[_escaped(column.title) for column in table.columns], marks]
    rows += [
        [f"**{_escaped(c.text)}**" if c.best and c.text else _escaped(c.text) for c in row]
        for row in (*table.rows, *([table.foot] if table.foot else []))
    ]
    return f"{_escaped(table.caption)}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
