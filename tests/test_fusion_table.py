"""The table of docs/fusion.md: pairing by seed, intervals, exact sign test."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import fusion


def test_intervals_and_signs_are_those_of_textbooks() -> None:
    middle, low, high = fusion.interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert middle == 3.5 and high - middle == pytest.approx(2.571 * math.sqrt(3.5) / math.sqrt(6))
    assert low == pytest.approx(2 * middle - high) and fusion.interval([1.0])[1] == -math.inf
    assert fusion.sign_test([-1.0] * 6) == pytest.approx(0.03125) and fusion.sign_test([-1.0] * 5) == 0.0625
    assert fusion.sign_test([1.0, -1.0]) == 1.0 and fusion.sign_test([]) == 1.0


@pytest.mark.slow  # 3 s in all
def test_arms_are_paired_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm, values in {"adversarial": {0: 10.0, 1: 20.0, 2: 99.0}, "sdpc": {1: 15.0, 0: 6.0}}.items():
        for seed, value in values.items():
            run = tmp_path / "sdpc-gan" / f"{arm}-{seed}"
            run.mkdir(parents=True)
            (run / "experiment.json").write_text(json.dumps({"dictionary": arm, "seed": seed}))
            (run / "result.json").write_text(json.dumps({fusion.FIGURE: value}))
    found = fusion.read(tmp_path, fusion.FIGURE)
    assert fusion.paired(found["sdpc"], found["adversarial"]) == [-4.0, -5.0]
    fusion.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| sdpc | 2 | 10.5 ± 6.36 | -4.5 [") and lines[3].startswith("| adversarial | 3 |")
