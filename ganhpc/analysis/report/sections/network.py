"""The sections on the network itself: each function Fn, tensor Xn and weight Wn, and its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ganhpc.analysis.network_tables import dimensions, settings
from ganhpc.analysis.report.elements import Block, Cell, Column, DefinitionList, Note, Paragraph, Section, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.translation import Translator, is_finite
from ganhpc.runs.figures import is_uncertain
from ganhpc.runs.network_description import Description, Function

_OPERATIONS = ("add", "mul", "max", "other", "total")


def sections(each: RunData, words: Translator, say: Callable[[str], None]) -> list[Section]:
    """The final network in full, and its operations."""
    networks = each.networks(say)
    if not networks:
        return [Section("network", words("network.title"), [Note(words("network.none"))]), operations(each, {}, words)]
    several = len(networks) > 1
    blocks: list[Block] = []
    why = each.row.get("why") or each.choices.get("why")
    name = each.row.get("network") or each.choices.get("network")
    if name:
        blocks.append(Paragraph(words("network.named", name=str(name)) + (f" ({why})" if why else "")))
    blocks.append(Paragraph(words("network.legend")))
    for title, described in networks.items():
        label = words.name("part", title) if several else words("network.only")
        blocks += [Paragraph(_summary(described, label, words)), layers(described, label, words)]
    return [Section("network", words("network.title"), blocks), operations(each, networks, words)]


def _summary(described: Description, label: str, words: Translator) -> str:
    layered = sum(bool(layer.weights) for layer in described.layers)
    inputs = ", ".join(f"{x.label} ({dimensions(x.shape)})" for x in described.inputs)
    frozen = words("network.frozen", n=words.count(described.frozen_params)) if described.frozen_params else ""
    return words(
        "network.summary",
        label=label,
        functions=words.count(len(described.layers)),
        layered=words.count(layered),
        params=words.count(described.params),
        frozen=frozen,
        inputs=inputs,
    )


def layers(described: Description, label: str, words: Translator) -> Table:
    """One row a function, in the order of execution."""
    titles = ("function", "type", "settings", "reads", "gives", "weights", "params")
    columns = [Column(words(f"column.{title}"), title == "params") for title in titles]
    rows = [
        [
            Cell(layer.label, layer.n),
            Cell(layer.type),
            Cell(settings(layer) or words.missing),
            Cell(" ".join(layer.inputs)),
            Cell(", ".join(f"{x.label} {dimensions(x.shape)}" for x in layer.outputs)),
            Cell(_weights(layer, words)),
            Cell(words.count(layer.params), layer.params),
        ]
        for layer in described.layers
    ]
    total = sum(layer.params for layer in described.layers)
    foot = [Cell(words("column.total")), *(Cell("") for _ in range(5)), Cell(words.count(total))]
    return Table(words("network.caption", label=label), columns, rows, sortable=True, foot=foot)


def _weights(layer: Function, words: Translator) -> str:
    """The weights with their dimensions; the word for none where the function has none."""
    if not layer.weights:
        return words("network.no_weights")
    parts: dict[str, list[str]] = {}
    for weight in layer.weights:
        kind = weight.name.rpartition(".")[2]
        shape = f"{kind} {dimensions(weight.shape)}"
        notes = [words("network.again")] * weight.again + [words("network.fixed")] * (not weight.trainable)
        parts.setdefault(weight.label, []).append(shape + (f" ({', '.join(notes)})" if notes else ""))
    return "; ".join(f"{label}: {', '.join(shapes)}" for label, shapes in parts.items())


def operations(each: RunData, networks: Mapping[str, Description], words: Translator) -> Section:
    """Operations of one image forward, layer by layer, and of a training step; a second, and against the device's peak."""
    blocks: list[Block] = [Paragraph(words("operations.intro"))]
    for title, described in networks.items():
        label = words.name("part", title) if len(networks) > 1 else words("network.only")
        blocks.append(_by_layer(described, label, words))
        if described.uncounted:
            blocks.append(Note(words("operations.uncounted", which=", ".join(described.uncounted))))
    if step := each.step_operations:
        cells = [
            Cell(words("operations.step")),
            *(Cell(words.count(step.get(name)), step.get(name)) for name in _OPERATIONS),
        ]
        blocks.append(Table(words("operations.step_caption"), _columns(words), [cells]))
    blocks += _speed(each, words)
    return Section("operations", words("operations.title"), blocks)


def _columns(words: Translator) -> list[Column]:
    return [Column(words("column.function")), *(Column(words(f"operations.{name}"), True) for name in _OPERATIONS)]


def _by_layer(described: Description, label: str, words: Translator) -> Table:
    rows = []
    for layer in described.layers:
        counts = [getattr(layer.ops, name) for name in _OPERATIONS]
        rows.append([Cell(f"{layer.label} {layer.type}", layer.n), *(Cell(words.count(n), n) for n in counts)])
    foot = [Cell(words("column.total")), *(Cell(words.count(getattr(described.ops, name))) for name in _OPERATIONS)]
    return Table(
        words("operations.caption", label=label), _columns(words), rows, sortable=True, folded=len(rows) > 12, foot=foot
    )


def _speed(each: RunData, words: Translator) -> list[Block]:
    row, peak = each.row, each.row.get("peak_gflops_per_second")
    rate = row.get("gflops_per_second")
    if not is_finite(rate):
        return [Note(words("operations.no_speed"))]
    facts = [(words("operations.rate"), f"{words.number(rate)} GFLOP/s")]
    if is_finite(row.get("forward_gflops_per_second")):
        facts.append((words("operations.forward_rate"), f"{words.number(row['forward_gflops_per_second'])} GFLOP/s"))
    if not is_finite(peak) or not peak:
        return [DefinitionList(facts), Note(words("operations.no_peak"))]
    facts += [
        (words("operations.peak"), f"{words.number(peak)} GFLOP/s"),
        (words("operations.share"), words.per_cent(rate / peak, 1)),
    ]
    side, kind = each.peak.get("side"), each.peak.get("dtype")
    how = words("operations.how", side=words.count(side), kind=str(kind or "?"))
    blocks: list[Block] = [DefinitionList(facts), Paragraph(how)]
    times = row.get("peak_spread")
    if is_finite(times) and is_uncertain(times):
        low = words.number(peak / times)
        blocks.append(
            Note(words("operations.uncertain", times=words.number(times, 2), low=low, high=words.number(peak)))
        )
    return blocks
