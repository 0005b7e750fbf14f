"""Choosing and ordering rows by their fields: of the result, or of the run's definition."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ganhpc.analysis.results.rows import Row, is_number
from ganhpc.core import units
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import read_json
from ganhpc.core.units import AmbiguousError, parse_count, parse_duration, parse_float, parse_whole
from ganhpc.runs.definition_fields import arguments_of
from ganhpc.runs.run_folder import Run

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda value, word: str(word).lower() in str(value).lower(),
}
_FIELD = r"(?:[^\W\d]|\{)[^\s<>=!~]*"
"""Figures of a program may be called val/loss or top-5; {epochs} is the value that its argument of that name has."""
_FORM = re.compile(rf"\s*({_FIELD})\s*(<=|>=|!=|==|<|>|=|~)\s*(\S|\S.*\S)\s*")
_AND = re.compile(rf"\s+and\s+(?={_FIELD}\s*(?:<|>|!|=|~))")
"""Only before another test: a text to look for may have the word in it."""
_BEGINNINGS = tuple("0123456789+-.")
_DIGITS = 16
"""Longer texts of digits are names, which a float would not tell apart."""
_YES, _NO, _UNSET = ("yes", "true", "on", "1"), ("no", "false", "off", "0"), ("none", "null", "unset")


class Filter(NamedTuple):
    """One test of a row: a field, an operator, and the value to compare with as it was typed."""

    field: str
    operator: str
    value: str

    @staticmethod
    def parse(text: str) -> Filter:
        """The test in `test_accuracy>0.6`, `experiment=cifar`, `variant~course`, `train_seconds<5m`, `lr!=0.01`.

        Raises UserError for anything else.
        """
        match = _FORM.fullmatch(text)
        if not match:
            raise UserError(
                f"--filter {text!r} can't be read: write FIELD OPERATOR VALUE between quotes, such as 'test_accuracy>0.6' "
                f"(operators: {' '.join(_COMPARE)})."
            )
        return Filter(_field_name(match[1]), match[2].replace("==", "="), match[3])

    @staticmethod
    def parse_all(text: str) -> list[Filter]:
        """The tests in `lr_g<2e-4 and state=done`. Raises UserError where one can't be read."""
        return [Filter.parse(part) for part in _AND.split(text)]

    def passes(self, row: Row) -> bool:
        """True if `row` passes. What is not known equals only `none`. Raises UserError where the value has not the field's kind."""
        value = row.get(self.field)
        if self.operator in ("=", "!=") and self.value.lower() in _UNSET:
            return (value is None) == (self.operator == "=")
        if value is None:
            return self.operator == "!="
        wanted: Any = self.value
        if self.operator != "~":
            value, wanted = self._pair(value)
        return _COMPARE[self.operator](value, wanted)

    def _pair(self, value: Any) -> tuple[Any, Any]:
        """`value` and the typed one, as two things that can be compared."""
        if isinstance(value, bool):
            if self.value.lower() not in _YES + _NO:
                raise UserError(f"--filter: {self.field} is yes or no, not {self.value!r}.")
            return value, self.value.lower() in _YES
        if isinstance(value, int | float):
            return value, self._number(whole=isinstance(value, int))
        if isinstance(value, list):
            return ",".join(map(str, value)), re.sub(r"(?<=\d)x(?=\d)", ",", self.value.replace(" ", ""))
        number, wanted = _as_number(value), _as_number(self.value)
        if isinstance(number, float) and isinstance(wanted, float):
            return number, wanted
        return (json.dumps(value) if isinstance(value, dict) else str(value)), self.value

    def _number(self, *, whole: bool) -> float:
        """The typed number; `whole`: what it is compared with is one, so that 1,234 can only be thousands."""
        for read in (parse_whole if whole else parse_float, parse_float, _per_cent, parse_count, parse_duration):
            try:
                number = float(read(self.value))
            except AmbiguousError as error:
                raise UserError(f"--filter {self.field}: {error}") from None
            except (ValueError, UserError):
                continue
            if not math.isnan(number):
                return number
        raise UserError(
            f"--filter: {self.field} is a number, and {self.value!r} is none: write it as 0.6, 60%, 1e-4, 256k or 5m."
        )


def _per_cent(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError(text)
    return parse_float(text[:-1]) / 100


def _field_name(text: str) -> str:
    """A field as it was typed: `weight-decay` and `--weight-decay` are weight_decay."""
    return text.removeprefix("--").replace("-", "_")


def look_up(found: list[Row], field: str, option: str) -> bool:
    """Add `field` to each row that lacks it, from the run's definition (None where that has none either).

    Returns whether definitions have it. Raises UserError, with the nearest names, where no row has it.
    """
    for row in found:
        same = [] if field in row else [key for key in row if "-" in key and _field_name(key) == field]
        if same:  # a program's figure such as top-5
            row[field] = row[same[0]]
    lacking = [row for row in found if field not in row]
    definitions = [_definition(row) for row in lacking]
    defined = any(field in definition for definition in definitions)
    if len(lacking) == len(found) and found and not defined:
        known = {key for tree in (*found, *definitions) for key in tree if not key.startswith("{")}
        raise UserError(f"{option} {field}: no run has such a field; {nearest(field, known)}.")
    for row, definition in zip(lacking, definitions, strict=True):
        row[field] = definition.get(field)
    return defined


def _definition(row: Row) -> Row:
    """Every option of the run's definition by its name, those of the budget and the resources too, and what a scan gave a program's arguments."""
    try:
        tree = read_json(Run(Path(row["folder"])).experiment_json) or {}
    except (OSError, UserError):
        return {}
    nested = [tree.pop(key, None) for key in ("resources", "budget")]
    typed: Row = {_field_name(name): text for name, text in arguments_of(tree).items()}
    flat = dict(typed)
    for part in (nested[0], tree, nested[1]):
        flat |= part if isinstance(part, dict) else {}
    if "command" in tree:  # a program's own, whatever the name means in results
        flat |= {f"{{{name}}}": value for name, value in {**tree, **typed}.items()}
    return flat


def _as_number(value: Any) -> Any:
    """A text that is a number, such as a value that a scan passes to a program, as one; anything else as it is."""
    numeric = isinstance(value, str) and value[:1] in _BEGINNINGS and len(value) < _DIGITS and units.is_number(value)
    return parse_float(value) if numeric else value


def ordered(found: list[Row], field: str, *, largest_first: bool = False) -> list[Row]:
    """The rows by `field` (of a group: by its mean): numbers, then words; those without it come last."""

    def value(row: Row) -> Any:
        inner = row.get(field)
        return inner.get("mean") if isinstance(inner, dict) else _as_number(inner)

    numbers = [row for row in found if is_number(value(row))]
    words = [row for row in found if value(row) is not None and not is_number(value(row))]
    numbers.sort(key=value, reverse=largest_first)
    words.sort(key=lambda row: str(value(row)), reverse=largest_first)
    return numbers + words + [row for row in found if value(row) is None]


def sort_field(text: str, option: str = "--sort") -> tuple[str, bool]:
    """(field, whether the largest comes first) of `test_accuracy` or `-test_accuracy`. Raises UserError where it is empty."""
    down = text.startswith("-") and not text.startswith("--")
    field = _field_name(text[1:] if down else text).strip()
    if not field:
        raise UserError(f"{option} {text!r} names no field: write {option} -test_accuracy for the best first.")
    return field, down
