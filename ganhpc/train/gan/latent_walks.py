"""Latent vectors and classes of the pictures that `sample` draws: grids of a class a row, ways from one vector or class to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import printable
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io

_MOST_ROWS = 100


@dataclass(frozen=True)
class Plan:
    """The pictures to draw, in `rows` and `columns`.

    Args:
        first, last: the class of each row where it begins and ends, [rows]; None without classes. one_each: rows are different classes, and
            have the same latent vectors.
    """

    dim: int
    rows: int
    columns: int
    seed: int
    truncation: float | None
    classes: int = 0
    first: Tensor | None = None
    last: Tensor | None = None
    one_each: bool = False
    words: str = ""

    @property
    def across(self) -> bool:
        """True if a row leads from one class to another."""
        return self.first is not None and self.last is not None and not torch.equal(self.first, self.last)

    def latents(self, n: int) -> Tensor:
        return generator_io.latents(n, self.dim, self.seed, truncation=self.truncation)

    def labels(self, share: float) -> Tensor | None:
        """The network's input for the classes of the rows, `share` of the way along: shares of classes [rows, classes]."""
        if self.first is None or self.last is None:
            return None
        found = torch.zeros(self.rows, self.classes)
        places = torch.arange(self.rows)
        found[places, self.first] += 1 - share
        found[places, self.last] += share
        return found


def plan(
    net: nn.Module,
    run: Run,
    label: str | None,
    rows: int | None,
    columns: int,
    seed: int,
    truncation: float | None,
    usual: int,
) -> Plan:
    """The pictures to draw by `net`; `usual`: rows where none are asked for, and no classes take one each. Raises UserError where `label`
    names no class of it."""
    dim, classes = int(net.latent_dim), int(getattr(net, "classes", 0))  # type: ignore[arg-type]
    cut = "" if truncation is None else f", truncation {truncation:g}"
    if not classes:
        if label is not None:
            raise UserError(f"--class {printable(label)}: {run} draws without classes: leave it out.")
        return Plan(dim, rows or usual, columns, seed, truncation, words=cut)
    names: tuple[str, ...] = net.class_names  # type: ignore[assignment]
    if label is None:
        rows = rows or min(classes, _MOST_ROWS)
        of_row = torch.arange(rows) % classes
        return Plan(
            dim, rows, columns, seed, truncation, classes, of_row, of_row, one_each=True, words=f", a class a row{cut}"
        )
    rows = rows or usual
    ends = [label] if label in names else label.split(":", 1)
    first, last = _number(ends[0], names), _number(ends[-1], names)
    said = " to ".join(dict.fromkeys(printable(names[k]) for k in (first, last)))
    begin, end = (torch.full((rows,), k) for k in (first, last))
    return Plan(dim, rows, columns, seed, truncation, classes, begin, end, words=f" of {said}{cut}")


def _number(word: str, names: tuple[str, ...]) -> int:
    """The class called `word`, or of that number."""
    if word in names:
        return names.index(word)
    if word.isascii() and word.isdigit() and len(word) < 9 and int(word) < len(names):
        return int(word)
    raise UserError(
        f"--class {printable(word)}: this run has classes 0 to {len(names) - 1}: {nearest(word, [printable(name) for name in names])}."
    )


def sheet(plan: Plan, kind: str) -> tuple[Tensor, Tensor | None]:
    """(latent vectors [rows x columns, dim], classes or None) of a sheet, row by row. `kind`: how each row leads from one vector to another
    (empty: it does not)."""
    if not kind and not plan.across:
        z = plan.latents(plan.columns).repeat(plan.rows, 1) if plan.one_each else plan.latents(plan.rows * plan.columns)
        y = plan.labels(0)
        return z, None if y is None else y.repeat_interleave(plan.columns, 0)
    start, end = plan.latents(2 * plan.rows).chunk(2)
    shares = [k / max(1, plan.columns - 1) for k in range(plan.columns)]
    z = torch.stack([generator_io.between(start, end, share, kind) if kind else start for share in shares], 1)
    labels = [each for share in shares if (each := plan.labels(share)) is not None]
    return z.flatten(0, 1), torch.stack(labels, 1).flatten(0, 1) if labels else None


def film(plan: Plan, kind: str, frames: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """(latent vectors, classes or None) of each frame, one way; `kind` as in `sheet`."""
    start, end = plan.latents(2 * plan.rows * plan.columns).chunk(2)
    for k in range(frames):
        share = k / (frames - 1)
        y = plan.labels(share)
        z = generator_io.between(start, end, share, kind) if kind else start
        yield z, None if y is None else y.repeat_interleave(plan.columns, 0)
