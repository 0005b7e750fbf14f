"""The table of docs/fusion.md: pairing by seed, intervals, exact sign test."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import fusion


def test_intervals_and_signs_are_those_of_textbooks() -> None:
    middle, low, high = fusion.interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert middle == 3.5 and high - middle == pytest.approx(2.571 * math.sqrt(3.5) / math.sqrt(6))
    assert low == pytest.approx(2 * middle - high) and fusion.interval([1.0])[1] == -math.inf
    assert fusion.sign_test([-1.0] * 6) == pytest.approx(0.03125) and fusion.sign_test([-1.0] * 5) == 0.0625
    assert fusion.sign_test([1.0, -1.0]) == 1.0 and fusion.sign_test([]) == 1.0


def _write(folder: Path, arm: str, seed: int, value: float, **more: float) -> None:
    run = folder / "sdpc-gan" / f"{arm}-{seed}"
    (run / "samples").mkdir(parents=True)
    (run / "experiment.json").write_text(json.dumps({"dictionary": arm, "seed": seed, "image_size": 8}))
    (run / "result.json").write_text(json.dumps({fusion.FIGURE: value, "steps": 10 + seed, **more}))
    (run / "evaluation.json").write_text(json.dumps({fusion.FLOOR: {fusion.FIGURE: 15.0 + seed}, "curve": [{}]}))
    for step, grey in ((9, 0), (10, 10 * seed + 100)):
        Image.new("RGB", (42, 22), (grey, grey, grey)).save(run / "samples" / f"step-{step:010}.png")


def _typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["fusion", *words])
    fusion.main()


def test_arms_are_paired_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arm, figures in {"adversarial": {0: 10.0, 1: 20.0, 2: 99.0}, "sdpc": {1: 15.0, 0: 6.0}}.items():
        for seed, value in figures.items():
            _write(tmp_path, arm, seed, value, **({"sdpc_seconds": 80.0} if arm == "sdpc" else {}))
    found = fusion.read(tmp_path)
    assert list(found) == ["adversarial", "sdpc"]
    own, base = (fusion.values(found[arm], fusion.FIGURE) for arm in ("sdpc", "adversarial"))
    assert fusion.paired(own, base) == [-4.0, -5.0]
    _typed(monkeypatch, str(tmp_path), "--picture", str(tmp_path / "arms.png"))
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[2].startswith("| sdpc | 2 | 10.5 ± 6.36 | -4.5 [") and lines[3].startswith("| adversarial | 3 |")
    assert "| sdpc |  |  |  |  |  |  | 10.5 ± 0.707 | 80 ± 0 |" in printed
    assert "floor (training pictures), adversarial: 16 ± 1 (n = 3)" in lines
    seen = Image.open(tmp_path / "arms.png")
    assert seen.size == (2 * 42, 2 * 10), (
        "a grid's width for each seed that both have, a row of 8 + 2 pixels for each arm"
    )
    assert [seen.getpixel((x, y)) for y in (0, 10) for x in (0, 42)] == [(100,) * 3, (110,) * 3] * 2


@pytest.mark.parametrize(
    ("shift", "controls", "told"),
    [
        (-10.0, 0.0, "sdpc: yes, it is the feedback (below adversarial, random, pca, hi-la by both rules)"),
        (-10.0, -20.0, "sdpc: null (below adversarial by both rules)"),
        (+10.0, 30.0, "sdpc: null (below random, pca, hi-la by both rules)"),
        (0.0, 0.0, "sdpc: null (below none by both rules)"),
    ],
)
def test_answer_follows_the_rule_that_was_written_before(shift: float, controls: float, told: str) -> None:
    runs = {
        arm: {seed: {fusion.FIGURE: 100.0 + seed**2 + more + seed / 10 * bool(more)} for seed in range(6)}
        for arm, more in {
            "adversarial": 0.0,
            "sdpc": shift,
            **dict.fromkeys(("random", "pca", "hi-la"), controls),
        }.items()
    }
    assert told in fusion.answer(runs)
    assert fusion.answer(runs)[1] == "sdpc-tuned: null (below none by both rules)", "it has no runs"


def test_five_pairs_of_one_sign_are_too_few() -> None:
    assert not fusion.is_below([-5.0, -5.1, -5.2, -5.3, -5.4]) and fusion.is_below([-5.0, -5.1, -5.2, -5.3, -5.4, -5.5])
    assert not fusion.is_below([-1.0, -1.0, -1.0, -1.0, -1.0, -90.0]), "the interval reaches over 0"
