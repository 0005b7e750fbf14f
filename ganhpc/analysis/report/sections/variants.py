"""The variants that were tried, with their performance: grouped over seeds, the best marked; and what a scan shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganhpc.analysis.report.elements import Block, Cell, Column, Note, Paragraph, Plot, Section, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.analysis.results import rows as results
from ganhpc.analysis.results.rows import Row
from ganhpc.core.typed_command import typed_command
from ganhpc.runs import figures
from ganhpc.runs.figures import ShownIn
from ganhpc.scans.scan_record import Scan


class Variants:
    """The groups of some runs (one a variant), and which is best."""

    def __init__(self, found: Sequence[RunData]) -> None:
        self.found = list(found)
        self.groups = results.grouped([each.row for each in found])
        done = [each for each in found if each.is_done]
        names = [each.headline for each in done or found]
        self.headline = max(set(names), key=names.count) if names else "loss"
        self.lower = figures.lower_is_better(self.headline)

    def mean(self, group: Row) -> float | None:
        value = group.get(self.headline)
        return value["mean"] if isinstance(value, dict) and is_finite(value.get("mean")) else None

    @property
    def best(self) -> Row | None:
        """The group with the best mean; of equal ones, the first."""
        scored = [(mean, group) for group in self.groups if (mean := self.mean(group)) is not None]
        if not scored:
            return None
        return (min if self.lower else max)(scored, key=lambda pair: pair[0])[1]

    def members(self, group: Row) -> list[RunData]:
        return [each for each in self.found if each.row["folder"] in group["folders"]]

    @property
    def final(self) -> RunData | None:
        """The run that is shown in full: the best one of the best variant; where none is finished, the furthest."""
        if self.best is None:
            return max(self.found, key=lambda each: each.row.get("epochs") or 0.0) if self.found else None
        done = [m for m in self.members(self.best) if is_finite(m.row.get(self.headline))]
        return (min if self.lower else max)(done, key=lambda m: m.row[self.headline], default=None)


def figure(words: Translator, name: str, value: Any) -> str:
    """A measure as its name asks: accuracies in per cent, counts whole."""
    if name.startswith("lr") and is_finite(value):
        return words.plain(float(f"{value:.4g}"))
    if isinstance(value, int) and not isinstance(value, bool):
        return words.count(value)
    return words.per_cent(value) if figures.is_share(name) else words.number(value, 4)


def sections(variants: Variants, words: Translator, scans: Sequence[Scan]) -> list[Section]:
    """The table of variants, what did not end well, and one section for each scan."""
    blocks: list[Block] = [Paragraph(words("variants.intro")), table(variants, words)]
    if lost := unfinished(variants, words):
        blocks += [Note(words.several("variants.unfinished", len(lost.rows))), lost]
    return [Section("variants", words("variants.title"), blocks), *(_scan_section(variants, s, words) for s in scans)]


def table(variants: Variants, words: Translator) -> Table:
    """One row a variant."""
    measured = dict.fromkeys(
        name for group in variants.groups for name, value in group.items() if isinstance(value, dict)
    )
    extra = [name for name in figures.named_in(ShownIn.VARIANTS, measured) if name != variants.headline]
    title = words.name("figure", variants.headline)
    columns = [
        Column(words("column.variant")),
        Column(title, True),
        Column("±", True, words("column.std")),
        Column("cv", True, words("column.cv")),
        Column("n", True, words("column.n")),
        *(Column(words.name("figure", name), True) for name in extra),
        Column(words("column.params"), True),
        Column(words("column.operations"), True),
        Column(words("column.epochs"), True),
        Column(words("column.time"), True),
    ]
    rows = [_row(variants, group, extra, words) for group in variants.groups]
    return Table(words("variants.caption", figure=title), columns, rows, sortable=True)


def _row(variants: Variants, group: Row, extra: Sequence[str], words: Translator) -> list[Cell]:
    name, best = variants.headline, group is variants.best
    found = group[name] if variants.mean(group) is not None else {}
    label = str(group["variant"] or group["runs"][0])
    states = ", ".join(
        f"{words.name('state', state)} {words.count(n)}" for state, n in group["states"].items() if state != "done"
    )
    cells = [Cell(f"{label} ★" if best else label, label, best=best)]
    if found:
        cells.append(Cell(figure(words, name, found["mean"]), found["mean"], best=best))
    else:
        cells.append(Cell(states or words.missing, float("inf") if variants.lower else float("-inf")))
    std, cv = found.get("std"), found.get("cv")
    cells += [
        Cell(figure(words, name, std), std or 0.0),
        Cell(words.per_cent(cv), cv or 0.0),
        Cell(words.count(group["n"]), group["n"]),
    ]
    for other in extra:
        cells.append(_mean(group, other, lambda v, other=other: figure(words, other, v)))
    cells += [
        _mean(group, "params", words.count),
        _mean(group, "ops", words.large),
        _mean(group, "epochs", lambda v: words.number(v)),
        _mean(group, "train_seconds", words.seconds),
    ]
    return cells


def _mean(group: Row, key: str, shown: Any) -> Cell:
    value = group.get(key)
    mean = value["mean"] if isinstance(value, dict) and "mean" in value else None
    return Cell(shown(mean), mean if mean is not None else -1.0)


def unfinished(variants: Variants, words: Translator) -> Table | None:
    """The runs that are not done: state, reason, how far they came, what to type."""
    rows = []
    for each in (m for m in variants.found if not m.is_done):
        row = each.row
        commands = {verb: each.run.command(verb) for verb in ("resume", "logs")}
        status = typed_command("status", runs=each.run.runs)
        hint = words.name("next", str(row["state"])).format(**commands, status=status)
        rows.append(
            [
                Cell(str(row["run"])),
                Cell(words.name("state", str(row["state"]))),
                Cell(words.epoch(row.get("epochs"))),
                Cell(str(row.get("reason") or words.missing)),
                Cell(hint),
            ]
        )
    titles = ("run", "state", "epochs", "reason", "next")
    columns = [Column(words(f"column.{title}"), title == "epochs") for title in titles]
    return Table(words("variants.unfinished_caption"), columns, rows, sortable=True) if rows else None


# -- scans ------------------------------------------------------------------------------------------------------------


def _scan_section(variants: Variants, scan: Scan, words: Translator) -> Section:
    """The values of the scan's options, their figures, and how they go together."""
    folders = {run.folder.resolve() for run in scan.run_folders()}
    own = Variants([m for m in variants.found if m.run.folder.resolve() in folders])
    points = [(_values(own.members(g)[0], scan), g) for g in own.groups]
    names = [f.flag or f.name for f in scan.fields]
    intro = words("scan.intro", runs=words.count(len(scan.runs) - scan.missing), options=", ".join(names))
    blocks: list[Block] = [Paragraph(intro)]
    if scan.missing:
        blocks.append(Note(words.several("scan.missing", scan.missing)))
    scored = [(values, mean) for values, g in points if (mean := own.mean(g)) is not None]
    if scored:
        # Of two options the map shows all there is; of more (or one), the lines do.
        blocks += [_heat_map(own, scan, points, names, words)] if len(scan.fields) == 2 else []
        blocks.append(parallel(own, scan, scored, names, words))
    blocks.append(_scan_table(own, points, names, words))
    return Section(f"scan-{scan.name}", words("scan.title", name=scan.name), blocks)


