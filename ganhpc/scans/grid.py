"""A scan's grid: values of options -> one definition for each combination and seed. Pure; ganhpc.scans.scan_record keeps the record.

`SCANS` beside `PRESETS` in an experiment's file names scans: {"lr-eps": Named({"lr_g": (1e-3, 1e-4), ..})}.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import slug
from ganhpc.runs.experiment import Experiment, options
from ganhpc.runs.options import Option
from ganhpc.scans import scan_record
from ganhpc.scans.named import Named, named_scans
from ganhpc.scans.scan_syntax import find_option, shown, values_of

_MOST_RUNS = 1000


class _Axis(NamedTuple):
    """One scanned option and its values."""

    option: Option
    values: tuple[Any, ...]


class Grid(NamedTuple):
    """All that one command scans."""

    name: str
    mode: str
    """product, zip or named, as the record has it."""
    axes: tuple[_Axis, ...]
    zipped: bool
    preset: str | None = None
    """The preset of the named scan, if any."""

    def points(self) -> Iterator[dict[str, Any]]:
        """The combinations, {field: value} each, the last option changing quickest."""
        columns = [axis.values for axis in self.axes]
        names = [axis.option.name for axis in self.axes]
        for row in zip(*columns, strict=True) if self.zipped else itertools.product(*columns):
            yield dict(zip(names, row, strict=True))

    def experiments(self, base: Experiment, seeds: int) -> list[Experiment]:
        """Every combination with the first seed, then with the next one, so that the whole scan is seen early. Raises UserError."""
        count = seeds * (len(self.axes[0].values) if self.zipped else _product(len(axis.values) for axis in self.axes))
        if count > _MOST_RUNS:
            raise UserError(
                f"this scan makes {count:,} runs, more than {_MOST_RUNS:,}: give fewer values, or type --zip."
            )
        made = [self._variant(base, point) for point in self.points()]
        return [e.replace(seed=base.seed + k) for k in range(seeds) for e in made]

    def _variant(self, base: Experiment, point: dict[str, Any]) -> Experiment:
        if base.name:  # One name for all would tell nothing apart.
            words = [axis.option.label(point[axis.option.name]) for axis in self.axes]
            point = {**point, "name": "-".join([base.name, *words])}
        return base.replace(**point)

    def record(self, base: Experiment, seeds: int, runs: Path, names: Sequence[str]) -> scan_record.Scan:
        """The record of it that is kept in `runs`; `names`: the folders of its runs in order."""
        scanned = {axis.option.name for axis in self.axes}
        tree = base.definition
        tree["budget"] = {key: value for key, value in tree["budget"].items() if key not in scanned}
        rest = {key: value for key, value in tree.items() if key not in {*scanned, "seed"}}
        fields = tuple(
            scan_record.Field(
                a.option.name, a.option.flag, tuple(list(v) if isinstance(v, tuple) else v for v in a.values)
            )
            for a in self.axes
        )
        name = slug(base.name) if base.name else self.name
        return scan_record.Scan(runs / base.NAME, name, base.NAME, rest, self.mode, fields, seeds, tuple(names))

    def __str__(self) -> str:
        """As it could be typed: lr_g=0.001,0.0001 x bn_eps=0.1,0.5."""
        parts = [f"{a.option.name}={','.join(shown(a.option, value) for value in a.values)}" for a in self.axes]
        return (" with " if self.zipped else " x ").join(parts)


def read(cls: type[Experiment], texts: Sequence[str], *, zipped: bool) -> Grid:
    """The scan that the words behind --scan mean: FIELD=VALUES, or the name of a scan of the experiment's file.

    Raises UserError for a word that is neither, an option typed twice, or lists of different lengths with --zip.
    """
    axes: list[_Axis] = []
    used: dict[str, Named] = {}
    for text in texts:
        if "=" in text:
            word, _, values = text.partition("=")
            option = find_option(cls, word)
            axes.append(_Axis(option, values_of(option, values)))
        else:
            used[text] = found = _named(cls, text)
            axes += [_axis(cls, word, values) for word, values in found.values.items()]
    names = [axis.option.name for axis in axes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice} is scanned twice: write all its values in one --scan {twice}=V1,V2.")
    presets = {found.preset for found in used.values()}
    if len(presets) > 1:
        raise UserError(
            f"the scans {' and '.join(used)} start from different presets ({', '.join(sorted(presets))}): type --preset too."
        )
    zipped = zipped or (len(texts) == 1 and any(found.zip for found in used.values()))
    if zipped and len(sizes := {axis.option.name: len(axis.values) for axis in axes}) and len({*sizes.values()}) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise UserError(f"--zip pairs the values of the options, so each needs as many: {told}.")
    mode = "named" if used else "zip" if zipped else "product"
    words = [*used, *(axis.option.flag[2:] for axis in axes[sum(len(n.values) for n in used.values()) :])]
    return Grid(
        slug("-".join(words if used else [a.option.flag[2:] for a in axes])), mode, tuple(axes), zipped, *presets
    )


def _named(cls: type[Experiment], name: str) -> Named:
    known = named_scans(cls)
    if name in known:
        return known[name]
    fields = {option.name for option in options(cls)}
    if name.replace("-", "_").lstrip("_") in fields:
        raise UserError(f"--scan {name} has no values: write --scan {name}=V1,V2, or a range such as 1e-5:1e-3:log5.")
    has = f"{nearest(name, known)}, or" if known else "it has none:"
    raise UserError(f"{cls.NAME} has no scan {name!r}: {has} write --scan FIELD=V1,V2.")


def _axis(cls: type[Experiment], word: str, values: Sequence[Any]) -> _Axis:
    option = find_option(cls, word)
    for value in values:
        option.check(value)
    return _Axis(option, tuple(values))


def _product(sizes: Iterator[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count
