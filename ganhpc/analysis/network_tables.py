"""Print a description: tables that stay readable from 80 columns on. Knows rich, not torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ganhpc.runs.network_description import Description, Function, Operations

_WIDE = 150
"""Columns from which functions and operations share one table."""
_ROOMY = 110
"""Columns from which the operations name the module too."""

_NAMES = {
    "negative_slope": "slope",
    "start_dim": "from axis",
    "end_dim": "to axis",
    "scale_factor": "times",
    "output_size": "to",
    "dim": "axis",
}
_USUAL: Mapping[str, Any] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "output_padding": 0,
    "padding_mode": "zeros",
    "ceil_mode": False,
    "return_indices": False,
    "count_include_pad": True,
    "transposed": False,
    "eps": 1e-5,
    "momentum": 0.1,
    "affine": True,
    "elementwise_affine": True,
    "track_running_stats": True,
    "start_dim": 1,
    "end_dim": -1,
    "keepdim": False,
    "alpha": 1.0,
}
"""Hyper-parameters that are not worth a word at these values."""
_SIZES = (("in_channels", "out_channels"), ("in_features", "out_features"))
_SIZE = {"num_features", "num_channels"}
_LENGTHS = {"stride", "padding", "dilation", "output_padding", "output_size"}


@dataclass(frozen=True)
class _NetworkColumn:
    header: str
    cell: Callable[[Function], Text | str]
    total: Callable[[Description], str] = lambda _: ""
    number: bool = False
    style: str = ""
    at_most: int | None = None


def render(description: Description, console: Console, title: str = "Network") -> None:
    """Print `description`: its functions, tensors and weights; operations per image; fvcore's count beside ours."""
    console.print(_headline(description, title))
    operations = _operation_columns(description.ops)
    if console.width >= _WIDE:
        console.print(
            _table(description, "Functions, tensors, weights; operations per image", [*_FUNCTION, *operations])
        )
    else:
        console.print(_table(description, "Functions, tensors and weights", _FUNCTION))
        module = [_MODULE] if console.width >= _ROOMY else []
        console.print(_table(description, "Operations per image", [*_LABEL, *module, *operations]))
    for line in _warnings(description):
        console.print(Padding(Text(line, style="yellow"), (0, 2)))
    if description.fvcore:
        _render_fvcore(description, console)


def _headline(description: Description, title: str) -> Text:
    frozen = f" and {description.frozen_params:,} frozen" if description.frozen_params else ""
    inputs = ", ".join(f"{x.label} of {dimensions(x.shape)}" for x in description.inputs)
    return Text.assemble(
        (title, "bold"),
        f": {description.params:,} trainable parameters{frozen}; {description.ops.total:,} operations per image; ",
        f"input {inputs}",
    )


def _table(description: Description, title: str, columns: Sequence[_NetworkColumn]) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), title_justify="left", title_style="bold cyan")
    table.show_footer = True
    for column in columns:
        table.add_column(
            column.header,
            Text(column.total(description), style="bold"),
            justify="right" if column.number else "left",
            no_wrap=column.number,
            style=column.style,
            max_width=column.at_most,
        )
    for layer in description.layers:
        table.add_row(*(column.cell(layer) for column in columns))
    return table


def _count(n: int) -> str:
    return f"{n:,}" if n else "–"


def _function_cell(layer: Function) -> Text:
    return Text.assemble((layer.type, "bold"), (f" {text}", "dim") if (text := settings(layer)) else "")


def _output_cell(layer: Function) -> str:
    return "\n".join(f"{x.label} {dimensions(x.shape)}" for x in layer.outputs)


def _weight_cell(layer: Function) -> Text:
    if not layer.weights:
        return Text("none", style="dim")
    by_label: dict[str, list[str]] = {}
    for weight in layer.weights:
        shapes = by_label.setdefault(weight.label, [])
        if not weight.again:
            shapes.append(dimensions(weight.shape) if weight.trainable else f"{dimensions(weight.shape)} frozen")
    return Text("\n".join(f"{label} {', '.join(shapes) or 'again'}" for label, shapes in by_label.items()))


