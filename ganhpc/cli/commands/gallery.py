"""`gallery [RUNS]`: one page over all runs, with a picture, the key figures and links"""

from __future__ import annotations

from pathlib import Path

import click

from ganhpc.analysis.report.translation import LANGUAGES
from ganhpc.cli.common_options import RUNS, Sections, TypedPath
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open
from ganhpc.core.units import counted

command = Sections(
    "gallery",
    callback=lambda **values: gallery(**values),
    help="One page over all runs that opens offline: a picture, the key figures, links to folders and reports. FOLDER is the folder of runs, "
    "or of one experiment.",
)
command.params.append(click.Argument(["folder"], metavar="[FOLDER]", required=False))
command.add(
    "Form", click.Option(["--lang"], type=click.Choice(LANGUAGES), default="en", show_default=True, help="language")
)
command.add(
    "Files",
    click.Option(
        ["--out"], type=TypedPath(), metavar="FILE", default="gallery.html", show_default=True, help="where to"
    ),
    RUNS(),
)


def gallery(folder: str | None, lang: str, out: str, runs: str) -> None:
    """Write the page, and say where it is."""
    from ganhpc.analysis.report import gallery_page
    from ganhpc.analysis.report.translation import Translator

    path = Path(out)
    if path.is_dir() or path.suffix.lower() not in (".html", ".htm"):
        raise UserError(
            f"--out {out}: a gallery is one HTML file: type --out {path / 'gallery.html' if path.is_dir() else path.with_suffix('.html')}."
        )
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {path.parent}: make it first.")
    if folder and not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder: name the folder of runs, or leave it out for {runs}.")
    text, n = gallery_page.page(
        Path(folder or runs), path, Translator(lang), lambda sentence: say(f"Warning: {sentence}", err=True)
    )
    with atomic_open(path, durable=False) as file:
        file.write(text.encode(errors="backslashreplace"))
    say(f"{path}: {counted(n, 'run')} ({max(1, path.stat().st_size // 1000):,} kB)")
