"""Mean, deviation, coefficient of variation and number of values."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.statistics import Spread


def test_by_hand() -> None:
    found = Spread.of([2.0, 4.0, 9.0])
    assert (found.mean, found.n) == (5.0, 3)
    assert found.std == pytest.approx(13**0.5) and found.cv == pytest.approx(13**0.5 / 5)
    assert found.text(".1f") == "5.0 ± 3.6"
    assert found.to_json() == {"mean": 5.0, "std": found.std, "n": 3}


def test_what_is_undefined_is_none() -> None:
    assert (Spread.of([3.0]).std, Spread.of([3.0]).cv) == (None, None)
    assert Spread.of([-1.0, 1.0]).cv is None
    assert Spread.of([-3.0, -1.0]).cv == pytest.approx(2**0.5 / 2)
    assert Spread.of([3.0]).text() == "3.000 ± -"


def test_giant_numbers_have_a_deviation_and_no_infinite_quotient() -> None:
    found = Spread.of([1e200, 3e200])
    assert found.std == pytest.approx(2**0.5 * 1e200) and found.cv == pytest.approx(2**0.5 / 2)
    assert Spread.of([9e299, -9e299]).std == pytest.approx(9e299 * 2**0.5)
    assert Spread.of([1e300, -1e300, 1e-10]).cv is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_it_is_what_the_standard_library_finds(values: list[float]) -> None:
    found = Spread.of(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.std == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