_LABEL = [
    _NetworkColumn("Fn", lambda layer: layer.label),
    _NetworkColumn("function", lambda layer: layer.type, lambda _: "total"),
]
_MODULE = _NetworkColumn("module", lambda layer: layer.name, style="dim")
_FUNCTION = [
    _LABEL[0],
    _NetworkColumn("function", _function_cell, lambda _: "total"),
    _NetworkColumn("reads", lambda layer: " ".join(layer.inputs), at_most=11),
    _NetworkColumn("gives Xn", _output_cell, style="cyan"),
    _NetworkColumn("weights Wn", _weight_cell),
    _NetworkColumn("parameters", lambda layer: _count(layer.params), lambda d: f"{_all_parameters(d):,}", number=True),
]


def _all_parameters(description: Description) -> int:
    return sum(layer.params for layer in description.layers)


def _operation_columns(total: Operations) -> Iterator[_NetworkColumn]:
    for header, name in (("additions", "add"), ("multiplies", "mul"), ("maximums", "max"), ("other", "other")):
        if name != "other" or total.other:
            yield _NetworkColumn(header, *_cells(name), number=True)
    yield _NetworkColumn("total", *_cells("total"), number=True)


def _cells(name: str) -> tuple[Callable[[Function], Text | str], Callable[[Description], str]]:
    return (lambda layer: _count(getattr(layer.ops, name))), (lambda d: f"{getattr(d.ops, name):,}")


def dimensions(shape: Sequence[int]) -> str:
    """`6×28×28`; a single value is `1`."""
    return "×".join(str(size) for size in shape) or "1"


def settings(layer: Function) -> str:
    """Hyper-parameters in a few words: `3→6, 5×5, stride 2`; those that go without saying are left out."""
    # The weights' own column shows whether there is a bias.
    rest, words = {name: value for name, value in layer.settings.items() if name != "bias"}, []
    for before, after in _SIZES:
        if before in rest and after in rest:
            words.append(f"{rest.pop(before)}→{rest.pop(after)}")
    for name, value in rest.items():
        # A pooling's stride follows its window, so that 1 is worth a word there.
        if not _is_usual(name, value) or (name == "stride" and "Pool" in layer.type):
            words.append(_word(layer.type, name, value))
    return ", ".join(words)


def _is_usual(name: str, value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return name in _USUAL and all(single == _USUAL[name] for single in values)


def _word(kind: str, name: str, value: Any) -> str:
    if name == "kernel_size":
        axes = next((n for n in (1, 2, 3) if f"{n}d" in kind), 1)
        return dimensions(value if isinstance(value, list | tuple) else [value] * axes)
    text = _value(name, value)
    return text if name in _SIZE else f"{_NAMES.get(name, name.replace('_', ' '))} {text}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        if len(set(value)) == 1:
            return str(value[0])
        return dimensions(value) if name in _LENGTHS else ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _warnings(description: Description) -> Iterator[str]:
    if description.uncounted:
        yield f"Not counted, so the true total is higher: {', '.join(description.uncounted)}."
    if description.unused:
        yield f"Parameters that the forward pass never uses: {', '.join(description.unused)}."


def _render_fvcore(description: Description, console: Console) -> None:
    fvcore = description.fvcore
    if "error" in fvcore:
        console.print(Padding(Text(fvcore["error"], style="yellow"), (1, 2)))
        return
    table = Table(
        title="fvcore's count beside ours", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold cyan"
    )
    for header in ("per image", "ours", "fvcore"):
        table.add_column(header, justify="left" if header == "per image" else "right")
    table.add_row("multiply-accumulate pairs", f"{description.macs:,}", f"{fvcore['macs']:,}")
    table.add_row("all that is counted", f"{description.ops.total:,}", f"{fvcore['total']:,}")
    console.print(table)
    for sentence in (*fvcore["fvcore_leaves_out"], *fvcore["ours_leaves_out"]):
        grid = Table.grid(padding=(0, 1))
        grid.add_row(" •", sentence)
        console.print(grid)
