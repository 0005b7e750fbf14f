"""More figures than there is time to read: the signals of a stop are not delayed by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganhpc.program import said_figures
from ganhpc.program.said_figures import SaidFigures


def written(path: Path, first: int, last: int) -> Path:
    with path.open("a") as file:
        file.writelines(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in range(first, last + 1))
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said_figures, "_PART_BYTES", 1000)


@pytest.mark.usefixtures("small_parts")
def test_one_look_takes_no_longer_than_it_may_and_the_next_goes_on(tmp_path: Path) -> None:
    said = SaidFigures(written(tmp_path / "figures.jsonl", 1, 200))
    said.read(seconds=0.0)
    first = said.last["step"]
    assert 1 < first < 100
    said.read(seconds=0.0)
    assert first < said.last["step"] < 200
    said.read()
    assert said.last["step"] == 200 and [point["step"] for point in said.curve] == list(range(1, 201))


@pytest.mark.usefixtures("small_parts")
def test_at_the_end_the_last_figures_count_where_not_all_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "figures.jsonl", 1, 200)
    with path.open("a") as file:
        file.write('{"step": 201, "loss": 0.25}')
    said = SaidFigures(path)
    said.read(ended=True, seconds=0.0)
    assert said.last == {"step": 201, "loss": 0.25}
    steps = [point["step"] for point in said.curve]
    assert steps == sorted(steps) and len(steps) < 100 and steps[:3] == [1, 2, 3] and steps[-3:] == [199, 200, 201]
    assert (
        "bytes of figures were not read: more than there was time for; the last ones count" in capsys.readouterr().out
    )
    said.read(ended=True, seconds=0.0)
    assert len(said.curve) == len(steps)


@pytest.mark.usefixtures("small_parts")
def test_a_line_longer_than_a_part_hides_none_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    path.write_text('{"x": "' + "a" * 3000 + '"}\n')
    said = SaidFigures(written(path, 1, 5))
    said.read()
    assert said.last["step"] == 5 and [point["step"] for point in said.curve] == [1, 2, 3, 4, 5]
