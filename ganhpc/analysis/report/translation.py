"""A report's language: its sentences, one TOML file a language in templates/report/, and its way to write numbers."""

from __future__ import annotations

import math
import tomllib
from datetime import datetime
from typing import Any, TypeGuard

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.settings import ROOT
from ganhpc.core.units import human_rate

FOLDER = ROOT / "templates" / "report"
LANGUAGES = ("en", "fr")

NO_BREAK, NARROW = "\u00a0", "\u202f"
"""The no-break space, and the narrow one."""

_SIGNS = {
    "en": {"thousands": ",", "decimal": ".", "per_cent": "%", "missing": "–", "colon": ": "},
    "fr": {"thousands": NARROW, "decimal": ",", "per_cent": NARROW + "%", "missing": "–", "colon": NO_BREAK + ": "},
}


class Translator:
    """The sentences and numbers of one language. Raises UserError for a language that is not there."""

    def __init__(self, lang: str) -> None:
        if lang not in LANGUAGES:
            raise UserError(f"--lang {lang!r} is not a language of reports: {nearest(lang, LANGUAGES)}.")
        self.lang = lang
        self._signs = _SIGNS[lang]
        self.colon = self._signs["colon"]
        """Separator of a name and its value."""
        self.catalogue = {key: _typeset(lang, text) for key, text in read(lang).items()}

    def __call__(self, key: str, **values: Any) -> str:
        """The text `key`, its places filled in."""
        text = self.catalogue[key]
        return text.format(**values) if values else text

    def several(self, key: str, n: int, **values: Any) -> str:
        """`key.one` or `key.other`, by `n`; French counts zero and one alike."""
        one = n == 1 or (self.lang == "fr" and n == 0)
        return self(f"{key}.{'one' if one else 'other'}", n=self.count(n), **values)

    def name(self, group: str, word: str) -> str:
        """The text `group.word`, or the word itself where this language has none for it."""
        return self.catalogue.get(f"{group}.{word}", word.replace("_", " "))

    # -- numbers --------------------------------------------------------------------------------------------------------

    @property
    def missing(self) -> str:
        return self._signs["missing"]

    def _localized(self, text: str) -> str:
        table = {",": self._signs["thousands"], ".": self._signs["decimal"], "-": "\u2212"}
        return "".join(table.get(c, c) for c in text)

    def count(self, value: Any) -> str:
        """A whole number with its thousands apart."""
        return self._localized(f"{value:,.0f}") if is_finite(value) else self.missing

    def rate(self, value: Any) -> str:
        """So many a second."""
        return self._localized(human_rate(value)) if is_finite(value) else self.missing

    def number(self, value: Any, digits: int = 3) -> str:
        """So many significant digits; very small and very large ones as a power of ten."""
        if not is_finite(value):
            return self.missing
        value = value or 0.0  # zero has no sign
        if value and not 1e-4 <= abs(value) < 1e7:
            mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
            if "." in mantissa:
                mantissa = mantissa.rstrip("0").rstrip(".")
            return self._localized(mantissa) + f"{NARROW}×{NARROW}10" + _superscript(int(exponent))
        places = max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))
        return self._localized(f"{value:,.{places}f}")

    def plain(self, value: float) -> str:
        """As short as the number allows: 0.001, 20, 1e-05."""
        text = f"{value or 0.0:.12g}"
        return self._localized(text) if "e" not in text else self.number(value)

    def per_cent(self, value: Any, places: int = 2) -> str:
        """A fraction in per cent."""
        if not is_finite(value):
            return self.missing
        return self._localized(f"{round(100 * value, places) or 0.0:.{places}f}") + self._signs["per_cent"]

    def large(self, value: Any) -> str:
        """Rounded for reading, with a prefix: 17.4 M."""
        if not is_finite(value):
            return self.missing
        value = float(f"{value:.2e}")  # first, since 999,999 rounds to 1.00 M
        for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor:
                return f"{self.number(value / factor)}{NO_BREAK}{suffix}"
        return self.number(value)

    def epoch(self, value: Any) -> str:
        """A number of epochs, with a fraction where it has one: 5, 23.98."""
        return self.plain(float(f"{value:.4g}")) if is_finite(value) else self.missing

    def seconds(self, value: Any) -> str:
        """A duration: 4 min 59.7 s."""
        if not is_finite(value):
            return self.missing
        value = value if value < 10 else round(value, 1 if value < 3600 else None)
        if value < 60:
            return self._localized(f"{value:.3g}" if value < 10 else f"{value:.1f}") + NO_BREAK + "s"
        minutes, rest = divmod(value, 60)
        hours, minutes = divmod(int(minutes), 60)
        words = [f"{hours}{NO_BREAK}h"] if hours else []
        words += [f"{minutes}{NO_BREAK}min"] if minutes else []
        shown = f"{rest:.1f}".rstrip("0").rstrip(".") if not hours else f"{rest:.0f}"
        words += [self._localized(shown) + NO_BREAK + "s"] if shown != "0" else []
        return NO_BREAK.join(words)

    def date(self, text: Any) -> str:
        """An ISO date and time as people of the language write it; the text itself where it is none."""
        try:
            when = datetime.fromisoformat(str(text))
        except ValueError:
            return str(text)
        month = self(f"month.{when.month}")
        day = "1er" if self.lang == "fr" and when.day == 1 else str(when.day)
        zone = f"{NO_BREAK}UTC" if when.utcoffset() is not None and not when.utcoffset() else ""
        clock = f"{when.hour}{NO_BREAK}h{NO_BREAK}{when.minute:02d}" if self.lang == "fr" else f"{when:%H:%M}"
        return f"{day}{NO_BREAK}{month} {when.year}, {clock}{zone}"


def is_finite(value: Any) -> TypeGuard[int | float]:
    """True if `value` is a number that can be written, and drawn: the axes of a plot need sums of some."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _superscript(n: int) -> str:
    return str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def read(lang: str) -> dict[str, str]:
    """The catalogue of `lang` as it is typed: {"section.key": text}."""
    tree = tomllib.loads((FOLDER / f"{lang}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}": text for section, texts in tree.items() for key, text in _flat(texts)}


def _flat(tree: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(above + key, value)]
    return found


def _typeset(lang: str, text: str) -> str:
    """`text`, typed with plain spaces and apostrophes, as it is printed: in French, no line begins with a colon."""
    text = text.replace("'", "’").replace(" %", NARROW + "%" if lang == "fr" else " %")
    if lang == "fr":
        for mark in ";?!":
            text = text.replace(f" {mark}", NARROW + mark)
        text = text.replace(" :", NO_BREAK + ":").replace("« ", "«" + NO_BREAK).replace(" »", NO_BREAK + "»")
    return text
