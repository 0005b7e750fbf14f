"""Mean, deviation, coefficient of variation and number of some values, as every table and report gives them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Mean, sample standard deviation (n - 1; None for a single value) and number of some values."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        found = list(values)
        n = len(found)
        mean = math.fsum(found) / n
        return cls(mean, _deviation([value - mean for value in found]) if n > 1 else None, n)

    @property
    def cv(self) -> float | None:
        """Coefficient of variation: deviation over |mean|. None where undefined, or beyond what a float holds."""
        found = self.std / abs(self.mean) if self.std is not None and self.mean else math.inf
        return found if math.isfinite(found) else None

    def text(self, form: str = ".3f") -> str:
        """mean ± standard deviation, each in the format `form`."""
        return f"{self.mean:{form}} ± {'-' if self.std is None else format(self.std, form)}"

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std, "n": self.n}


def _deviation(differences: list[float]) -> float:
    """The root of the mean square of `differences` from their mean, over one less than their number."""
    try:
        return math.sqrt(math.fsum([value**2 for value in differences]) / (len(differences) - 1))
    except OverflowError:  # squares of giant numbers
        return math.hypot(*(value / math.sqrt(len(differences) - 1) for value in differences))
