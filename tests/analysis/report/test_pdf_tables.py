"""Tables of a PDF: each column has room for its longest word, as far as letters that can be read allow it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ganhpc.analysis.report import render_pdf
from ganhpc.analysis.report.elements import Cell, Column, Document, Section, Table

TITLES = (
    "époque",
    "coût (entraînement)",
    "images/s",
    "taux d’apprentissage",
    "opérations/s",
    "précision",
    "temps",
    "±",
    "n",
    "paramètres",
)


def written(path: Path, *tables: Table) -> str:
    """The words of a PDF with these tables."""
    render_pdf.write(Document("Titre", "", "fr", [Section("s", "Section", tables)]), path)
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow  # it loads matplotlib for its fonts
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext here: apt-get install poppler-utils")
@pytest.mark.parametrize("columns", [3, 7, 8, 10])
def test_no_word_of_a_title_is_broken(tmp_path: Path, columns: int) -> None:
    titles = TITLES[:columns]
    rows = [[Cell(f"variante-{k}-lr0.0001" if not n else f"{k * n}") for n in range(columns)] for k in range(3)]
    shown = written(tmp_path / "t.pdf", Table("Table", [Column(title, True) for title in titles], rows))
    assert not [word for title in titles for word in title.split(" ") if word not in shown]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext here: apt-get install poppler-utils")
def test_tables_without_room_or_without_words_are_written(tmp_path: Path) -> None:
    wide = Table("Large", [Column("w" * 60)] * 20, [[Cell("h" * 300)] * 20])
    empty = Table("Vide", [Column("")] * 3, [])
    shown = written(tmp_path / "t.pdf", wide, empty)
    assert "Large" in shown and "Vide" in shown and "ww" in shown