def _values(each: RunData, scan: Scan) -> list[Any]:
    """Values of the run's definition for each option of the scan."""
    tree = each.definition
    budget = tree.get("budget") if isinstance(tree.get("budget"), dict) else {}
    return [tree.get(f.name, (budget or {}).get(f.name)) for f in scan.fields]


def _shown(words: Translator, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or words.missing
    return words.plain(value) if is_finite(value) else str(words.missing if value is None else value)


def _scan_table(
    own: Variants, points: Sequence[tuple[list[Any], Row]], names: Sequence[str], words: Translator
) -> Table:
    title = words.name("figure", own.headline)
    columns = [
        *(Column(name) for name in names),
        Column(title, True),
        Column("±", True, words("column.std")),
        Column("cv", True, words("column.cv")),
        Column("n", True, words("column.n")),
    ]
    rows = []
    for values, group in points:
        cells = [Cell(_shown(words, v), v if is_finite(v) else None) for v in values]
        rest = _row(own, group, (), words)[1:5]
        rows.append(
            [Cell(f"{cells[0].text} ★", cells[0].sort, best=True) if group is own.best else cells[0], *cells[1:], *rest]
        )
    return Table(words("scan.caption", figure=title), columns, rows, sortable=True)


def _ordered(values: Sequence[Any]) -> list[Any]:
    """The different values, numbers by size, others as they come."""
    unique = [v for n, v in enumerate(values) if v not in values[:n]]
    return sorted(unique) if all(is_finite(v) for v in unique) else unique


def _heat_map(
    own: Variants, scan: Scan, points: Sequence[tuple[list[Any], Row]], names: Sequence[str], words: Translator
) -> Table:
    """The mean for each pair of values of a scan of two options, shaded by it."""
    down, across = (_ordered([values[k] for values, _ in points]) for k in (0, 1))
    # Of two variants with one pair of values, which a record from elsewhere may have, the one with a figure counts.
    means = {(repr(v[0]), repr(v[1])): (mean, g) for v, g in points if (mean := own.mean(g)) is not None}
    known = [mean for mean, _ in means.values()]
    low, high = min(known), max(known)
    rows = []
    for one in down:
        cells = [Cell(_shown(words, one), one if is_finite(one) else None)]
        for other in across:
            mean, group = means.get((repr(one), repr(other)), (None, None))
            if mean is None:
                cells.append(Cell(words.missing))
                continue
            share = (mean - low) / (high - low) if high > low else 1.0
            best = group is own.best
            cells.append(
                Cell(
                    figure(words, own.headline, mean) + (" ★" if best else ""),
                    mean,
                    1 - share if own.lower else share,
                    best,
                )
            )
        rows.append(cells)
    caption = words("scan.heat", figure=words.name("figure", own.headline), down=names[0], across=names[1])
    columns = [Column(f"{names[0]} \\ {names[1]}"), *(Column(_shown(words, v), True) for v in across)]
    del scan
    return Table(caption, columns, rows)


def parallel(
    own: Variants, scan: Scan, scored: Sequence[tuple[list[Any], float]], names: Sequence[str], words: Translator
) -> Plot:
    """One line a variant through its values to its figure; the best drawn boldly."""
    axes, heights = [], []
    for place, name in enumerate(names):
        values = _ordered([v[place] for v, _ in scored])
        at = {repr(v): k / (len(values) - 1) if len(values) > 1 else 0.5 for k, v in enumerate(values)}
        axes.append((name, [(at[repr(v)], _shown(words, v)) for v in values]))
        heights.append(at)
    means = [mean for _, mean in scored]
    low, high = min(means), max(means)
    ends = {low, (low + high) / 2, high}
    span = (high - low) or 1.0
    title = words.name("figure", own.headline)
    axes.append((title, [((v - low) / span, figure(words, own.headline, v)) for v in sorted(ends)]))
    paths = []
    for values, mean in scored:
        share = (mean - low) / span
        path = [*(heights[k][repr(v)] for k, v in enumerate(values)), share]
        good = 1 - share if own.lower else (share if high > low else 1.0)
        paths.append((path, good))
    text = words("scan.parallel", figure=title)
    alt = words(
        "scan.parallel_alt",
        n=words.count(len(scored)),
        options=", ".join(names),
        low=axes[-1][1][0][1],
        high=axes[-1][1][-1][1],
    )
    return Plot(f"parallel-{scan.name}", text, alt, "parallel", axes=axes, paths=paths)
