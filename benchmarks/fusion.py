"""The tables of docs/fusion.md from the runs of `sdpc-gan --scan fusion`: `python -m benchmarks.fusion FOLDER [--figure NAME] [--picture FILE]`.

Of each arm: its figures, and the paired differences to the baseline, seed by seed, with the 95 % interval of their mean (Student's t) and the
exact two-sided sign test; then the figures that decide nothing, the references, and the answer that the rule of docs/fusion.md gives.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from PIL import Image

BASELINE = "adversarial"
FUSIONS = ("sdpc", "sdpc-tuned")
BASES = ("random", "pca")
WITHOUT_FEEDBACK = "hi-la"
ARMS = (BASELINE, *FUSIONS, WITHOUT_FEEDBACK, "pca", "random")
FIGURE = "FD-EffLite0"
BESIDE = ("KD-EffLite0", "diversity", "active_1", "active_2", "train_loss_d", "train_loss_g", "steps", "sdpc_seconds")
FLOOR, CEILING = "distances_of_training_images", "distances_of_reconstructions"
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t of 97.5 % for 1 to 9 degrees of freedom."""

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def read(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Of every finished run of sdpc-gan in `folder`: arm -> seed -> the figures of its result.json, `folder`, and of evaluation.json the references."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted(folder.glob("sdpc-gan/*/result.json")):
        definition = json.loads((path.parent / "experiment.json").read_text())
        evaluation = path.parent / "evaluation.json"
        beside = json.loads(evaluation.read_text()) if evaluation.exists() else {}
        references = {name: beside[name] for name in (FLOOR, CEILING) if name in beside}
        result = {"sdpc_seconds": 0.0, **json.loads(path.read_text())}
        found.setdefault(definition["dictionary"], {})[definition["seed"]] = {
            **result,
            **references,
            "folder": path.parent,
            "image_size": definition.get("image_size"),
        }
    return {arm: found[arm] for arm in (*ARMS, *sorted(found.keys() - set(ARMS))) if arm in found}


def values(runs: Mapping[int, Mapping[str, Any]], figure: str) -> dict[int, float]:
    """seed -> value, of the runs that have the figure."""
    return {seed: float(run[figure]) for seed, run in runs.items() if isinstance(run.get(figure), int | float)}


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


def is_below(differences: Sequence[float]) -> bool:
    """The two rules of docs/fusion.md: the whole interval below 0, and the sign test below 0.05."""
    return bool(differences) and interval(differences)[2] < 0 and sign_test(differences) < 0.05


def answer(runs: Runs, figure: str = FIGURE) -> list[str]:
    """A sentence for each fusion: yes or null, with the arms that it lies below, and whether the feedback matters."""
    told = []
    for arm in FUSIONS:
        own = values(runs.get(arm, {}), figure)
        below = [
            other
            for other in (BASELINE, *BASES, WITHOUT_FEEDBACK)
            if is_below(paired(own, values(runs.get(other, {}), figure)))
        ]
        verdict = "yes" if {BASELINE, *BASES} <= set(below) else "null"
        feedback = ", it is the feedback" if verdict == "yes" and WITHOUT_FEEDBACK in below else ""
        told.append(f"{arm}: {verdict}{feedback} (below {', '.join(below) or 'none'} by both rules)")
    return told


def _spread(numbers: Sequence[float]) -> str:
    return f"{mean(numbers):.4g}" + (f" ± {stdev(numbers):.3g}" if len(numbers) > 1 else "")


def _difference(differences: Sequence[float]) -> str:
    if not differences:
        return "| | |"
    return "| {:+.3g} [{:+.3g}, {:+.3g}] | {:.3g} |".format(*interval(differences), sign_test(differences))


def compared(runs: Runs, figure: str) -> list[str]:
    """The table that decides, best arm first; then each fusion less each of its controls."""
    lines = [f"| arm | n | {figure} | less {BASELINE}: mean [95 %] | sign test |", "| --- | --- | --- | --- | --- |"]
    of = {arm: values(each, figure) for arm, each in runs.items()}
    base = of.get(BASELINE, {})
    for arm, own in sorted((item for item in of.items() if item[1]), key=lambda item: mean(item[1].values())):
        differences = paired(own, base) if arm != BASELINE else []
        lines.append(f"| {arm} | {len(own)} | {_spread(list(own.values()))} {_difference(differences)}")
    lines += ["", "| pair | n | difference: mean [95 %] | sign test |", "| --- | --- | --- | --- |"]
    for arm in FUSIONS:
        for other in (*BASES, WITHOUT_FEEDBACK):
            if differences := paired(of.get(arm, {}), of.get(other, {})):
                lines.append(f"| {arm} less {other} | {len(differences)} {_difference(differences)}")
    return lines


def beside(runs: Runs) -> list[str]:
    """Means and deviations of the figures that decide nothing."""
    lines = [f"| arm | {' | '.join(BESIDE)} |", "| --- |" + " --- |" * len(BESIDE)]
    for arm, each in runs.items():
        columns = [list(values(each, figure).values()) for figure in BESIDE]
        lines.append(f"| {arm} | {' | '.join(_spread(column) if column else '' for column in columns)} |")
    return lines


def references(runs: Runs, figure: str) -> list[str]:
    """Floor and ceiling, each with the number of runs that measured it."""
    lines = []
    for title, name in (("floor (training pictures)", FLOOR), ("ceiling (reconstructions)", CEILING)):
        for arm, each in runs.items():
            found = [float(run[name][figure]) for run in each.values() if figure in run.get(name, {})]
            if found and (name == CEILING or arm == BASELINE):
                lines.append(f"{title}, {arm}: {_spread(found)} (n = {len(found)})")
    return lines


def picture(runs: Runs, to: Path, most: int = 3) -> None:
    """Write a PNG with a row of generated images for each arm, in the order of `runs`: of each of the first seeds that all have, its last grid's first row."""
    seeds = sorted(set.intersection(*(set(each) for each in runs.values())))[:most]
    grids = [
        [Image.open(max((each[seed]["folder"] / "samples").glob("step-*.png"))) for seed in seeds]
        for each in runs.values()
    ]
    width, high = grids[0][0].width, next(iter(runs.values()))[seeds[0]]["image_size"] + 2
    sheet = Image.new("RGB", (width * len(seeds), high * len(grids)))
    for row, each in enumerate(grids):
        for column, grid in enumerate(each):
            sheet.paste(grid.crop((0, 0, width, high)), (width * column, high * row))
    sheet.save(to)


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables of docs/fusion.md from a folder of runs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", default=FIGURE, help="the figure that is compared (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="write a PNG with a row of generated images for each arm")
    typed = parser.parse_args()
    runs = read(typed.folder)
    print(
        "\n".join(
            [
                *compared(runs, typed.figure),
                "",
                *beside(runs),
                "",
                *references(runs, typed.figure),
                "",
                *answer(runs, typed.figure),
            ]
        )
    )
    if typed.picture:
        picture(runs, typed.picture)


if __name__ == "__main__":
    main()
