"""The console of rich that commands print through: what is foreign is shown as it is."""

from __future__ import annotations

import io
import os

import pytest

from ganhpc.cli.output import in_markup, screen


@pytest.mark.parametrize("name", ["runs/a:apple:b", "x[red]y", "one\x1b[2Jtwo", "two\nlines"])
def test_a_foreign_word_is_neither_a_picture_nor_a_colour_nor_obeyed(name: str) -> None:
    """A run's folder may be called :apple:, which rich makes a picture of where it is let."""
    file = io.StringIO()
    screen(file=file, width=100, force_terminal=False).print(f"[bold]run[/] {in_markup(name)}")
    assert file.getvalue() == f"run {name.replace(chr(27), chr(92) + 'e').replace(chr(10), chr(92) + 'n')}\n"


@pytest.mark.parametrize(
    ("columns", "width"), [("0", 80), ("1", 80), ("19", 80), ("20", 20), ("200", 200), ("9" * 30, 80), ("²", 80)]
)
def test_a_width_in_which_nothing_can_be_read_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert screen().width == width


def test_a_reader_that_has_left_is_an_error_to_handle() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file, pytest.raises(BrokenPipeError):
        try:
            screen(file=file).print("a line")
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
