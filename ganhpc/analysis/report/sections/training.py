"""The sections on how one run went: accuracy, classes, learning rate, time, operations, budgets, environment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ganhpc.analysis.report.elements import (
    Block,
    Cell,
    Code,
    Column,
    DefinitionList,
    Line,
    Note,
    Paragraph,
    Plot,
    Section,
    Table,
)
from ganhpc.analysis.report.run_data import Points, RunData
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.runs.experiment import Kind
from ganhpc.runs.figures import PHASES, is_share
from ganhpc.runs.run_files import numbers

COURSE_PARAMS, COURSE_SECONDS = 256_000, 3600.0


def progress(each: RunData, words: Translator) -> Section:
    """The headline's figure before the first epoch and after each: plot and table; the last evaluation told apart."""
    name = each.headline
    points = each.series(name)
    title = words.name("figure", name)
    blocks: list[Block] = []
    if points:
        ends = {"first": figure(words, name, points[0][1]), "last": figure(words, name, points[-1][1])}
        shown = {"figure": title, "epochs": words.epoch(points[-1][0]), **ends}
        alt = words("progress.alt", **shown)
        plot = Plot(
            "progress",
            words("progress.caption", figure=title),
            alt,
            x=words("axis.epoch"),
            y=title,
            lines=(Line(title, points, marked=True),),
            per_cent=is_share(name),
        )
        blocks = [Paragraph(words("progress.text" if points[0][0] == 0 else "progress.text_late", **shown)), plot]
        if each.row.get("tta", "none") != "none" and is_finite(each.row.get("test_accuracy_no_tta")):
            blocks.append(Paragraph(words("progress.tta", plain=words.per_cent(each.row["test_accuracy_no_tta"]))))
        blocks.append(_epochs(each, name, words))
    else:
        blocks = [Note(words("progress.none"))]
    losses = [
        Line(words.name("figure", key), pts, marked=True)
        for key in ("train_loss", "test_loss")
        if (pts := each.series(key))
    ]
    if losses and each.kind is Kind.CLASSIFIER:
        blocks.insert(
            len(blocks) - 1,
            Plot(
                "loss",
                words("progress.loss"),
                words("progress.loss_alt"),
                x=words("axis.epoch"),
                y=words("axis.loss"),
                lines=losses,
            ),
        )
    return Section("progress", words("progress.title"), blocks)


def _epochs(each: RunData, name: str, words: Translator) -> Table:
    keys = [k for k in (name, "train_loss", "test_loss", *each.rate_names) if each.series(k)]
    columns = [
        Column(words("column.epoch"), True),
        *(Column(words.name("figure", k), True) for k in dict.fromkeys(keys)),
        Column(words("column.clock"), True),
        Column(words("column.speed"), True),
    ]
    passes = [
        (title, key, shown)
        for title, key, shown in (
            ("pass", "epoch_seconds", words.seconds),
            ("pass_ops", "epoch_ops", words.large),
            ("pass_rate", "ops_per_second", words.large),
        )
        if each.series(key)
    ]
    columns += [Column(words(f"column.{title}"), True) for title, _, _ in passes]
    rows = []
    for point in each.curve:
        cells = [Cell(words.epoch(point["epoch"]), point["epoch"])]
        cells += [Cell(figure(words, k, point.get(k)), point.get(k)) for k in dict.fromkeys(keys)]
        speed = point.get("images_per_second") or None
        cells += [Cell(words.seconds(point.get("seconds")), point.get("seconds")), Cell(words.rate(speed), speed)]
        rows.append([*cells, *(Cell(shown(point.get(key)), point.get(key)) for _, key, shown in passes)])
    return Table(words("progress.table"), columns, rows, sortable=True, folded=True)


def _with_share(shares: Mapping[str, float], share: float) -> str:
    """The first three classes of this share, and dots where there are more."""
    names = [name for name, each in shares.items() if each == share]
    return ", ".join(names[:3]) + ", .." * (len(names) > 3)


def classes(each: RunData, words: Translator) -> Section | None:
    """Accuracy of each class and the confusion matrix; None where the run has none."""
    shares, matrix, names = (each.evaluation.get(k) for k in ("accuracy_by_class", "confusion", "classes"))
    if not (isinstance(shares, dict) and shares):
        if each.kind is not Kind.CLASSIFIER:
            return None
        return Section("classes", words("classes.title"), [Note(words("classes.none"))])
    best, worst = max(shares.values()), min(shares.values())
    text = words(
        "classes.text",
        best=_with_share(shares, best),
        best_share=words.per_cent(best),
        worst=_with_share(shares, worst),
        worst_share=words.per_cent(worst),
    )
    columns = [
        Column(words("column.class")),
        Column(words("figure.test_accuracy"), True),
        Column(words("column.mistaken")),
    ]
    rows, whole = [], _matrix(matrix, names)
    for name, share in shares.items():
        rows.append(
            [
                Cell(str(name)),
                Cell(words.per_cent(share, 1), share, heat=share),
                Cell(_mistaken(whole, names, name, words)),
            ]
        )
    blocks: list[Block] = [Paragraph(text), Table(words("classes.caption"), columns, rows, sortable=True)]
    if whole:
        blocks.append(_confusion(whole, list(names or ()), words))
    else:
        blocks.append(Note(words("classes.no_matrix")))
    return Section("classes", words("classes.title"), blocks)


