"""Durations and counts: what people type, and back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.core.units import (
    counted,
    format_count,
    format_duration,
    human_number,
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
        ("0:00:20", 20), ("1.5h", 5400), (".5h", 1800), (",5h", 1800), ("1'000s", 1000), ("1’000s", 1000), ("1H", 3600), ("1H30", 5400), ("20S", 20), ("5min", 300), ("2d", 172_800), ("1h 30m", 5400), ("1 h 30", 5400), ("1 000 s", 1000), ("1\u202f000s", 1000), (" 20s ", 20), ("0.5s", 0.5),
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
        "1 30m",
        "1h 3 0",
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


@pytest.mark.parametrize("text", ["", "0", "-1k", "k", "1.5", "0.0001k", "256kb", "1e5k", "1e-5", "nan", "256 000 x"])
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
    [("0,25M", 250_000), ("1,000,000", 10**6), ("1 000 000", 10**6), ("1_000_000", 10**6), ("256,000", 256_000), ("0,5k", 500), ("250 k", 250_000), ("1e5", 10**5), ("2.5e5", 250_000)],
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h59", 7140), ("0:59:59", 3599), ("999999999s", 10**9 - 1), ("1h58", 7080), ("0:58:58", 3538)],
)
def test_the_largest_parts_of_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["1h60", "0:60:00", "0:00:60", "1000000000s", "1500000000s", "5000000000s"])
def test_the_first_parts_that_are_too_large(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a time|under 30 years"):
        parse_duration(text)


def test_a_duration_without_a_unit_is_told_apart() -> None:
    with pytest.raises(UserError, match=r"the time '90.5' has no unit: write 90.5s, 90.5m or 90.5h\."):
        parse_duration("90.5")
    with pytest.raises(UserError, match=r"the time '1 000' has no unit: write 1000s, 1000m or 1000h\."):
        parse_duration("1 000")
    with pytest.raises(UserError, match="'x90' is not a time: write it as 90s, 5m"):
        parse_duration("x90")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (1, "1s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (5400, "1h30m"), (86_400, "1d"), (90_061, "1d1h1m1s"),
     (0.5, "0.5s"), (1.25, "1.25s"), (60.1, "1m0.1s"), (20.05, "20.05s")],
)  # fmt: skip
def test_durations_are_written_in_their_shortest_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1500, "1500"), (1000, "1k"), (256_000, "256k"), (1024, "1Ki"), (262_144, "256Ki"), (2**20, "1Mi"),
     (2**30, "1Gi"), (3 * 2**30, "3Gi"), (10**6, "1M"), (10**9, "1G"), (2048, "2Ki"), (123, "123")],
)  # fmt: skip
def test_counts_are_written_in_their_shortest_form(count: int, text: str) -> None:
    assert format_count(count) == text
    assert count == 0 or parse_count(text) == count


def test_counts_take_separators() -> None:
    assert parse_count("250_000") == parse_count("250,000") == 250_000
    assert parse_count("2Gi") == 2**31 and parse_count("1ki") == 1024 and parse_count("1Mi") == 2**20


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(62_006, 3, "62.0 k"), (1_303_440, 3, "1.30 M"), (999, 3, "999"), (1000, 3, "1.00 k"), (1e6, 2, "1.0 M"), (2.5e9, 3, "2.50 G"),
     (1e12, 3, "1.00 T"), (-62_006, 3, "-62.0 k"), (0.12345, 3, "0.123"), (float("inf"), 3, "inf"), (123_456, 3, "123 k"), (123_456, 2, "123 k")],
)  # fmt: skip
def test_numbers_for_reading(value: float, digits: int, text: str) -> None:
    assert human_number(value, digits) == text


def test_defaults_of_numbers_for_reading() -> None:
    assert human_number(62_006) == "62.0 k"


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [(1, "epoch", "1 epoch"), (2, "epoch", "2 epochs"), (1.5, "epoch", "1.5 epochs"), (1200, "image", "1,200 images"), (0, "box", "0 boxes"),
     (2, "class", "2 classes"), (2, "batch", "2 batches"), (2, "crash", "2 crashes"), (1234.5, "step", "1,234 steps")],
)  # fmt: skip
def test_counted(n: float, noun: str, text: str) -> None:
    assert counted(n, noun) == text


def test_counted_by_a_form() -> None:
    assert counted(0.96, "epoch", ".1f") == "1.0 epoch" and counted(2.0, "epoch", ".0f") == "2 epochs"


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (parse_float, "9" * 61, f"{'9' * 20!r} and so on is no number of at most 60 characters."),
        (parse_float, "x", "'x' is not a number: write it as 0.25, 1e-4 or 1000000."),
        (parse_float, "-", "'-' is not a number: write it as 0.25, 1e-4 or 1000000."),
        (parse_float, "1,234", "'1,234' may be 1234 or 1.234: write the one that is meant."),
        (
            parse_float,
            "1e400",
            "'1e400' is not a finite number that this program holds: write it as 0.25, 1e-4 or 1000000.",
        ),
        (parse_whole, "x", "'x' is not a whole number: write it as 1000000."),
        (parse_whole, "1.5", "'1.5' is not a whole number: write it as 1000000."),
        (parse_whole, "1.234", "'1.234' may be 1234 or 1: write the one that is meant, without a point."),
        (parse_whole, "-1.234", "'-1.234' may be 1234 or 1: write the one that is meant, without a point."),
    ],
)
def test_what_is_said_of_a_number_that_is_none(parse: Callable[[str], float], text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        parse(text)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", 1234), ("1,234,567", 1_234_567), ("1\u2019000", 1000), ("-1,234", -1234), ("+7", 7), ("1.000.000", 10**6), ("1.5e1", 15),
        ("1.0", 1), ("0.000", 0), ("2,0", 2), ("1.234e3", 1234), ("-12", -12),
    ],
)  # fmt: skip
def test_whole_numbers_as_people_write_them(text: str, value: int) -> None:
    assert parse_whole(text) == value


@pytest.mark.parametrize(("text", "value"), [("1.5e3", 1500.0), ("1,5E3", 1500.0), ("1 000e2", 1e5), ("1.25", 1.25), ("+1,5", 1.5), ("-1,5", -1.5), ("1.234.567,5", 1234567.5)])  # fmt: skip
def test_exponents_and_signs_beside_marks(text: str, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize("text", ["0,5", "1.000,5", "10.000,25", "1,05", "2,007"])
def test_lists_that_may_be_decimals(text: str) -> None:
    with pytest.raises(UserError, match="may be a list or decimals"):
        refuse_split_decimal(text.split(","), text)


@pytest.mark.parametrize("text", ["1,5", "10,20,30", "1.5,2", "1.0000,5", "01.000,5", "0.5,1", "1e-3,1"])
def test_lists_that_are_lists(text: str) -> None:
    refuse_split_decimal(text.split(","), text)


def test_milliseconds_and_thousands_for_reading() -> None:
    assert (format_duration(1.5), format_duration(61.02), format_duration(0.125)) == ("1.5s", "1m1.02s", "0.125s")
    assert [human_number(value) for value in (1e3, 1e6, 1e9, 1e12)] == ["1.00 k", "1.00 M", "1.00 G", "1.00 T"]
