"""The pictures of a finished run, made of its folder alone: samples.gif, how the samples changed; converge.png, how the figures did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ganhpc.core import plot_settings
from ganhpc.core.errors import UserError
from ganhpc.core.files import SMALL, atomic_open, open_regular
from ganhpc.core.printable import printable
from ganhpc.core.statistics import Spread
from ganhpc.runs.definition_fields import experiment_of
from ganhpc.runs.run_files import is_number, read_metrics
from ganhpc.runs.run_folder import Run

_MOST_FRAMES = 60
_LAST_FRAME_SECONDS = 2.0
_NOT_CURVES = {"kind", "step", "epoch"}


def make(run: Run, say: Callable[[str], None]) -> None:
    """Make both where the run has made samples. What can't be made is said, and takes nothing from the run."""
    grids = sorted(run.samples.glob("step-*.png"))
    if not grids:
        return
    try:
        _animate(grids, run.samples / "samples.gif")
        plot(run.metrics_jsonl, run.samples / "converge.png", title=f"{experiment_of(run.folder)} {run.name}")
    except Exception as error:  # whatever Pillow and Matplotlib say of damaged pictures and giant numbers: its result is not written yet
        what = error if isinstance(error, OSError | UserError) else f"{type(error).__name__}: {error}"
        say(f"warning: the pictures of the whole run could not be made ({printable(what)})")


def _animate(grids: Sequence[Path], path: Path) -> None:
    """The grids one after the other, at most MOST_FRAMES of them evenly chosen, as a GIF that repeats."""
    from PIL import Image

    last = len(grids) - 1
    chosen = sorted(
        {round(k * last / max(1, _MOST_FRAMES - 1)) for k in range(_MOST_FRAMES)}
        if last >= _MOST_FRAMES
        else range(last + 1)
    )
    frames = []
    for k in chosen:
        with open_regular(grids[k], SMALL) as picture:
            frames.append(Image.open(picture, formats=["PNG"]).convert("RGB"))
    durations = [max(60, min(500, 6000 // len(frames)))] * (len(frames) - 1) + [int(1000 * _LAST_FRAME_SECONDS)]
    with atomic_open(path, durable=False) as file:
        frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _curves(metrics: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The training figures in metrics.jsonl by name: (epochs, values).

    Single steps where at least ten were logged, else the means of epochs. Values that are not finite are left out.
    """
    lines = [line for line in read_metrics(metrics)[0] if is_number(line.get("epoch"))]
    steps = [line for line in lines if line.get("kind") == "train"]
    if len(steps) < 10:
        steps = [
            {"epoch": line["epoch"], **{k.removeprefix("train_"): v for k, v in line.items() if k.startswith("train_")}}
            for line in lines
            if line.get("kind") == "epoch"
        ]
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in steps:
        for name, value in line.items():
            if name not in _NOT_CURVES and not name.startswith("lr") and is_number(value):
                epochs, values = found.setdefault(name, ([], []))
                epochs.append(line["epoch"])
                values.append(value)
    return found


def _summary(name: str, values: Sequence[float]) -> str:
    """The mean, standard deviation and coefficient of variation (deviation / |mean|) of `values`, and how many they are."""
    found = Spread.of(values)
    deviation = found.std or 0.0
    variation = f"{deviation / abs(found.mean):.0%}" if found.mean else "-"
    return f"{name}: mean {found.mean:.3g}, sd {deviation:.2g}, cv {variation}, n {found.n}"


def plot(metrics: Path, path: Path, title: str = "") -> None:
    """Losses above, scores and the rest below, over epochs."""
    # The canvas is named, so that no display is looked for and pyplot's state is left alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = _curves(metrics)
    groups = [{n: c for n, c in found.items() if n.startswith("loss") is wanted} for wanted in (True, False)]
    groups = [group for group in groups if group]
    if not groups:
        return
    # A name may hold dollars, which are no formula.
    with plot_settings.only({"text.parse_math": False}), atomic_open(path, durable=False) as file:
        figure = Figure(figsize=(9, 3.6 * len(groups)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(printable(title), fontsize=10)
        for row, group in enumerate(groups):
            _panel(figure.add_subplot(len(groups), 1, row + 1), group)
        figure.savefig(file, format="png", dpi=100)


def _panel(axes: Any, group: dict[str, tuple[list[float], list[float]]]) -> None:
    for name, (epochs, values) in group.items():
        axes.plot(epochs, values, linewidth=0.9, label=printable(_summary(name, values)))
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")
