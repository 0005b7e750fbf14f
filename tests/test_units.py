"""Durations and counts: what people type, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.errors import UserError
from ganhpc.units import (
    format_count,
    format_duration,
    parse_count,
    parse_duration,
    parse_float,
    parse_whole,
    refuse_split_decimal,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("5m", 300), ("5min", 300), ("1h", 3600), ("1h30", 5400), ("1h30m", 5400), ("1h05", 3900), ("01:30:00", 5400),
        ("0:00:20", 20), ("1.5h", 5400), ("2d", 172_800), ("1h 30m", 5400), (" 20s ", 20), ("0.5s", 0.5),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "-5m",
        "0s",
        "0",
        "60",
        "1h90",
        "1:2",
        "1:00:61",
        "5 minutes",
        "nan",
        "inf",
        "1e3s",
        "h",
        "5m5m",
        "99999999999h",
    ],
)
def test_garbled_durations_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_duration(text)
    assert text.strip() in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "write" in str(caught.value)


@given(st.integers(1, 10**9 * 1000 - 1))
def test_a_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "count"),
    [("256k", 256_000), ("256K", 256_000), ("256Ki", 262_144), ("0.25M", 250_000), ("250000", 250_000), ("250,000", 250_000), ("1G", 10**9), ("62006", 62_006)],
)  # fmt: skip
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1k", "k", "1.5", "0.0001k", "256kb", "1e5", "nan", "256 000 x"])
def test_garbled_counts_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="256k"):
        parse_count(text)


@given(st.integers(1, 10**13))
def test_a_count_reads_back(count: int) -> None:
    assert parse_count(format_count(count)) == count


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0,09", 0.09), ("0.09", 0.09), ("1,5", 1.5), ("1e-4", 1e-4), ("1,5e-4", 1.5e-4), ("1,000,000", 1e6), ("1.000.000", 1e6),
        ("1 000 000", 1e6), ("1\u202f000", 1000.0), ("1_000", 1000.0), ("1'000,5", 1000.5), ("1,234.5", 1234.5), ("1.234,5", 1234.5),
        ("1.000", 1.0), ("0,125", 0.125), ("\uff11\uff12", 12.0), ("-0", 0.0), ("\u22123", -3.0), (".5", 0.5), ("5.", 5.0),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert parse_float(text) == value
    assert str(parse_float(text)) == str(value), "no negative zero"


@pytest.mark.parametrize(
    "text", ["", "inf", "nan", "1e400", "1e-400", "1,000", "12,345", "1,00,000", "0x10", "1__0", "1,5,", "--1", "1 2", "9" * 5000, "1e99999", "\u0663"]
)  # fmt: skip
def test_what_is_no_number_or_two_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_float(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0,25M", 250_000), ("1,000,000", 10**6), ("1 000 000", 10**6), ("1_000_000", 10**6), ("256,000", 256_000), ("0,5k", 500), ("250 k", 250_000)],
)  # fmt: skip
def test_counts_with_commas_and_groups(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["1.000", "250.000", "1,500M", "1,5", "0,250"])
def test_counts_that_may_be_two_things_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_count(text)


def test_durations_with_a_decimal_comma() -> None:
    assert parse_duration("1,5h") == parse_duration("1.5h") == 5400
    with pytest.raises(UserError):
        parse_duration("1,500s")


@given(st.integers(-(10**15), 10**15))
def test_every_way_to_part_thousands_reads_the_same(number: int) -> None:
    plain = f"{number:,}"
    assert parse_whole(str(number)) == number
    for mark in (",", "_", " ", "\u202f", "\u00a0", "'"):
        assert parse_whole(plain.replace(",", mark)) == number


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x == 0 or 1e-300 < abs(x) < 1e300))
def test_what_python_prints_reads_back_with_a_point_or_a_comma(number: float) -> None:
    text = repr(number)
    assert parse_float(text) == number
    with_comma = text.replace(".", ",")
    try:
        assert parse_float(with_comma) == number
    except UserError:
        assert len(text.lstrip("-").split(".")[-1]) == 3 or "e" in text, "refused only where it may be thousands"


def test_a_list_of_decimal_commas_is_refused_and_other_lists_are_not() -> None:
    for text in ("0,5", "0,01,0,1", "1,05"):
        with pytest.raises(UserError, match="point"):
            refuse_split_decimal(text.split(","), text)
    for text in ("0,0.5", "0,1,10", "1,2", "1e-3,1e-4", "0"):
        refuse_split_decimal(text.split(","), text)
