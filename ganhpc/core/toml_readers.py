"""Readers of the values in a TOML file: each returns the typed value or raises BadValue with what is allowed."""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import read_bytes
from ganhpc.core.units import parse_duration, parse_whole

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NO_LIMIT = "no limit"


class BadValue(ValueError):
    """Expected value of a key, for the error when it has another."""


def table_in(path: Path) -> dict[str, Any]:
    """The table in a TOML file of UTF-8; the null device holds an empty one. Never waits for a fifo or a device.

    Raises UserError where it can't be read, and ValueError where it is not valid TOML.
    """
    import tomllib  # many commands read no file

    if os.path.exists(path) and os.path.samefile(path, os.devnull):  # noqa: PTH110, PTH121
        return {}
    try:
        data = read_bytes(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} can't be read ({error.strerror}).") from None
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


@functools.cache
def readers_of(cls: type) -> dict[str, Callable[[Any], Any]]:
    """Key of a file -> reader of its value, by the annotations of the dataclass whose fields are the keys."""
    hints = get_type_hints(cls, include_extras=True)
    return {key: hint.__metadata__[0] for key, hint in hints.items() if hasattr(hint, "__metadata__")}


def seconds(value: Any) -> int:
    """Whole seconds, of a text such as "1h30" or of the number 0."""
    if value == 0 and not isinstance(value, bool):
        return 0
    if not isinstance(value, str):
        raise BadValue('a time with its unit, such as "61s" or "1h" (or 0)')
    length = parse_duration(value)
    if length != int(length):
        raise BadValue("a whole number of seconds")
    return int(length)


def count(value: Any) -> int:
    """A whole number, 0 or more; a text is read as the command line reads it: "1 000"."""
    return whole_number(value, "a whole number, 0 or more")


def whole_number(value: Any, wanted: str) -> int:
    """A number that is not negative, or a text of one. Raises BadValue with `wanted`."""
    if isinstance(value, str):
        try:
            value = parse_whole(value)
        except UserError as error:
            raise BadValue(f"{wanted} ({str(error).rstrip('.')})") from None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadValue(wanted)
    return value


def limit(read: Callable[[Any], int]) -> Callable[[Any], int | None]:
    """A reader of a limit above zero, or of the words that lift it (for a file that has a base)."""

    def read_limit(value: Any) -> int | None:
        if value == _NO_LIMIT:
            return None
        number = read(value)
        if number <= 0:
            raise BadValue(f'more than zero, or "{_NO_LIMIT}"')
        return number

    return read_limit


def wall(value: Any) -> dt.time:
    """A time of day."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,2}):(\d{1,2})", value, re.ASCII)):
        with suppress(ValueError):  # 25:00
            return dt.time(int(found[1]), int(found[2]))
    raise BadValue('a time of day such as "09:00"')


def walls(value: Any) -> tuple[dt.time, ...]:
    """Times of day, in order."""
    if not isinstance(value, list):
        raise BadValue('a list of times of day such as ["09:00", "19:00"]')
    return tuple(sorted({wall(item) for item in value}))


def weekdays(value: Any) -> tuple[str, ...]:
    """Days of the week, from Monday on."""
    if not isinstance(value, list) or not value or any(day not in WEEKDAYS for day in value):
        raise BadValue(f"a list of one or more of {', '.join(WEEKDAYS)}")
    return tuple(day for day in WEEKDAYS if day in value)


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise BadValue("true or false")
    return value


def text(value: Any) -> str:
    """A text in quotes."""
    if not isinstance(value, str):
        raise BadValue("a text in quotes")
    if "\0" in value:  # no path, no word of a command and no line of a script has one
        raise BadValue("a text without a null character")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """A reader of one of these words."""

    def word(value: Any) -> str:
        if value not in choices:
            raise BadValue(" or ".join(choices))
        return str(value)

    return word


def time_zone(value: Any) -> str:
    """A name of the IANA time zone data base."""
    import zoneinfo  # most commands read no time zone

    try:
        return zoneinfo.ZoneInfo(text(value)).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zones = zoneinfo.available_timezones()
        if not zones:
            raise BadValue("no time zone yet: this system has no time zone data (pip install tzdata)") from None
        raise BadValue(f"the name of a time zone such as Europe/Paris ({_near(str(value), zones)})") from None


def _near(word: str, zones: set[str]) -> str:
    clause = nearest(word, zones)
    return clause.split(" (all:")[0] if clause.startswith("did") else "the full list: timedatectl list-timezones"
