"""Pieces that several commands share: options in named sections, and the folder of runs."""

from __future__ import annotations

from typing import Any

import click

from ganhpc import site


class Sections(click.Command):
    """A command whose help lists its options under headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: list[tuple[str, list[click.Option]]] = []

    def add(self, title: str, *options: click.Option) -> None:
        """Add options under a heading."""
        self.sections.append((title, list(options)))
        self.params.extend(options)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, options in self.sections:
            rows = [record for option in options if (record := option.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=34)


def RUNS() -> click.Option:
    """--runs DIR: typed, in GANHPC_RUNS, configured, or `runs` here."""
    return click.Option(
        ["--runs"], metavar="DIR", envvar="GANHPC_RUNS", default=_configured_runs, help="folder of run folders  [default: runs, or as configured]"
    )  # fmt: skip


def _configured_runs() -> str:
    configured = site.load().runs
    return str(configured) if configured else "runs"
