"""The table of docs/fusion.md from the runs of `sdpc-gan --scan fusion`: `python -m benchmarks.fusion FOLDER`.

Of each arm: its figures, and the paired differences to the baseline, seed by seed, with the 95 % interval of their mean (Student's t) and the
exact two-sided sign test.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

BASELINE = "adversarial"
FIGURE = "FD-EffLite0"
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t of 97.5 % for 1 to 9 degrees of freedom."""


def read(folder: Path, figure: str) -> dict[str, dict[int, float]]:
    """Of every finished run of sdpc-gan in `folder`: arm -> seed -> figure."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("sdpc-gan/*/result.json")):
        definition = json.loads((path.parent / "experiment.json").read_text())
        value = json.loads(path.read_text()).get(figure)
        if isinstance(value, int | float):
            found.setdefault(definition["dictionary"], {})[definition["seed"]] = float(value)
    return found


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """(mean, lower and upper end of its 95 % interval); ends are infinite for one value."""
    middle, n = mean(differences), len(differences)
    if n < 2:
        return middle, -math.inf, math.inf
    half = _T[min(n - 1, len(_T)) - 1] * stdev(differences) / math.sqrt(n)
    return middle, middle - half, middle + half


def sign_test(differences: Sequence[float]) -> float:
    """The exact two-sided p of as many differences of one sign; zeros are left out."""
    signs = [d > 0 for d in differences if d]
    n, fewer = len(signs), min(sum(signs), len(signs) - sum(signs))
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n) if n else 1.0


def paired(arm: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """`arm` less `other`, of the seeds that both have."""
    return [arm[seed] - other[seed] for seed in sorted(arm.keys() & other.keys())]


def main(folder: Path, figure: str = FIGURE) -> None:
    found = read(folder, figure)
    print(f"| arm | n | {figure} | less {BASELINE}: mean [95 %] | sign test |\n| --- | --- | --- | --- | --- |")
    for arm, values in sorted(found.items(), key=lambda item: mean(item[1].values())):
        own = list(values.values())
        spread = f" ± {stdev(own):.3g}" if len(own) > 1 else ""
        differences = paired(values, found.get(BASELINE, {})) if arm != BASELINE else []
        told = "| | |"
        if differences:
            told = "| {:+.3g} [{:+.3g}, {:+.3g}] | {:.3g} |".format(*interval(differences), sign_test(differences))
        print(f"| {arm} | {len(own)} | {mean(own):.4g}{spread} {told}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
