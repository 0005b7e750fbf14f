"""Foreign text as it is shown: one line that a terminal only prints; and words that a shell takes back exactly."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.printable import is_printable, print_error, printable, printable_lines, shell_word, visible

FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;evil\x07\x1b[31mred", "\\e]0;evil\\a\\e[31mred"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\u2028b\u200bc\ufeff", "a\\u2028b\\u200bc\\ufeff"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("été 東京 [red]$x^2$", "été 東京 [red]$x^2$"),
        (None, "None"),
    ],
)
def test_only_what_prints_is_left_as_it_is(text: object, shown: str) -> None:
    assert printable(text) == shown
    assert is_printable(shown)


@given(st.text())
def test_nothing_else_gets_through(text: str) -> None:
    assert not {unicodedata.category(c) for c in printable(text)} & FORBIDDEN
    printable(text).encode()


def test_long_text_is_cut() -> None:
    assert printable("x" * 5000) == "x" * 1000 + ".."
    assert printable("\n" * 3, most=2) == "\\n\\n.."


@given(st.binary(min_size=0, max_size=20).filter(lambda b: b"\0" not in b))
def test_a_shell_takes_a_word_back_exactly(name: bytes) -> None:
    word = shell_word(os.fsdecode(name))
    assert is_printable(word)
    assert subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout == name


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_word_for_a_shell_is_ascii_where_the_output_is_no_utf_8(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    word = shell_word("l'été 日")
    assert word.isascii() and is_printable(word)
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode() == "l'été 日"
    assert shell_word("a b") == "'a b'"


def test_lines_of_a_log() -> None:
    assert printable_lines("a\tb\n\x1b[2Jc\r 10%\n") == ["a   b", "\\e[2Jc", " 10%"]


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("no run 'a\nError: b\x1b[2J'.")
    assert capsys.readouterr().err == "Error: no run 'a\\nError: b\\e[2J'.\n"


def test_a_page_holds_no_direction_mark_and_no_control_character() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = [
        c for c in map(chr, range(0x110000)) if unicodedata.bidirectional(c) in turning or c in "\u061c\u200e\u200f"
    ]
    hidden = [
        "\x1b",
        "\x9b",
        "\ufeff",
        "\u180e",
        "\ufff9",
        "\ufffb",
        "\ud800",
        "\udcff",
        "\U000e0041",
        "\u2028",
        "\u2029",
    ]
    assert len(marks) == 12
    for c in (*marks, *hidden):
        assert c not in visible(f"a{c}b\n") and visible(f"a{c}b\n").isascii(), ascii(c)
    page = "Été\t10\u00a0%, 10\u202f000 \u2009\u00ad東京 شكرا שלום\n"
    assert visible(page) == page
