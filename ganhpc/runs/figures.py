"""The catalogue of figures: what each is called, its unit, which way is better, and where it shows; the phases of a training, and the
colours of a run's states.

A new figure is its producer and one line here (and, where a report shows it, its name in templates/report/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class _Better(Enum):
    """The better direction of a figure."""

    HIGHER = auto()
    LOWER = auto()


class ShownIn(Enum):
    """Places where a figure shows beside `results --json` and the table, which have all."""

    ROW = auto()
    """Every row of `results` has it, if only as unknown."""
    COMPARED = auto()
    """`results --compare`."""
    HPARAMS = auto()
    """Columns of TensorBoard's HParams page, from the last evaluation."""
    HPARAMS_END = auto()
    """The same, from what is measured at the end."""
    VARIANTS = auto()
    """The report's table of variants."""
    HELD_OUT = auto()
    """The report's plot of a GAN's figures on held-out images."""
    GAN_MEASURES = auto()
    """The report's list of what a GAN's generator is worth."""


SHARE = "share"
"""The unit of what is told in per cent: a fraction in [0, 1]."""


@dataclass(frozen=True)
class _Figure:
    """One figure.

    Args:
        label: its title in the table of `results`.
        table: the place of its column there, from 1 (0: none). beside: where space is short, on the line of the name.
        spread: with columns for the deviation and the coefficient of several seeds.
        judged: runs are judged by the first figure that they have, in this order from 1 (0: never).
        family: any figure whose name begins with the key (frechet_efflite0), or with `prefix` (FD-EffLite0).
        work: what a run cost or how it went, and not how well its networks do.
    """

    key: str
    label: str = ""
    unit: str = ""
    better: _Better | None = None
    places: frozenset[ShownIn] = frozenset()
    table: int = 0
    beside: bool = False
    spread: bool = False
    judged: int = 0
    family: bool = False
    prefix: str = ""
    work: bool = False

    def fits(self, key: str) -> bool:
        return key == self.key or (self.family and key.startswith((self.key, *filter(None, (self.prefix,)))))


def _figure(
    key: str, label: str = "", unit: str = "", *places: ShownIn, up: bool | None = None, **more: Any
) -> _Figure:
    better = None if up is None else _Better.HIGHER if up else _Better.LOWER
    return _Figure(key, label, unit, better, frozenset(places), **more)


_P = ShownIn
_TRAINED = (_P.COMPARED, _P.HPARAMS)
_MEASURED = (*_TRAINED, _P.HELD_OUT, _P.GAN_MEASURES)
_OF_VARIANTS = (*_MEASURED, _P.VARIANTS)
_AT_THE_END = (_P.COMPARED, _P.HPARAMS_END, _P.VARIANTS, _P.GAN_MEASURES)
_COST = (_P.ROW, _P.COMPARED)
FIGURES = (
    _figure("test_accuracy", "accuracy", SHARE, _P.ROW, *_TRAINED, up=True, table=1, spread=True, judged=1),
    _figure("test_accuracy_no_tta", "no TTA", SHARE, *_COST, up=True, table=2, beside=True),
    _figure("teacher_accuracy", "", SHARE, up=True),
    _figure("test_loss", "", "", *_TRAINED, up=False, judged=6),
    _figure("loss", "", "", up=False),
    _figure("valid", "valid", SHARE, *_OF_VARIANTS, up=True, table=4, spread=True, judged=4),
    _figure("diversity", "diversity", "", *_OF_VARIANTS, up=True, table=5, beside=True),
    _figure("convergence", "M", "", *_OF_VARIANTS, up=False, table=7, spread=True, judged=5),
    _figure("wasserstein", "", "", *_OF_VARIANTS, up=False),
    _figure("thumbnail_distance", "thumbnails", "", *_OF_VARIANTS, up=False, judged=8),
    _figure("diversity_within", "", "", *_MEASURED, up=True),
    _figure("class_accuracy", "", SHARE, *_AT_THE_END, up=True),
    _figure("class_accuracy_real", "", SHARE, _P.COMPARED, _P.GAN_MEASURES, up=True),
    _figure("class_diversity", "", "", _P.COMPARED, _P.HPARAMS_END, _P.GAN_MEASURES, up=True),
    _figure("cycle", "cycle", "", *_OF_VARIANTS, up=False, judged=7),
    _figure("identity", "", "", *_MEASURED, up=False),
    _figure("diversity_a2b", "", "", *_MEASURED, up=True),
    _figure("diversity_b2a", "", "", *_MEASURED, up=True),
    _figure("held_out_score", "", "", _P.COMPARED, _P.HPARAMS, _P.HELD_OUT),
    _figure("fake_score", "", "", _P.COMPARED, _P.HPARAMS, _P.HELD_OUT),
    _figure("total_cost", "cost", "", _P.COMPARED, _P.HPARAMS, up=False, judged=9),
    _figure("error_", "", SHARE, _P.COMPARED, up=False, family=True),
    _figure("active_", "", SHARE, _P.COMPARED, family=True),
    _figure("train_loss", "", "", *_TRAINED, up=False),
    _figure("train_loss_g", "loss G", "", *_TRAINED, table=8),
    _figure("train_loss_d", "loss D", "", *_TRAINED, table=9),
    _figure("train_k", "k", "", *_TRAINED, table=6),
    _figure("train_M", "", "", *_TRAINED, up=False),
    _figure("lines_valid", "", SHARE, _P.COMPARED, _P.HPARAMS_END, _P.VARIANTS, up=True, judged=3),
    _figure("lines_coverage", "", "", _P.COMPARED, _P.HPARAMS_END, up=True),
    _figure("lines_total_variation", "", "", up=False),
    _figure("lines_", "", "", _P.GAN_MEASURES, family=True),
    _figure("frechet", "FD", "", *_AT_THE_END, up=False, table=3, judged=2, family=True, prefix="FD-"),
    _figure("kernel", "", "", *_AT_THE_END, up=False, family=True, prefix="KD-"),
    _figure("params", "params", "", *_COST, table=10, work=True),
    _figure("macs", "MACs", "", *_COST, table=11, work=True),
    _figure("ops", "ops", "operations", *_COST, table=12, work=True),
    _figure("train_seconds", "time", "s", *_COST, table=13, work=True),
    _figure("epoch_seconds", "epoch", "s", table=14, beside=True, work=True),
    _figure("epoch_ops", "ops/epoch", "operations", table=15, beside=True, work=True),
    _figure("epochs", "epochs", "", *_COST, table=16, work=True),
    _figure("images_per_second", "images/s", "images/s", *_COST, table=17, work=True),
    _figure("gflops_per_second", "GFLOP/s", "GFLOP/s", *_COST, table=18, work=True),
    _figure("forward_gflops_per_second", "", "GFLOP/s", work=True),
    _figure("peak_gflops_per_second", "", "GFLOP/s", work=True),
    _figure("peak_spread", "", "times", work=True),
    _figure("frozen_params", work=True),
    _figure("budget_params", work=True),
    _figure("budget_seconds", "", "s", work=True),
    _figure("budget_used", "", SHARE, work=True),
    _figure("step_ops", "", "operations", work=True),
    _figure("epochs_planned", work=True),
    _figure("steps", work=True),
    _figure("batch_size", "", "images", work=True),
    _figure("average_step", work=True),
    _figure("segments", work=True),
    _figure("lost_seconds", "", "s", work=True),
    _figure("startup_seconds", "", "s", work=True),
    _figure("measure_seconds", "", "s", work=True),
    _figure("processes", work=True),
    _figure("threads", work=True),
)
"""One line a figure, in the order in which lists show them."""

