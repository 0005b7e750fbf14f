"""How things are timed: the order, what is left out, the figures."""

from __future__ import annotations

import itertools
import statistics
import time

import pytest

from ganhpc.core.statistics import Spread
from ganhpc.train.bench.timing import calls_for, in_turn, ratios, seconds_each


def test_pieces_take_turns_and_warmups_do_not_count() -> None:
    order: list[str] = []

    def piece(name: str):
        def call() -> float:
            order.append(name)
            return float(len(order))

        return call

    found = in_turn({"a": piece("a"), "b": piece("b")}, repeats=2, warmups=1)
    assert order == ["a", "b"] * 3
    assert found == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_mean_and_sample_standard_deviation() -> None:
    values = [1.0, 2.0, 4.0]
    made = Spread.of(values)
    assert (made.mean, made.std, made.n) == (statistics.mean(values), statistics.stdev(values), 3)
    assert made.text(".2f") == "2.33 ± 1.53"
    assert Spread.of([5.0]).text(".1f") == "5.0 ± -" and Spread.of([5.0]).std is None
    assert made.to_json() == {"mean": made.mean, "std": made.std, "n": 3}


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratios([2.0, 8.0], [1.0, 2.0]) == Spread.of([2.0, 4.0])
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_queue_is_waited_for_before_and_after_and_not_between() -> None:
    events: list[str] = []
    seconds_each(lambda: events.append("work"), 3, lambda: events.append("wait"))
    assert events == ["wait", "work", "work", "work", "wait"]


def test_the_number_of_calls_follows_from_their_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls_for(0.0, lambda: None) == 1
    looks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(looks) * 1e-4)  # between two looks, whatever is done
    assert calls_for(0.05, lambda: None) == 2500, "five calls in a ten-thousandth"
