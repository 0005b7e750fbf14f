"""The two ways in which commands print: lines, and what rich lays out; neither lets through what a terminal would obey."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ganhpc.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
    from rich.measure import Measurement

_LONGEST = 1_000_000
_LEAST_COLUMNS, _MOST_COLUMNS = 20, 10_000
"""A width of the screen outside of these counts as none."""


def say(text: object = "", *, err: bool = False) -> None:
    """Print `text`, line by line. A path or foreign text in it goes through `printable` first: here its line breaks would be ours."""
    click.echo("\n".join(_line(line) for line in str(text).split("\n")), err=err)


def screen(**how: Any) -> Console:
    """A console of rich whose texts are shown and not obeyed, words between colons among them; styles and bars are its own."""
    from rich.console import Console

    class Screen(Console):
        """As rich's, which would end the program by itself where the reader of its output has left."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None

    console = Screen(**{"emoji": False, "_environ": _with_columns(os.environ), **how})
    console.push_render_hook(_Hook())  # type: ignore[arg-type]
    return console


def _with_columns(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without a COLUMNS in which no table can be read."""
    text = environ.get("COLUMNS", "")
    good = len(text) < 6 and text.isdecimal() and _LEAST_COLUMNS <= int(text) <= _MOST_COLUMNS
    return {name: value for name, value in environ.items() if good or name != "COLUMNS"}


def in_markup(text: object) -> str:
    """A path or foreign text as one line within a text that rich reads for its marks, such as [red]."""
    from rich.markup import escape

    return escape(printable(text))


def _line(text: str) -> str:
    return text if text.isprintable() else printable(text.expandtabs(8), _LONGEST)


class _Hook:
    """Wraps whatever a console prints."""

    def process_renderables(self, renderables: Iterable[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(each) for each in renderables]


class _Shown:
    """Another renderable, its texts escaped once it is laid out."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for segment in console.render(self.inner, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment("\n".join(_line(line) for line in text.split("\n")), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement.get(console, options, self.inner)
