"""`report RUN...`: the account of runs, a scan or an experiment as HTML, Markdown or PDF, from run folders alone"""

from __future__ import annotations

from pathlib import Path

import click

from ganhpc.analysis.report.translation import LANGUAGES
from ganhpc.cli.common_options import RUNS, Sections, TypedPath
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open
from ganhpc.core.typed_command import typed_command

FORMATS = ("html", "md", "pdf")

command = Sections(
    "report",
    callback=lambda **values: report(**values),
    help="The account that the course asks for, made from run folders alone: no data, no GPU. RUN is a run (its folder, its name, "
    "or a part of it), a scan (its name or file), or an experiment: all its runs.",
)
command.params.append(click.Argument(["names"], metavar="RUN...", nargs=-1, required=True))
command.add(
    "Form",
    click.Option(["--lang"], type=click.Choice(LANGUAGES), default="en", show_default=True, help="language"),
    click.Option(
        ["--format", "form"],
        type=click.Choice(FORMATS),
        help="html: one file that opens offline; md: pictures in a folder beside it  [default: as --out ends, else html]",
    ),
)
command.add(
    "Files",
    click.Option(["--out"], type=TypedPath(), metavar="FILE", help="where to  [default: report-<name>.<format> here]"),
    RUNS(),
)


def report(names: tuple[str, ...], lang: str, form: str | None, out: str | None, runs: str) -> None:
    """Write the report, and say where it is."""
    from ganhpc.analysis.report import document, render_html, render_markdown, render_pdf, selection
    from ganhpc.analysis.report.translation import Translator

    subjects, stem = selection.find(names, Path(runs))
    form, path = _file(form, out, stem)
    doc = document.document(subjects, Translator(lang), lambda sentence: say(sentence, err=True))
    if not doc.sections:
        raise UserError(
            f"there is no run that could be read in {', '.join(names)}: `{typed_command('results', runs=Path(runs))}` lists runs."
        )
    if form == "html":
        with atomic_open(path, durable=False) as file:
            file.write(render_html.render(doc).encode(errors="backslashreplace"))  # names of files may hold any bytes
    else:
        {"md": render_markdown.write, "pdf": render_pdf.write}[form](doc, path)
    name = " ".join(f"{doc.title}, {doc.subtitle}".split())  # no-break spaces are for the page
    say(f"{path}: {name} ({max(1, path.stat().st_size // 1000):,} kB)")


def _file(form: str | None, out: str | None, stem: str) -> tuple[str, Path]:
    """(the form, the file). Raises UserError where they contradict one another or the folder does not exist."""
    ending = (
        Path(out or "")
        .suffix.lower()
        .lstrip(".")
        .replace("markdown", "md")
        .replace("htm", "html")
        .replace("htmll", "html")
    )
    if out and form is None and ending not in FORMATS:
        raise UserError(f"--out {out}: its ending is none of {', '.join(FORMATS)}: add one, or say --format FORMAT.")
    form = form or ending or "html"
    path = Path(out or f"report-{stem}.{form}")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file in it, such as {path / f'report.{form}'}.")
    # As the administrator one would take its place: links such as /dev/stdout among them.
    if path.absolute().parent == Path("/dev"):
        raise UserError(f"--out {path} is a device: name a file, such as report.{form}.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}: make it first.")
    return form, path
