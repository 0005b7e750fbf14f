"""The sections on a GAN: losses and scores, k and M, the log as the course's notebook prints it, grids of samples, measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganhpc.analysis.report.elements import (
    Block,
    Cell,
    Code,
    Column,
    DefinitionList,
    Gallery,
    Line,
    Note,
    Paragraph,
    Plot,
    Section,
    Table,
)
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections import gan_tables
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.thumbnails import evenly, small
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.core.statistics import Spread
from ganhpc.runs.experiment import Kind
from ganhpc.runs.figures import ShownIn, keys_of, named_in

GRIDS, GRID_SIDE = 6, 420
_LOG_LINES = 40


def sections(each: RunData, words: Translator) -> list[Section]:
    """Sections of a GAN's run; [] for another run."""
    if each.kind is not Kind.GAN:
        return []
    found = [
        convergence(each, words),
        samples(each, words),
        measures(each, words),
        gan_tables.translation(each, words),
        gan_tables.conditional(each, words),
    ]
    return [section for section in found if section.blocks]


def convergence(each: RunData, words: Translator) -> Section:
    """Losses and scores step by step; k and M; the figures of held-out images; the log."""
    names = each.training_names
    groups = {
        "losses": [n for n in names if n.startswith("loss")],
        "scores": [n for n in names if n.startswith("score") and n in names],
        "balance": [n for n in names if n in ("k", "M")],
        "penalty": [n for n in names if n == "penalty"],
    }
    blocks: list[Block] = []
    for group, members in groups.items():
        lines = [Line(words.name("figure", n), points, right=n == "k") for n in members if (points := each.training(n))]
        if lines:
            caption = words(f"gan.{group}")
            alt = f"{caption} {in_words(lines, words)}"
            right = words("figure.k") if any(line.right for line in lines) else ""
            left = words("figure.M") if group == "balance" else words(f"axis.{group}")
            blocks.append(Plot(f"gan-{group}", caption, alt, x=words("axis.epoch"), y=left, y_right=right, lines=lines))
    if figures := _held_out(each, words):
        blocks.append(figures)
    if blocks:
        blocks.insert(0, Paragraph(words("gan.text")))
        blocks.append(statistics_of({n: each.training(n) for members in groups.values() for n in members}, words))
    if log := _log(each):
        blocks.append(Code(words("gan.log"), log, folded=False))
    return Section("convergence", words("gan.title"), blocks)


def statistics_of(curves: dict[str, Sequence[tuple[float, float]]], words: Translator) -> Table:
    """One row a figure: mean, sample standard deviation, coefficient of variation, and of how many values."""
    columns = [
        Column(words("column.quantity")),
        Column(words("column.mean"), True),
        Column("±", True, words("column.std")),
        Column("cv", True, words("column.cv")),
        Column("n", True, words("column.values")),
    ]
    rows = []
    for name, points in curves.items():
        if values := [y for _, y in points if is_finite(y)]:
            found = Spread.of(values)
            mean, std, cv = found.mean, found.std, found.cv
            rows.append(
                [
                    Cell(words.name("figure", name)),
                    Cell(words.number(mean, 3), mean),
                    Cell(words.number(std, 2), std or 0.0),
                    Cell(words.per_cent(cv), cv or 0.0),
                    Cell(words.count(found.n), found.n),
                ]
            )
    return Table(words("gan.statistics"), columns, rows)


def in_words(lines: list[Line], words: Translator) -> str:
    ends = (
        f"{line.label}{words.colon}{words.number(line.points[0][1])} → {words.number(line.points[-1][1])}"
        for line in lines
    )
    return "; ".join(ends) + "."


def _held_out(each: RunData, words: Translator) -> Plot | None:
    names = keys_of(ShownIn.HELD_OUT)
    lines = [Line(words.name("figure", n), points, marked=True) for n in names if (points := each.series(n))]
    if not lines:
        return None
    caption = words("gan.held_out")
    return Plot(
        "gan-held-out",
        caption,
        f"{caption} {in_words(lines, words)}",
        x=words("axis.epoch"),
        y=words("axis.figure"),
        lines=lines,
    )


def _log(each: RunData) -> str:
    """One line an epoch, as the course's notebook prints them: `452 (5, 1) [D loss: ..] [G loss: ..]`."""
    rounds = each.definition.get("critic_steps")
    beside = f" ({rounds}, 1)" if rounds else ""
    lines = []
    for point in each.curve:
        words = point.get("words") or _plain(point)
        if words and point["epoch"]:
            lines.append(f"{point['epoch']:g}{beside} {words}")
    if len(lines) > _LOG_LINES:
        half = _LOG_LINES // 2
        lines = [*lines[:half], "...", *lines[-half:]]
    return "\n".join(lines)


def _plain(point: dict[str, Any]) -> str:
    """The figures of a run whose trainer noted no words."""
    return " | ".join(
        f"{k.removeprefix('train_')} {v:.4f}" for k, v in point.items() if k.startswith("train_") and is_finite(v)
    )


def samples(each: RunData, words: Translator) -> Section:
    """Grids of samples from the same latent vectors, over time."""
    pictures = []
    for path in evenly(each.grids, GRIDS):
        number = path.stem.removeprefix("step-")
        step = int(number) if number.isdigit() else 0
        epoch = each.epoch_of(step)
        when = words("gan.step", step=words.count(step)) + (
            f", {words('gan.epoch', epoch=words.epoch(epoch))}" if epoch is not None else ""
        )
        if picture := small(path, GRID_SIDE, f"samples-{number}", when, words("gan.samples_alt", when=when)):
            pictures.append(picture)
    blocks: list[Block] = (
        [Paragraph(words(_samples_text(each), n=words.count(len(each.grids)))), Gallery(pictures)] if pictures else []
    )
    if not pictures:
        blocks = [Note(words("gan.no_samples"))]
    return Section("samples", words("gan.samples"), blocks)


def _samples_text(each: RunData) -> str:
    """The key of the sentence that says what the grids show."""
    if "data_b" in each.definition:
        return "gan.samples_of_translations"
    return "gan.samples_of_classes" if "class_level" in each.definition else "gan.samples_text"


def measures(each: RunData, words: Translator) -> Section:
    """Quality of the finished generator, with that of real images beside it."""
    row = each.row
    wanted = named_in(ShownIn.GAN_MEASURES, row)
    real = each.evaluation.get("lines_real")
    ceiling = real if isinstance(real, dict) else {}
    facts = []
    for key in wanted:
        # A kernel distance of all pictures has no draws that could deviate.
        if is_finite(row.get(key)) and not (key.endswith("-deviation") and not row[key]):
            top = ceiling.get(key.removeprefix("lines_")) if key.startswith("lines_") else None
            beside = f" ({words('gan.real')} {figure(words, key, top)})" if is_finite(top) else ""
            facts.append((words.name("figure", key), figure(words, key, row[key]) + beside))
    return Section(
        "measures",
        words("gan.measures"),
        [Paragraph(words("gan.measures_text")), DefinitionList(facts)] if facts else [],
    )
