"""A report as one HTML file that opens without a network: styles, scripts, plots and pictures lie in it."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ganhpc.analysis.report import plots
from ganhpc.analysis.report.elements import Document, Picture, Plot
from ganhpc.analysis.report.translation import FOLDER, Translator
from ganhpc.core.printable import visible


def page(template: str, words: Translator, **values: Any) -> str:
    """The page `template` of templates/report, every value escaped."""
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {
        name: Markup((FOLDER / file).read_text(encoding="utf-8"))
        for name, file in (("style", "page.css"), ("script", "page.js"))
    }
    return visible(found.get_template(template).render(words=words, svg=partial(_svg, words), uri=uri, **own, **values))


def render(doc: Document) -> str:
    """The report `doc` as HTML."""
    return page("report.html", doc.words, doc=doc)


def _svg(words: Translator, plot: Plot) -> Any:
    # matplotlib has escaped the words in it.
    return Markup(plots.svg(plot, words))


def uri(picture: Picture) -> str:
    """The picture as a data: URI."""
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"
