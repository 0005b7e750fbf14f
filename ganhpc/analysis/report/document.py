"""A report put together: for each experiment its aim, its variants, and its best run in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ganhpc import __version__
from ganhpc.analysis.report.elements import (
    Block,
    Cell,
    Column,
    DefinitionList,
    Document,
    Note,
    Paragraph,
    Section,
    Table,
)
from ganhpc.analysis.report.run_data import RunData, all_of
from ganhpc.analysis.report.sections import gan, network, other, program, sdpc, training
from ganhpc.analysis.report.sections.variants import Variants, figure
from ganhpc.analysis.report.sections.variants import sections as variant_sections
from ganhpc.analysis.report.selection import Selection
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.runs.experiment import Kind

_AIMS = ("cifar", "dcgan", "began", "wgan-gp")


def document(subjects: Sequence[Selection], words: Translator, say: Callable[[str], None]) -> Document:
    """The report on `subjects`. `say` hears of work that takes a while."""
    chapters = [(subject, Variants(all_of(subject.runs))) for subject in subjects]
    chapters = [(subject, variants) for subject, variants in chapters if variants.found or subject.scans]
    parts = [_chapter(subject, variants, words, say) for subject, variants in chapters]
    if len(parts) == 1:
        sections = parts[0]
    else:
        sections = [
            Section(f"experiment-{s.experiment}", s.experiment, (), [_inside(s.experiment, part) for part in found])
            for (s, _), found in zip(chapters, parts, strict=True)
        ]
    names = ", ".join(subject.experiment for subject, _ in chapters)
    total = sum(len(variants.found) for _, variants in chapters)
    figures = _figures(chapters[0][1], words) if len(chapters) == 1 else []
    made = words("report.made", date=words.date(datetime.now().isoformat(timespec="minutes")), version=__version__)
    return Document(
        words("report.title", experiment=names),
        words.several("report.runs", total),
        words.lang,
        sections,
        figures,
        made,
        words,
    )


def _inside(experiment: str, section: Section) -> Section:
    """The section with an id of its own among those of other experiments."""
    return Section(f"{experiment}-{section.id}", section.title, section.blocks)


def _figures(variants: Variants, words: Translator) -> list[tuple[str, str]]:
    final, best = variants.final, variants.best
    if final is None or best is None:
        return []
    row = final.row
    mean = best[variants.headline]
    # "over 3 seeds" belongs to the mean; what stands beside it is the one run's.
    shown = figure(words, variants.headline, mean["mean"])
    if mean["std"] is not None:
        shown += f" ± {figure(words, variants.headline, mean['std'])}"
    return [
        (words("report.best", figure=words.name("figure", variants.headline)), shown),
        ("n", words.count(best["n"])),
        (words("column.params"), words.count(row.get("params"))),
        (words("column.time"), words.seconds(row.get("train_seconds"))),
        (words("column.epochs"), words.epoch(row.get("epochs"))),
    ]


def _chapter(subject: Selection, variants: Variants, words: Translator, say: Callable[[str], None]) -> list[Section]:
    final = variants.final
    sections = [_aim(subject, variants, words), *variant_sections(variants, words, subject.scans)]
    if final is None:
        return sections
    details = _details(variants, final, words, say)
    sections.insert(1, _result(variants, final, words))
    sections += [section for section in details if section is not None]
    if final.problems:
        damaged = Note(words("report.damaged", run=final.run.name, files="; ".join(dict.fromkeys(final.problems))))
        sections[1] = Section("result", sections[1].title, [*sections[1].blocks, damaged])
    return sections


def _details(variants: Variants, final: RunData, words: Translator, say: Callable[[str], None]) -> list[Section | None]:
    """The sections on the run that is shown in full."""
    ends = [_seeds(variants, words), _options(final, words)]
    if final.kind is Kind.PROGRAM:
        return [program.section(final, words), *ends]
    return [
        training.progress(final, words),
        *gan.sections(final, words),
        sdpc.section(final, words),
        *other.sections(final, words),
        training.classes(final, words),
        *network.sections(final, words, say),
        training.time_spent(final, words),
        training.rates(final, words),
        training.budgets(final, words),
        *ends,
        training.environment(final, words),
    ]


def _aim(subject: Selection, variants: Variants, words: Translator) -> Section:
    """The request and its bounds."""
    name = subject.experiment
    first = variants.final.definition if variants.final else {}
    aim = words(f"aim.{name}") if name in _AIMS else words("aim.other", experiment=name)
    blocks: list[Block] = [Paragraph(aim)]
    times = sorted({r for m in variants.found if is_finite(r := m.row.get("budget_seconds"))})
    params = sorted({r for m in variants.found if is_finite(r := m.row.get("budget_params"))})
    bounds = []
    if times:
        bounds.append((words("aim.time"), ", ".join(words.seconds(t) for t in times)))
    epochs = (first.get("budget") or {}).get("epochs") if isinstance(first.get("budget"), dict) else None
    if epochs:
        bounds.append((words("aim.epochs"), words.count(epochs)))
    bounds.append((words("aim.params"), ", ".join(words.count(p) for p in params) or words("aim.unbounded")))
    if name == "cifar":
        bounds.append((words("aim.course"), words("aim.course_bounds")))
    data = sorted({m.data for m in variants.found if m.row.get("data")})
    bounds.append((words("environment.data"), ", ".join(data) or words.missing))
    return Section("aim", words("aim.title"), [*blocks, DefinitionList(bounds)])


def _result(variants: Variants, final: RunData, words: Translator) -> Section:
    """The best performance within the bounds, or why there is none."""
    title = words("result.title")
    best = variants.best
    if best is None:
        text = words("result.none", run=final.run.name, state=words.name("state", str(final.row["state"])))
        return Section("result", title, [Note(text)])
    name, found, row = variants.headline, best[variants.headline], final.row
    values = {
        "variant": str(best["variant"]),
        "figure": words.name("figure", name),
        "mean": figure(words, name, found["mean"]),
    }
    if found["n"] > 1:
        text = words(
            "result.several",
            **values,
            std=figure(words, name, found["std"]),
            cv=words.per_cent(found["cv"]),
            n=words.count(found["n"]),
        )
        text += " " + words("result.shown", seed=str(row["seed"]), value=figure(words, name, row[name]))
    else:
        text = words("result.one", **values)
    used = words("result.used", params=words.count(row.get("params")), time=words.seconds(row.get("train_seconds")))
    return Section("result", title, [Paragraph(text), Paragraph(used)])


def _seeds(variants: Variants, words: Translator) -> Section:
    """Each seed of the best variant, and how the statistics are made."""
    best, name = variants.best, variants.headline
    members = variants.members(best) if best else variants.found[:20]
    columns = [
        Column(words("column.seed")),
        Column(words.name("figure", name), True),
        Column(words("column.state")),
        Column(words("column.run")),
    ]
    rows = [
        [
            Cell(str(m.row["seed"]), m.row["seed"]),
            Cell(figure(words, name, m.row.get(name)), m.row.get(name)),
            Cell(words.name("state", str(m.row["state"]))),
            Cell(str(m.row["run"])),
        ]
        for m in members
    ]
    blocks: list[Block] = [Paragraph(words("seeds.text")), Table(words("seeds.caption"), columns, rows, sortable=True)]
    return Section("seeds", words("seeds.title"), blocks)


def _options(final: RunData, words: Translator) -> Section:
    """The whole definition, and the line that trains it again."""
    tree = final.definition
    skipped = {"format", "experiment", "task", "variant", "signature", "resources", "budget", "group"}
    flat: dict[str, Any] = {k: v for k, v in tree.items() if k not in skipped}
    for group in ("budget", "resources"):
        if isinstance(tree.get(group), dict):
            flat |= tree[group]
    rows = [[Cell(key), Cell(_value(value, words))] for key, value in flat.items()]
    columns = [Column(words("column.option")), Column(words("column.value"))]
    table = Table(words("options.caption", n=words.count(len(rows))), columns, rows, sortable=True, folded=True)
    return Section("options", words("options.title"), [Paragraph(words("options.text")), table])


def _value(value: Any, words: Translator) -> str:
    if value is None:
        return words("options.unset")
    if isinstance(value, bool):
        return words("options.yes" if value else "options.no")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or words.missing
    return words.plain(value) if is_finite(value) else str(value)
