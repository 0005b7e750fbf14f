"""The sections on a task that is neither a classifier nor a GAN: every figure that its steps and evaluations gave, and its pictures."""

from __future__ import annotations

from ganhpc.analysis.report.elements import Block, DefinitionList, Line, Paragraph, Plot, Section
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections import gan
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.runs.experiment import Kind
from ganhpc.runs.figures import WORK, ShownIn, named_in


def sections(each: RunData, words: Translator) -> list[Section]:
    """Plots of all figures, the grids of samples and the last evaluation; [] for a classifier or a GAN, whose sections know more."""
    if each.kind is not Kind.OTHER:
        return []
    found = [curves(each, words), measures(each, words)]
    if each.grids:
        found.insert(1, gan.samples(each, words))
    return [section for section in found if section.blocks]


def curves(each: RunData, words: Translator) -> Section:
    """One plot for the figures of steps whose names begin alike, one for each figure of the evaluations, and their statistics."""
    groups: dict[str, list[str]] = {}
    for name in each.training_names:
        groups.setdefault(name.partition("_")[0], []).append(name)
    blocks: list[Block] = []
    for group, members in groups.items():
        lines = [Line(words.name("figure", n), points) for n in members if (points := each.training(n))]
        blocks += _plot(f"other-{group}", words.name("figure", group), lines, words)
    for name in _evaluated(each):
        blocks += _plot(f"other-held-out-{name}", words.name("figure", name), _marked(each, name, words), words)
    if blocks:
        blocks.insert(0, Paragraph(words("other.text")))
        blocks.append(gan.statistics_of({n: each.training(n) for names in groups.values() for n in names}, words))
    return Section("figures", words("other.title"), blocks)


def _marked(each: RunData, name: str, words: Translator) -> list[Line]:
    return [Line(words.name("figure", name), points, marked=True)] if (points := each.series(name)) else []


def _plot(key: str, title: str, lines: list[Line], words: Translator) -> list[Block]:
    if not lines:
        return []
    alt = f"{title}{words.colon}{gan.in_words(lines, words)}"
    return [Plot(key, title, alt, x=words("axis.epoch"), y=title, lines=lines)]


_NO_FIGURES = {"step", "epoch", "seconds", "stage"}


def _evaluated(each: RunData) -> list[str]:
    """The figures of the evaluations that the headline's own plot does not show."""
    names = dict.fromkeys(key for point in each.curve for key, value in point.items() if is_finite(value))
    own = WORK | _NO_FIGURES | {each.headline, *each.rate_names}
    return [name for name in names if name not in own and not name.startswith("train_")]


def measures(each: RunData, words: Translator) -> Section:
    """The figures of the last evaluation and of what was measured after it."""
    names = dict.fromkeys([each.headline, *_evaluated(each), *named_in(ShownIn.GAN_MEASURES, each.row)])
    facts = [(words.name("figure", n), figure(words, n, each.row.get(n))) for n in names if is_finite(each.row.get(n))]
    return Section("measures", words("other.measures"), [DefinitionList(facts)] if facts else [])