def _matrix(matrix: Any, names: Any) -> list[list[float]]:
    """The confusion matrix where it is whole, else []."""
    if not (isinstance(matrix, list) and isinstance(names, list) and len(matrix) == len(names)):
        return []
    square = all(isinstance(row, list) and len(row) == len(names) and all(map(is_finite, row)) for row in matrix)
    return matrix if square else []


def _mistaken(matrix: list[list[float]], names: Any, name: str, words: Translator) -> str:
    """The class that this one is most often taken for."""
    if not matrix or name not in names:
        return words.missing
    place = names.index(name)
    count, other = (
        max((n, str(names[k])) for k, n in enumerate(matrix[place]) if k != place) if len(names) > 1 else (0, "")
    )
    total = sum(matrix[place])
    return f"{other} ({words.per_cent(count / total, 1)})" if count and total else words.missing


def _confusion(matrix: list[list[float]], names: list[str], words: Translator) -> Table:
    columns = [Column(words("classes.corner")), *(Column(str(name), True) for name in names)]
    rows = []
    for name, row in zip(names, matrix, strict=True):
        total = sum(row) or 1
        rows.append([Cell(str(name)), *(Cell(words.count(n), n, heat=n / total) for n in row)])
    return Table(words("classes.matrix"), columns, rows)


def rates(each: RunData, words: Translator) -> Section | None:
    """The learning rate along the run."""
    lines = [
        Line(words.name("figure", key), _from_the_start(points, levels), marked=len(points) < 30, levels=levels)
        for key in each.rate_names
        if (points := each.rate(key))
        for levels in (_has_levels(each, points),)
    ]
    if not lines:
        return None
    values = [y for line in lines for _, y in line.points]
    schedule = each.definition.get("schedule")
    described = (
        words.name("schedule", str(schedule))
        if schedule
        else words("rate.constant" if min(values) == max(values) else "rate.varies")
    )
    ends = {name: words.plain(float(f"{end(values):.4g}")) for name, end in (("high", max), ("low", min))}
    constant = min(values) == max(values)
    text = (
        words("rate.text_constant", rate=ends["high"]) if constant else words("rate.text", schedule=described, **ends)
    )
    positive = min(values) > 0 and max(values) / min(values) > 20
    plot = Plot(
        "rate",
        words("rate.caption"),
        words("rate.alt", **ends),
        x=words("axis.epoch"),
        y=words("axis.rate"),
        lines=lines,
        log=positive,
    )
    return Section("rate", words("rate.title"), [Paragraph(text), plot])


