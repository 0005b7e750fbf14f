"""Durations and counts as people type them, and back."""

from __future__ import annotations

import contextlib
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ganhpc.core.errors import UserError

if TYPE_CHECKING:
    from fractions import Fraction

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_N = r"[.,]?\d[\d.,_' ]*"
_PARTS = re.compile(
    rf"(?:(?P<d>{_N})[dD])?(?:(?P<h>{_N})[hH])?(?:(?P<m>{_N})(?:min|Min|MIN|m))?(?:(?P<s>{_N})[sS])?",
    re.ASCII,
)
_HOURS_MINUTES = re.compile(r"(\d{1,9})[hH](\d{1,2})", re.ASCII)
_CLOCK = re.compile(r"(\d{1,9}):(\d{2}):(\d{2})", re.ASCII)
_COUNT = re.compile(r"(.*?)\s*(|k|K|M|G|ki|Ki|Mi|Gi)", re.DOTALL)
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_WIDTHS = ("<wide>", "<narrow>", "<noBreak>", "<compat>")
_SPACES = " \u00a0\u2009\u202f"
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}(?:([,._' ])\d{3})(?:\1\d{3})*", re.ASCII)
_LONGEST = 60
"""Most characters of a number."""

DURATION_FORMS = "90s, 5m, 1h, 1h30 or 01:30:00"
COUNT_FORMS = "256k (256,000), 256Ki (262,144), 0.25M or 250000"


class NotANumberError(UserError):
    """A text that is no number of the kind that was asked for."""


class AmbiguousError(UserError):
    """A text that may mean two numbers; the sentence names both."""


def _parse_number(text: str, *, whole: bool = False) -> Fraction:
    """The number in `text`, exactly: 0.25, 0,25 (a decimal comma), 1e-4, 1 000 000, 1,000,000, 1_000_000, 1'000'000.

    A point is a decimal point. One comma with three digits behind it may mean either: it parts thousands where the number is `whole`,
    and is refused elsewhere; a whole number of one point and three digits is refused. Signs that part thousands stand between groups
    of three digits. Raises UserError.
    """
    word = _plain(text).replace("\u2212", "-").replace("\u2019", "'")
    for space in _SPACES:
        word = word.replace(space, " ")
    if len(word) > _LONGEST:
        raise UserError(f"{text[:20]!r} and so on is no number of at most {_LONGEST} characters.")
    found = _NUMBER.fullmatch(_with_point(word, text, whole))
    if not found:
        form = "a whole number: write it as 1000000" if whole else "a number: write it as 0.25, 1e-4 or 1000000"
        raise NotANumberError(f"{text!r} is not {form}.")
    from fractions import Fraction  # the list of commands does without it

    value = Fraction(found[2].rstrip(".") or "0") * Fraction(10) ** int(found[3] or 0)
    if value and not _is_held(value):
        raise NotANumberError(
            f"{text!r} is not a finite number that this program holds: write it as 0.25, 1e-4 or 1000000."
        )
    if whole and value.denominator != 1:
        raise NotANumberError(f"{text!r} is not a whole number: write it as 1000000.")
    return -value if found[1] == "-" else value


def _plain(text: str) -> str:
    """`text` with wide letters and digits and all kinds of spaces in their plain forms; a raised digit (10²) is no digit."""
    return "".join(
        unicodedata.normalize("NFKC", c) if unicodedata.decomposition(c).startswith(_WIDTHS) else c
        for c in text.strip()
    )


def _is_held(value: Fraction) -> bool:
    """True if a float holds the magnitude of `value`: neither an overflow nor nothing at all."""
    try:
        return float(value) != 0.0
    except OverflowError:
        return False


def parse_float(text: str) -> float:
    """The same as a float; zero has no sign."""
    return float(_parse_number(text))


def is_number(text: str) -> bool:
    """True if `parse_float` reads `text`."""
    try:
        parse_float(text)
    except UserError:
        return False
    return True


def refuse_split_decimal(parts: Sequence[str], text: str) -> None:
    """Raise UserError where commas between the `parts` of the list `text` look like decimal commas: 0,5 or 1e-3,01."""
    bare = [part.strip() for part in parts]
    digits = [bool(re.fullmatch(r"\d+", part, re.ASCII)) for part in bare]
    alone = len(bare) == 2 and all(digits) and bare[0] == "0"
    # 1.000,5 may be 1000.5.
    thousands = [bool(re.fullmatch(r"[1-9]\d{0,2}(\.\d{3})+", part, re.ASCII)) for part in bare]
    parted = any(before and after for before, after in zip(thousands, digits[1:], strict=False))
    if alone or parted or any(ok and len(part) > 1 and part[0] == "0" for ok, part in zip(digits, bare, strict=True)):
        raise UserError(
            f"{text!r} may be a list or decimals: in a list, write decimals with a point, such as 0.5, and 0 as 0.0, 5 as 5.0."
        )


def parse_whole(text: str) -> int:
    """The same as a whole number."""
    return int(_parse_number(text, whole=True))


def _with_point(word: str, text: str, whole: bool) -> str:
    """`word` with a decimal point and no sign between thousands; unchanged where it can't be read so."""
    sign, digits = (word[0], word[1:]) if word[:1] in ("+", "-") else ("", word)
    head, exponent = (digits[: m.start()], digits[m.start() :]) if (m := re.search(r"[eE]", digits)) else (digits, "")
    marks = [c for c in head if c in ",._' "]
    if not marks or marks == ["."]:
        if whole and marks and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", head, re.ASCII) and not exponent:
            plain = head.replace(".", "")
            raise AmbiguousError(
                f"{text!r} may be {plain} or {head.split('.')[0]}: write the one that is meant, without a point."
            )
        return word
    last = marks[-1]
    integer, fraction = head, ""
    if last in ",." and marks.count(last) == 1 and (len(marks) > 1 or last == ","):
        before, after = head.split(last)
        thousands = len(marks) == 1 and re.fullmatch(r"[1-9]\d{0,2}", before, re.ASCII) and len(after) == 3
        if thousands and not whole:
            raise AmbiguousError(f"{text!r} may be {before}{after} or {before}.{after}: write the one that is meant.")
        if not thousands:
            integer, fraction = before, "." + after
    if any(c in ",._' " for c in integer):
        if not _GROUPED.fullmatch(integer):
            return text  # refused as it was typed
        integer = re.sub(r"[,._' ]", "", integer)
    return f"{sign}{integer}{fraction}{exponent}"


def parse_duration(text: str) -> float:
    """Seconds in `text`: 90s, 5m, 1h30, 1h30m, 2d, 01:30:00 (hours, minutes, seconds).

    Raises UserError for anything else, for a bare number (its unit would be a guess) and for zero.
    """
    word = _plain(text).replace("\u2019", "'")
    for space in _SPACES:
        word = word.replace(space, " ")
    # Between two digits a space can part thousands alone: 1 30m is not 130 minutes.
    word = re.sub(r"(?<!\d) +| +(?!\d)", "", word)
    try:
        seconds = _duration_seconds(word)
    except NotANumberError:
        seconds = None
    if seconds is None:
        if re.fullmatch(r"(\d+|\d{1,3}( \d{3})+)([.,]\d+)?", word, re.ASCII):
            word = word.replace(" ", "")
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
        return float(sum(_parse_number(value) * _SECONDS[unit] for unit, value in parts.groupdict().items() if value))
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


def parse_cadence(text: str) -> int | float | None:
    """The cadence in `text`: None for `epoch`, a whole number of steps for 500, seconds (a float) for 2m. Raises UserError."""
    if text.strip().lower() == "epoch":
        return None
    with contextlib.suppress(UserError):
        if (steps := parse_whole(text)) > 0:
            return steps
    return parse_duration(text)


def format_cadence(every: float | None) -> str:
    """The one spelling of a cadence: `epoch`, 500, 2m; of a time under a millisecond, 0.001s."""
    if every is None:
        return "epoch"
    return str(every) if isinstance(every, int) else format_duration(max(every, 0.001))


def parse_count(text: str) -> int:
    """The whole number in `text`: 256k = 256,000; 256Ki = 262,144; 0.25M = 250,000; 1e5 = 100,000.

    Raises UserError for anything else, for zero and for a fraction.
    """
    match = _COUNT.fullmatch(_plain(text))
    try:
        if not match or (match[2] and re.search(r"[eE]", match[1])):
            raise UserError("no count")
        value = _parse_number(match[1], whole=not match[2]) * _FACTORS[match[2]]
    except UserError as error:
        why = f" ({error})" if isinstance(error, AmbiguousError) else ""
        raise UserError(f"{text!r} is not a count{why}: write it as {COUNT_FORMS}.") from None
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


def human_rate(value: float) -> str:
    """`value`, of so many a second, rounded for reading: 1005.7 -> '1,006', 3.24 -> '3.2', 0.041 -> '0.041'; only zero is '0'."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def human_number(value: float, digits: int = 3) -> str:
    """`value` rounded for reading: 62006 -> '62.0 k', 1303440 -> '1.30 M'. Not for anything exact."""
    if not math.isfinite(value):
        return str(value)
    value = float(f"{value:.{max(3, digits) - 1}e}")  # first, since 999,999 rounds to 1.00 M
    for factor, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.{max(0, digits - 1 - int(math.log10(abs(value) / factor)))}f}{suffix}"
    return f"{value:.{digits}g}"
