"""Durations and counts: what people type, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.errors import UserError
from ganhpc.units import format_count, format_duration, parse_count, parse_duration


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