def _has_levels(each: RunData, points: Points) -> bool:
    """True if a rate stays at a level, then jumps to the next: by its schedule, or, where a task changes it by itself, by its values."""
    if schedule := each.definition.get("schedule"):
        # A rise before the levels is a slope; both ends of each jump are among the points of such a run.
        return schedule == "steps" and not each.definition.get("warmup")
    return 1 < len({y for _, y in points}) <= max(2, len(points) // 3)


def _from_the_start(points: Points, levels: bool) -> Points:
    """The first level holds from the beginning on."""
    return [(0.0, points[0][1]), *points] if levels and points[0][0] > 0 else points


def time_spent(each: RunData, words: Translator) -> Section:
    """Seconds of each epoch, and by phase."""
    row = each.row
    blocks: list[Block] = []
    phases = _phases(each)
    used = row.get("train_seconds")
    epochs = _per_epoch(each)
    if epochs:
        mean = sum(s for _, s in epochs) / len(epochs)
        text = words("time.text", mean=words.seconds(mean), n=words.count(len(epochs)), total=words.seconds(used))
        blocks.append(Paragraph(text + " " + words("time.speed", speed=words.rate(row.get("images_per_second")))))
    elif is_finite(used):
        blocks.append(Paragraph(words("time.total", total=words.seconds(used))))
    if phases:
        total = sum(phases.values()) or 1.0
        rows = [
            [Cell(words.name("phase", k)), Cell(words.seconds(v), v), Cell(words.per_cent(v / total, 1), v / total)]
            for k, v in phases.items()
        ]
        columns = [
            Column(words("column.phase")),
            Column(words("column.time"), True),
            Column(words("column.share"), True),
        ]
        blocks.append(Table(words("time.caption"), columns, rows, sortable=True))
    if bars := _phase_bars(each, words):
        blocks.append(bars)
    if (row.get("segments") or 1) > 1:
        lost = words.seconds(row.get("lost_seconds") or 0.0)
        blocks.append(Paragraph(words("time.segments", n=words.count(row["segments"]), lost=lost)))
    return Section("time", words("time.title"), blocks or [Note(words("time.none"))])


def _phases(each: RunData) -> dict[str, float]:
    found = each.row.get("seconds_by_phase") or (each.curve[-1].get("seconds_by_phase") if each.curve else None)
    if not isinstance(found, dict):
        return {}
    phases = {str(k): float(v) for k, v in found.items() if is_finite(v)}
    used = each.row.get("train_seconds")
    if is_finite(used):
        phases["other"] = max(0.0, used - sum(phases.values()))
    return phases


def _per_epoch(each: RunData) -> list[tuple[float, float]]:
    """(epoch, seconds from the evaluation before it to its own) of each whole epoch."""
    points = each.series("seconds")
    pairs = list(itertools.pairwise(points))
    return [(b[0], b[1] - a[1]) for a, b in pairs if b[0] - a[0] > 0.999 and b[1] > a[1]]


def _phase_bars(each: RunData, words: Translator, most: int = 20) -> Plot | None:
    """Seconds of each epoch by phase, from the sums that the evaluations noted."""
    found = [(p["epoch"], p.get("seconds_by_phase")) for p in each.curve]
    noted = [(epoch, numbers(phases)) for epoch, phases in found if isinstance(phases, dict)]
    if len(noted) < 2:
        return None
    spans = list(itertools.pairwise(noted))
    spans = spans[:: max(1, -(-len(spans) // most))]
    names = [n for n in PHASES if any(n in now for _, now in noted)]
    bars = [
        (words.name("phase", n), [max(0.0, now.get(n, 0.0) - before.get(n, 0.0)) for (_, before), (_, now) in spans])
        for n in names
    ]
    places = [words.epoch(epoch) for _, (epoch, _) in spans]
    return Plot(
        "phases",
        words("time.bars"),
        words("time.bars_alt"),
        "bars",
        x=words("axis.seconds"),
        y=words("axis.epoch"),
        bars=bars,
        places=places,
    )


def budgets(each: RunData, words: Translator) -> Section:
    """Budgets and their use, and the course's bounds where the run had none of its own."""
    row = each.row
    rows = []
    for name, used, bound, course, shown in (
        ("params", row.get("params"), row.get("budget_params"), COURSE_PARAMS, words.count),
        ("time", row.get("train_seconds"), row.get("budget_seconds"), COURSE_SECONDS, words.seconds),
    ):
        allowed = bound if is_finite(bound) else course
        inside = words.missing
        if is_finite(used):
            inside = words("budget.kept") if used <= allowed else words("budget.broken", over=shown(used - allowed))
        share = used / allowed if is_finite(used) else None
        origin = words("budget.own") if is_finite(bound) else words("budget.course")
        rows.append(
            [
                Cell(words(f"budget.{name}")),
                Cell(shown(used), used),
                Cell(f"{shown(allowed)} ({origin})"),
                Cell(words.per_cent(share, 1)),
                Cell(inside),
            ]
        )
    titles = ("budget", "used", "allowed", "share", "inside")
    columns = [Column(words(f"column.{t}"), t in ("used", "share")) for t in titles]
    return Section("budgets", words("budget.title"), [Table(words("budget.caption"), columns, rows)])


def environment(each: RunData, words: Translator) -> Section:
    """Origin of the figures, and the line that makes them again."""
    row = each.row
    known = [
        (key, row.get(key))
        for key in ("device", "processes", "threads", "precision", "torch", "python", "ganhpc", "commit")
    ]
    facts = [
        (words(f"environment.{key}"), words.plain(value) if is_finite(value) else str(value))
        for key, value in known
        if value not in (None, "")
    ]
    if row.get("finished"):
        facts.append((words("environment.finished"), words.date(row["finished"])))
    if each.status.get("host"):
        facts.append((words("environment.host"), str(each.status["host"])))
    facts += [
        (
            words("environment.data"),
            f"{each.data or words.missing} ({row['data_note']})" if row.get("data_note") else each.data,
        )
    ]
    facts += [(words("environment.folder"), f"{row['experiment']}/{row['run']}")]
    if row.get("weights_sha256"):
        facts.append((words("environment.weights"), str(row["weights_sha256"])[:16]))
    blocks: list[Block] = [DefinitionList(facts)]
    if not each.is_done and (tail := each.log_tail()):
        blocks.append(Code(words("environment.log"), tail))
    return Section("environment", words("environment.title"), blocks)
