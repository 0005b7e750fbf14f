"""Both languages have every sentence, with the same places to fill in; numbers and spaces are those of the language."""

from __future__ import annotations

import re
import string

import pytest

from ganhpc.analysis.report.translation import LANGUAGES, Translator, read
from ganhpc.core.errors import UserError


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_languages_have_the_same_sentences_and_places() -> None:
    english, french = (read(lang) for lang in LANGUAGES)
    assert english.keys() == french.keys()
    assert len(english) > 200
    assert {k: places(t) for k, t in english.items()} == {k: places(t) for k, t in french.items()}
    assert not [k for lang in (english, french) for k, t in lang.items() if not t.strip()]


def test_no_french_line_breaks_before_a_mark_or_inside_guillemets() -> None:
    for key, text in Translator("fr").catalogue.items():
        assert not re.search(r" [:;?!»%]|« |'", text), key
        assert not re.search(r"[a-zé][;?!]", text), key


def test_numbers_are_those_of_the_language() -> None:
    en, fr = Translator("en"), Translator("fr")
    assert (en.count(223_200), fr.count(223_200)) == ("223,200", "223\u202f200")
    assert (en.per_cent(0.8762), fr.per_cent(0.8762)) == ("87.62%", "87,62\u202f%")
    assert fr.number(0.00012345) == "0,000123"
    assert fr.number(-1.5, 2) == "\u22121,5"
    assert en.seconds(299.7) == "4\u00a0min\u00a059.7\u00a0s"
    assert en.number(float("nan")) == en.count(None) == "–"
    assert fr.date("2026-12-01T09:05:00+00:00") == "1er\u00a0décembre 2026, 9\u00a0h\u00a005\u00a0UTC"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UserError, match=r"'de'.*en, fr"):
        Translator("de")
