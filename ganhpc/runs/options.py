"""One option of the command line: how a field of a definition becomes one, what it takes, how its value reads."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ganhpc.core import units
from ganhpc.core.errors import UserError, nearest
from ganhpc.datasets.data_path import denoted, is_data_field

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    kind: str = "",
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    metavar: str = "",
    flag: str = "",
    after: str = "",
) -> Any:
    """A field of a definition that becomes an option of the command line.

    `kind`: "duration" or "count" where the text has a unit of its own, "cadence" for a text such as epoch, 500 or 2m, "auto" where None is
    typed so; `low` (inclusive) and `high` bound numbers; `flag`: what is typed, where that is not the field's name; `after`: the field
    behind which it stands, of a class above.
    """
    meta = {"help": help, "unit": unit, "kind": kind, "choices": choices, "low": low, "high": high, "metavar": metavar}
    return field(default=default, metadata={**meta, "word": flag, "after": after})


@dataclass(frozen=True)
class Option:
    """One field of a definition as an option: where it lies, what it takes, how its value reads."""

    name: str
    path: tuple[str, ...]
    type: Any
    """int, float, str, bool, or tuple."""
    optional: bool
    default: Any
    help: str
    unit: str = ""
    kind: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    metavar: str = ""
    word: str = ""
    after: str = ""
    item: type = int  # of a tuple: int or float
    ranged: ClassVar[bool] = False
    """True if a text is scanned as numbers where it is a range of them."""

    @property
    def flag(self) -> str:
        return self.word or "--" + self.name.replace("_", "-")

    def get(self, experiment: object) -> Any:
        value: Any = experiment
        for part in self.path:
            value = getattr(value, part)
        return value

    def parse(self, text: str) -> Any:
        """The value in `text`. Raises UserError that names the option, the text and what is allowed."""
        if is_data_field(self.name):
            return denoted(text, self.flag)
        try:
            value = self._convert(text.strip())
        except (ValueError, units.NotANumberError):
            raise self.refusal(text) from None
        except UserError as error:
            raise UserError(f"{self.flag}: {error}") from None
        value = self.canonical(value)
        self.check(value)
        return value

    def _convert(self, text: str) -> Any:
        if self.optional and text.lower() == ("auto" if self.kind == "auto" else "none"):
            return None
        if self.kind == "duration":
            return units.parse_duration(text)
        if self.kind == "count":
            return units.parse_count(text)
        if self.type is tuple:
            parts = () if text.lower() == "none" else text.replace("x", ",").split(",")
            if self.item is float:
                units.refuse_split_decimal(parts, text)
            found = tuple(_number(self.item, part) for part in parts if part.strip())
            if not found and text.lower() != "none":
                raise ValueError(text)
            return found
        if self.type is bool:
            if text.lower() not in _YES + _NO:
                raise ValueError(text)
            return text.lower() in _YES
        if self.type in (int, float):
            return _number(self.type, text)
        return self.type(text)

    def canonical(self, value: Any) -> Any:
        """`value` in the one spelling that the definition has: several for one thing would make several runs of it. Raises UserError."""
        if is_data_field(self.name):
            return denoted(value)
        if self.kind != "cadence":
            return value
        try:
            return units.format_cadence(units.parse_cadence(value))
        except UserError:
            raise self.refusal(value) from None

    def refusal(self, value: Any) -> UserError:
        """The error for a value that the option does not take."""
        return UserError(f"{self.flag} takes {self.expected}, not {value!r}.")

    def check_type(self, value: Any) -> None:
        """Raise UserError where `value`, read from a file, is of another type than the option's."""
        if value is None and self.optional:
            return
        item = self.item if self.type is tuple else self.type
        items = value if self.type is tuple and isinstance(value, tuple) else (value,)
        allowed = (int, float) if item is float else (item,)
        if (self.type is tuple and not isinstance(value, tuple)) or any(type(each) not in allowed for each in items):
            raise UserError(f"{self.flag} {value!r} is not allowed: it takes {self.expected}.")
        if self.kind in ("duration", "count", "auto") and not 0 < value < 1e15:
            raise UserError(f"{self.flag} {value!r} is out of range: it takes {self.expected}.")

    def check(self, value: Any) -> None:
        """Raise UserError where `value` is outside what the option allows."""
        if value is None and self.optional:
            return
        if self.choices and value not in self.choices:
            raise UserError(f"{self.flag} {value!r} is not allowed: {nearest(str(value), self.choices)}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and number - number != 0:
                raise UserError(f"{self.flag} {number!r} is not a finite number.")
            if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
                raise UserError(f"{self.flag} {number!r} is out of range: it takes {self.expected}.")

    @property
    def expected(self) -> str:
        """Values that the option takes, in words."""
        forms = {
            "duration": f"a time such as {units.DURATION_FORMS}",
            "count": f"a count such as {units.COUNT_FORMS}",
            "cadence": "epoch, a number of steps such as 500, or a time such as 2m",
        }
        if self.kind in forms:
            return forms[self.kind]
        if self.choices:
            return "one of " + ", ".join(self.choices)
        several = "whole numbers such as 6,16" if self.item is int else "numbers such as 0,0.5"
        noun = {int: "a whole number", float: "a number", tuple: several, bool: "yes or no"}.get(self.type, "a text")
        if self.kind == "auto":
            noun = f"auto, or {noun}"
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low:.12g} to {self.high:.12g}"
        return f"{noun} of at least {self.low:.12g}" if self.low is not None else noun

    def show(self, value: Any) -> str:
        """`value` as it would be typed."""
        if value is None:
            return "auto" if self.kind == "auto" else "unset"
        if self.kind == "duration":
            return units.format_duration(value)
        if self.kind == "count":
            return units.format_count(value)
        if isinstance(value, tuple):
            return ",".join(map(str, value)) or "none"
        return ("yes" if value else "no") if isinstance(value, bool) else str(value)

    def label(self, value: Any) -> str:
        """`value` as a word of a variant's name: lr1e-05, time5m, layers6x16."""
        if is_data_field(self.name):
            return value.rstrip("/").rsplit("/", 1)[-1]
        word = self.flag[2:].replace("-", "")
        if isinstance(value, bool):
            return word if value else "no" + word
        return word + self.show(value).replace(",", "x")


def _number(kind: type, text: str) -> float:
    """The number in `text`, by the one reader of all that is typed."""
    return units.parse_whole(text) if kind is int else units.parse_float(text)


def kind_of(hint: Any) -> tuple[type, bool, type]:
    """(the plain type, whether None is allowed, the type of a tuple's items) of an annotation."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        kind, _, item = kind_of(inner)
        return kind, True, item
    return (typing.get_origin(hint) or hint), False, (typing.get_args(hint) or (int,))[0]
