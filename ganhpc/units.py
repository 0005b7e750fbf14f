"""Durations and counts as people type them, and back."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from ganhpc.errors import UserError

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)(?:m|min))?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_HOURS_MINUTES = re.compile(r"(\d+)h(\d{1,2})")
_CLOCK = re.compile(r"(\d+):(\d{2}):(\d{2})")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)(|k|K|M|G|ki|Ki|Mi|Gi)")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

DURATION_FORMS = "90s, 5m, 1h, 1h30 or 01:30:00"
COUNT_FORMS = "256k (256,000), 256Ki (262,144), 0.25M or 250000"


def parse_duration(text: str) -> float:
    """Seconds in `text`: 90s, 5m, 1h30, 1h30m, 2d, 01:30:00 (hours, minutes, seconds).

    Raises UserError for anything else, for a bare number (its unit would be a guess) and for zero.
    """
    word = text.strip().replace(" ", "")
    seconds = _duration_seconds(word)
    if seconds is None:
        if re.fullmatch(r"\d+(\.\d+)?", word):
            raise UserError(f"the time {text!r} has no unit: write {word}s, {word}m or {word}h.")
        raise UserError(f"{text!r} is not a time: write it as {DURATION_FORMS}.")
    if not 0 < seconds < 10**9:
        raise UserError(f"the time {text!r} must be more than zero (and under 30 years): write it as {DURATION_FORMS}.")
    return seconds


def _duration_seconds(word: str) -> float | None:
    if clock := _CLOCK.fullmatch(word):
        hours, minutes, seconds = map(int, clock.groups())
        return None if minutes > 59 or seconds > 59 else float(hours * 3_600 + minutes * 60 + seconds)
    if short := _HOURS_MINUTES.fullmatch(word):
        hours, minutes = map(int, short.groups())
        return None if minutes > 59 else float(hours * 3_600 + minutes * 60)
    if word and (parts := _PARTS.fullmatch(word)):
        return float(sum(Fraction(value) * _SECONDS[unit] for unit, value in parts.groupdict().items() if value))
    return None


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back (to the millisecond): 3600 -> '1h', 5400 -> '1h30m', 90 -> '1m30s'."""
    whole, milli = divmod(round(seconds * 1000), 1000)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    text = "".join(f"{n}{unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if n)
    if milli:
        return text + f"{secs}.{milli:03d}".rstrip("0") + "s"
    return text + (f"{secs}s" if secs or not text else "")


def parse_count(text: str) -> int:
    """The whole number in `text`: 256k = 256,000; 256Ki = 262,144; 0.25M = 250,000.

    Raises UserError for anything else, for zero and for a fraction.
    """
    match = _COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    if not match:
        raise UserError(f"{text!r} is not a count: write it as {COUNT_FORMS}.")
    value = Fraction(match[1]) * _FACTORS[match[2]]
    if value.denominator != 1 or value <= 0:
        raise UserError(f"the count {text!r} must be a whole number above zero: write it as {COUNT_FORMS}.")
    return int(value)


def format_count(n: int) -> str:
    """The shortest exact text that `parse_count` reads back: 256000 -> '256k', 262144 -> '256Ki'."""
    factors = [(suffix, _FACTORS[suffix]) for suffix in ("k", "M", "G", "Ki", "Mi", "Gi")]
    forms = [str(n), *(f"{n // factor}{suffix}" for suffix, factor in factors if n and n % factor == 0)]
    return min(forms, key=len)


def counted(n: float, noun: str, form: str = "") -> str:
    """`n` with its noun: '1 epoch', '2 epochs', '1.5 epochs', '1,200 images'. `form` is a format for numbers; what is shown decides."""
    shown = format(n, form or ("," if isinstance(n, int) else ",.4g"))
    if float(shown.replace(",", "")) == 1:
        return f"{shown} {noun}"
    ending = "es" if noun.endswith(("s", "x", "sh", "tch")) else "s"
    return f"{shown} {noun}{ending}"


def human_number(value: float, digits: int = 3) -> str:
    """`value` rounded for reading: 62006 -> '62.0 k', 1303440 -> '1.30 M'. Not for anything exact."""
    if not math.isfinite(value):
        return str(value)
    for factor, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.{max(0, digits - 1 - int(math.log10(abs(value) / factor)))}f}{suffix}"
    return f"{value:.{digits}g}"
