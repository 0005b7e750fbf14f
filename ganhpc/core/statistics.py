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
        std = math.sqrt(math.fsum([(value - mean) ** 2 for value in found]) / (n - 1)) if n > 1 else None
        return cls(mean, std, n)

    @property
    def cv(self) -> float | None:
        """Coefficient of variation: deviation over |mean|. None where undefined."""
        return self.std / abs(self.mean) if self.std is not None and self.mean else None

    def text(self, form: str = ".3f") -> str:
        """mean ± standard deviation, each in the format `form`."""
        return f"{self.mean:{form}} ± {'-' if self.std is None else format(self.std, form)}"

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std, "n": self.n}
