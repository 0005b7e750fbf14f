"""Ranking: the best run or variant of those that can be compared, with the measure and its direction."""

from __future__ import annotations

from typing import Any

from ganhpc.analysis.results.rows import Row, is_number
from ganhpc.runs import figures


def mean(row: Row, key: str) -> float | None:
    """The number, or of several seeds the mean."""
    value: Any = row.get(key)
    value = value.get("mean") if isinstance(value, dict) else value
    return value if is_number(value) else None


def best(found: list[Row]) -> tuple[dict[str, bool], set[tuple[int, str]]]:
    """({measure: whether higher is better}, {(id of a row, measure) that is the best}).

    Only finished ones of the same experiment on the same data are compared, and only where there are two or more.
    """
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        if row.get("state") == "done" or row.get("n"):
            alike.setdefault((str(row.get("experiment")), str(row.get("data"))), []).append(row)
    ways: dict[str, bool] = {}
    marked: set[tuple[int, str]] = set()
    for rows in alike.values():
        if (chosen := _measure(rows)) is None:
            continue
        key, higher = chosen
        values = {id(row): value for row in rows if (value := mean(row, key)) is not None}
        if len(values) > 1:
            ways[key] = higher
            top = max(values.values()) if higher else min(values.values())
            marked |= {(row, key) for row, value in values.items() if value == top}
    return ways, marked


def _measure(rows: list[Row]) -> tuple[str, bool] | None:
    for row in rows:  # a user's program has said by what it is judged
        headline = row.get("headline")
        if row.get("better") and headline and mean(row, headline) is not None:
            return headline, row["better"] == "higher"
    for judge in figures.judges():
        for row in rows:
            for key in row:
                if judge.fits(key) and mean(row, key) is not None:
                    return key, not figures.lower_is_better(key)
    return None