_BY_KEY = {figure.key: figure for figure in FIGURES}


def find(key: str) -> _Figure | None:
    """The line of the figure called `key`: its own, else that of its family."""
    return _BY_KEY.get(key) or next((figure for figure in FIGURES if figure.fits(key)), None)


def shown_in(place: ShownIn) -> Iterator[_Figure]:
    """The figures of a place, in order."""
    return (figure for figure in FIGURES if place in figure.places)


def keys_of(place: ShownIn, *, families: bool = False) -> tuple[str, ...]:
    """Their keys: those of single figures, or the beginnings of names."""
    return tuple(figure.key for figure in shown_in(place) if figure.family is families)


def of_family(names: Iterable[str], key: str) -> list[str]:
    """Of `names`, those of the family called `key`: each once, their deviations left out."""
    line = _BY_KEY[key]
    return [name for name in dict.fromkeys(names) if line.fits(name) and not name.endswith("deviation")]


def named_in(place: ShownIn, names: Any) -> list[str]:
    """Of `names`, the figures of a place: in the catalogue's order, a family's in the order of `names`."""
    own = list(names)
    found = [name for figure in shown_in(place) for name in own if figure.fits(name)]
    return list(dict.fromkeys(found))


def columns() -> list[_Figure]:
    """The columns of the table, in order."""
    return sorted((figure for figure in FIGURES if figure.table), key=lambda figure: figure.table)


def judges() -> list[_Figure]:
    """The figures that runs are judged by: the first one that they have."""
    return sorted((figure for figure in FIGURES if figure.judged), key=lambda figure: figure.judged)


def lower_is_better(key: str) -> bool:
    """True if the smaller of two values is the better one; of a figure without a line, the larger one is."""
    figure = find(key)
    return figure is not None and figure.better is _Better.LOWER


def is_share(key: str) -> bool:
    """True if the figure is a fraction that people read in per cent."""
    figure = find(key)
    return key.endswith("accuracy") or (figure is not None and figure.unit == SHARE)


def brief(key: str, value: float) -> str:
    """The value in a line for people: 91.25%, or 0.1234."""
    return f"{value:.2%}" if is_share(key) else f"{value:.4g}"


WORK = frozenset(figure.key for figure in FIGURES if figure.work)
"""Numbers of a result that tell what it cost; the others are what its own evaluation measured."""

_UNCERTAIN = 1.5
"""A peak whose measurements differ by this factor says little."""


def is_uncertain(spread: Any) -> bool:
    """True if a peak with this `peak_spread` is to be doubted."""
    return isinstance(spread, int | float) and spread >= _UNCERTAIN


# -- phases and states ----------------------------------------------------------------------------------------------------

_STEP_PHASES = ("data", "forward", "backward", "optimizer")
BETWEEN = ("evaluation", "checkpoint", "logging")
"""Phases outside the training steps."""
TIMED = (*_STEP_PHASES, *BETWEEN)
"""The phases that the training clock charges."""
PHASES = (*TIMED, "other")
"""With what no phase was charged for."""

STATE_COLOURS = {
    "done": "green",
    "running": "cyan",
    "waiting": "blue",
    "resumable": "yellow",
    "cancelled": "yellow",
    "lost": "red",
    "crashed": "red",
    "refused": "red",
}
"""Of a run's states, on a terminal."""
