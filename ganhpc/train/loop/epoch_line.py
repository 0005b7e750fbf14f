"""The line that a run prints at the end of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ganhpc.core.units import format_duration, human_number, human_rate
from ganhpc.runs.figures import brief


def epoch_line(
    epoch: float | None,
    planned: float,
    left: float | None,
    rates: Mapping[str, float],
    words: str,
    headline: tuple[str, float | None],
    images_per_second: float,
    work: Mapping[str, float],
) -> str:
    """The state of a run in one line.

    Args:
        epoch: epochs trained; None before the first step.
        planned: epochs planned; 0 where that is not known.
        left: seconds left of the budget of time; None without one.
        rates: learning rates by name.
        words: the training figures, in the task's own words.
        headline: the name of the evaluation's headline, and its value where there is one.
        images_per_second: speed of training; 0 where it is not known.
        work: seconds, operations and operations a second of the pass.
    """
    of = f" of {math.ceil(planned - 1e-9)}" if planned else ""
    parts = ["before training" if epoch is None else f"epoch {epoch:.4g}{of}"]
    if left is not None:
        parts.append(f"{format_duration(max(0, round(left)))} left")
    parts += [f"{name} {value:.3g}" for name, value in rates.items()]
    if words:
        parts.append(words)
    name, figure = headline
    if figure is not None:
        parts.append(f"{name.replace('_', ' ')} {brief(name, figure)}")
    if images_per_second:
        parts.append(f"{human_rate(images_per_second)} images/s")
    return " | ".join([*parts, *_pass_words(work)])


def _pass_words(work: Mapping[str, float]) -> list[str]:
    """Time and work of a pass, for people."""
    words = []
    if "epoch_seconds" in work:
        words.append(f"{work['epoch_seconds']:.3g} s")
    if "epoch_ops" in work:
        words += [
            f"{human_number(work['epoch_ops'])} operations",
            f"{human_number(work['ops_per_second'])} operations/s",
        ]
    return words
