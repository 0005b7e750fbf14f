"""The console of rich that commands print through: what is foreign is shown as it is."""

from __future__ import annotations

import io

import pytest

from ganhpc.cli.output import in_markup, screen


@pytest.mark.parametrize("name", ["runs/a:apple:b", "x[red]y", "one\x1b[2Jtwo", "two\nlines"])
def test_a_foreign_word_is_neither_a_picture_nor_a_colour_nor_obeyed(name: str) -> None:
    """A run's folder may be called :apple:, which rich makes a picture of where it is let."""
    file = io.StringIO()
    screen(file=file, width=100, force_terminal=False).print(f"[bold]run[/] {in_markup(name)}")
    assert file.getvalue() == f"run {name.replace(chr(27), chr(92) + 'e').replace(chr(10), chr(92) + 'n')}\n"
