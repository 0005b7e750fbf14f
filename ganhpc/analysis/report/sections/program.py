"""The section on a user's program: its command, the figures that it said, and the end of its log."""

from __future__ import annotations

from typing import Any

from ganhpc.analysis.report.elements import Block, Code, DefinitionList, Line, Plot, Section
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections.variants import figure
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.core.printable import shell_word
from ganhpc.runs.figures import is_share

_SKIPPED = ("step", "epoch", "time")
_MOST_PLOTS = 12


def section(each: RunData, words: Translator) -> Section:
    """The program as typed, its plots, its last figures and its last lines."""
    command, watched = each.definition.get("command"), each.definition.get("watched")
    facts = [(words("program.folder"), str(each.definition.get("folder") or words.missing))]
    pairs = [pair for pair in watched if isinstance(pair, list) and len(pair) == 2] if isinstance(watched, list) else []
    facts += [(words("program.watched", file=str(name)), str(digest)[:16]) for name, digest in pairs]
    facts.append((words("program.segments"), words.count(each.row.get("segments"))))
    typed = " ".join(shell_word(word) for word in command) if isinstance(command, list) else words.missing
    blocks: list[Block] = [Code(words("program.command"), typed), DefinitionList(facts)]
    points = _points(each)
    names = list(dict.fromkeys(n for p in points for n, v in p.items() if is_finite(v) and n not in _SKIPPED))
    shown = sorted(names, key=lambda name: name != each.headline)[:_MOST_PLOTS]
    blocks += [_plot(name, points, words) for name in shown]
    last = [(words.name("figure", n), figure(words, n, each.row.get(n))) for n in names if is_finite(each.row.get(n))]
    if last:
        blocks.append(DefinitionList(last))
    if tail := each.log_tail():
        blocks.append(Code(words("program.log"), tail, folded=True))
    return Section("program", words("program.title"), blocks)


def _points(each: RunData) -> list[dict[str, Any]]:
    curve = each.evaluation.get("curve")
    return [point for point in curve if isinstance(point, dict)] if isinstance(curve, list) else []


def _plot(name: str, points: list[dict[str, Any]], words: Translator) -> Plot:
    """A figure over its steps; over the number of the point where it has none."""
    title = words.name("figure", name)
    found = [
        (float(p["step"] if is_finite(p.get("step")) else k), float(p[name]))
        for k, p in enumerate(points)
        if is_finite(p.get(name))
    ]
    found.sort()
    alt = f"{title}{words.colon}{figure(words, name, found[0][1])} → {figure(words, name, found[-1][1])}"
    lines = (Line(title, found, marked=len(found) < 30),)
    return Plot(f"program-{name}", title, alt, x=words("program.step"), y=title, lines=lines, per_cent=is_share(name))
