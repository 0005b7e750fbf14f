"""`--scan FIELD=VALUES` read: which option a word means, and the values in a list or a range, by the option's type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ganhpc.core import units
from ganhpc.core.errors import UserError, nearest
from ganhpc.runs.experiment import Experiment, options
from ganhpc.runs.options import Option

_ALIASES = {"b1": "beta1", "b2": "beta2"}
"""Words of the literature that no field's name or part of it is."""

_MOST = 1000
"""Values of one range, at most."""

_RANGE = re.compile(r"\s*(?P<first>[^:]+?)\s*:\s*(?P<last>[^:]+?)\s*:\s*(?P<kind>lin|log)?\s*(?P<n>\d+)\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
"""Ends of a range of texts by which a program is given 32 instead of 32.0."""
_SHAPE = "a range is FIRST:LAST:N, FIRST:LAST:linN or FIRST:LAST:logN, such as 1e-5:1e-3:log5"


def find_option(cls: type[Experiment], word: str) -> Option:
    """The option that `word` means: its field's name or its flag, however it is written (lr_g, --lr-g, lrG), a part of a name that
    only one field has (eps), or an alias (b1).

    Raises UserError with the nearest names where there is none, where several have that part, and where it can't be scanned.
    """
    known = [option for option in options(cls) if option.path[0] != "resources"]
    typed = _bare(word)
    if typed in ("seed", "seeds"):
        raise UserError(f"--scan {word}: seeds have an option of their own: type --seeds K.")
    if typed in ("name", "preset") or any(_bare(o.name) == typed for o in options(cls) if o.path[0] == "resources"):
        raise UserError(
            f"--scan {word}: that does not change what is trained, or more than one thing of it; scan one of {', '.join(_names(known))}."
        )
    exact = [option for option in known if typed in (_bare(option.name), _bare(option.flag))]
    if not exact and (free := cls.free_option(word)):
        return free
    part = exact or [option for option in known if typed in option.name.lower().split("_")]
    part = part or [option for option in known if option.name == _ALIASES.get(typed)]
    if len(part) == 1:
        return part[0]
    if part:
        raise UserError(
            f"--scan {word}: several options of {cls.NAME} have that word: type {' or '.join(o.name for o in part)}."
        )
    raise UserError(f"--scan {word}: {cls.NAME} has no such option: {nearest(word, _names(known))}.")


def values_of(option: Option, text: str) -> tuple[Any, ...]:
    """The values in `text`, each once, in the order typed: 1e-4,2e-4 or 1e-5:1e-3:log5, or both mixed; lists as 6x16,12x32.

    Raises UserError that names the option, the text and what it takes.
    """
    found: list[Any] = []
    if option.type is float or option.kind:
        try:
            units.refuse_split_decimal(text.split(","), text)
        except UserError as error:
            raise UserError(f"--scan {option.name}: {error}") from None
    for part in map(str.strip, text.split(",")):
        if not part:
            raise UserError(
                f"--scan {option.name}={text}: a value is missing: write --scan {option.name}=V1,V2; "
                f"each is {option.expected}; {_SHAPE}."
            )
        found += _range(option, part) if _is_range(option, part) else [option.parse(part)]
    return tuple(value for n, value in enumerate(found) if value not in found[:n])


def _is_range(option: Option, text: str) -> bool:
    if option.ranged:
        match = _RANGE.fullmatch(text)
        # Any other text with two colons, an address or 01:30:00, is passed as it is.
        return match is not None and match["n"][0] != "0" and all(map(units.is_number, match.group("first", "last")))
    if ":" not in text or option.type not in (int, float):
        return False
    if option.kind != "duration":
        return True
    try:
        option.parse(text)  # 01:30:00 is a time
    except UserError:
        return True
    return False


def _range(option: Option, text: str) -> list[Any]:
    match = _RANGE.fullmatch(text)
    if not match:
        raise UserError(f"--scan {option.name}={text} is no range: {_SHAPE}.")
    read = units.parse_float if option.ranged else option.parse
    first, last, n = float(read(match["first"])), float(read(match["last"])), int(match["n"])
    if not 2 <= n <= _MOST or first == last:
        raise UserError(
            f"--scan {option.name}={text}: a range has two different ends and 2 to {_MOST:,} values: {_SHAPE}."
        )
    if match["kind"] == "log":
        if min(first, last) <= 0:
            raise UserError(
                f"--scan {option.name}={text}: a logarithmic range needs ends above zero: write linN instead."
            )
        points = [first * (last / first) ** (k / (n - 1)) for k in range(n)]
    else:
        points = [first + (last - first) * k / (n - 1) for k in range(n)]
    points[0], points[-1] = first, last
    points = [float(round(point)) for point in points] if option.type is int else readable(points)
    if option.ranged and all(map(_WHOLE.fullmatch, match.group("first", "last"))):
        return [str(int(point) if point.is_integer() else point) for point in points]
    for point in points:
        option.check(option.type(point))
    return [option.type(point) for point in points]


def readable(points: Sequence[float]) -> list[float]:
    """The points of a range with as few digits as keep each within 0.5 % of the way to its neighbour; both ends exactly."""
    inner = [
        next(r for r in _rounded(point) if abs(r - point) <= 0.005 * min(abs(point - left), abs(right - point)))
        for left, point, right in zip(points, points[1:], points[2:], strict=False)
    ]
    return [points[0], *inner, points[-1]]


def _rounded(point: float) -> list[float]:
    return [float(f"{point:.{digits}g}") for digits in range(1, 17)] + [point]


def shown(option: Option, value: Any) -> str:
    """`value` as `values_of` takes it: 6x16 for a list."""
    return option.show(value).replace(",", "x")


def _bare(word: str) -> str:
    return re.sub(r"[-_]", "", word.strip()).lower()


def _names(known: Sequence[Option]) -> list[str]:
    return [option.name for option in known if option.name not in ("seed", "name")]
