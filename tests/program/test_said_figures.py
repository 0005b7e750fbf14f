"""Figures that a program says: their bounds, their curves, the headline and the report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.program import figures, outcome, said_figures
from ganhpc.program.ledger import Ledger
from ganhpc.program.said_figures import SaidFigures
from ganhpc.runs import result_fields
from tests.conftest import Launch
from tests.program.local_runs import counting, defined, made, segment


@pytest.mark.slow  # 3 s in all
def test_a_report_shows_the_command_and_what_the_program_said(launch: Launch, tmp_path: Path) -> None:
    script = (
        "from ganhpc.program import figures; [figures(step=k, score=k * k) for k in range(9)]; print('the very end')"
    )
    words = ("--time", "30s", "--name", "told", "--headline", "score", "--", "python", "-c", script)
    assert launch("program", "--on", "local", *words).returncode == 0
    done = launch("report", "told", "--format", "md")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("report-*.md")
    text = path.read_text()
    assert "the very end" in text and "Its command line" in text and "figures(step=k" in text and "64" in text
    assert "could not be read" not in text and "course" not in text


def test_measure_and_budget_need_each_other() -> None:
    from ganhpc.core.errors import UserError

    with pytest.raises(UserError, match="--budget-params needs --measure"):
        defined("x", budget_params=5)
    with pytest.raises(UserError, match="names no function"):
        defined("x", measure="train.py")


def test_a_headline_can_not_be_a_field_of_results(tmp_path: Path) -> None:
    """The table would show the number of steps or the seed for the program's figure of that name."""
    run = made(tmp_path, "true")
    said = SaidFigures(tmp_path / "none")
    written = outcome.write(run, run.experiment(), Ledger(), said, "program", 1)
    assert set(written) == result_fields.OF_PROGRAMS
    for name in (*written, "epoch", "step"):
        with pytest.raises(UserError, match=f"--headline {name}: results have a field of that name.* my_{name}"):
            defined("true", headline=name)
    defined("true", headline="seeds")
    with pytest.raises(UserError, match="the program's name is empty"):
        defined("", "x")


class Several:
    """A tensor with several values, as torch answers for one."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


def test_figures_are_bounded_and_what_is_said_again_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.jsonl"
    monkeypatch.setenv("GANHPC_FIGURES", str(path))
    for step in (1, 2, 3, 2, 3):
        figures(step=step, loss=float(step), odd=float("nan"))
    for odd in (10**400, Several(), "words", None, [1.0]):
        figures(step=9, loss=odd)
    path.open("a").write('{"step": 4, "loss":')
    said = SaidFigures(path)
    said.read()
    assert [point["step"] for point in said.curve] == [1, 2, 3] and said.last == {"step": 3, "loss": 3}
    for step in range(10_000):
        said.add({"step": float(step + 4), "loss": 0.0})
    assert len(said.curve) <= 2001


def curve(tmp_path: Path, *segments: str, saved: bool = True) -> list[tuple[float, float]]:
    """(step, loss) of a curve that several segments have said: blanks between its figures, STEP[@EPOCH]."""
    path, begins, number = tmp_path / "figures.jsonl", {}, 0
    with path.open("w") as file:
        for text in segments:
            begins[file.tell()] = saved
            for word in text.split():
                step, _, epoch = word.partition("@")
                number += 1
                point = {"step": int(step), "loss": number} | ({"epoch": float(epoch)} if epoch else {})
                file.write(json.dumps(point) + "\n")
    said = SaidFigures(path, begins)
    said.read()
    return [(int(point["step"]), int(point["loss"])) for point in said.curve]


def test_a_counter_that_begins_anew_goes_on_in_the_curve(tmp_path: Path) -> None:
    in_order = [(step, step) for step in range(1, 7)]
    assert curve(tmp_path, "1 2 3 1 2 3") == in_order, "as for each epoch"
    assert curve(tmp_path, "0 1 2 0 1 2") == [(step - 1, step) for step in range(1, 7)]
    assert curve(tmp_path, "10 20 30 10 20 30") == [(10 * step, step) for step in range(1, 7)]
    assert curve(tmp_path, "1 2 3", "1 2 3") == in_order, "as for each segment, though it goes on"
    assert curve(tmp_path, "1@0 2@0 1@1", "2@1 1@2 2@2") == in_order
    assert curve(tmp_path, "5 6 1 2", "3 4") == [(5, 1), (6, 2), (7, 3), (8, 4), (9, 5), (10, 6)]


def test_what_is_said_again_after_a_resumption_or_a_step_back_counts(tmp_path: Path) -> None:
    assert curve(tmp_path, "1 2 3 4", "3 4 5") == [(1, 1), (2, 2), (3, 5), (4, 6), (5, 7)]
    assert curve(tmp_path, "1 2 3", "1 2", saved=False) == [(1, 4), (2, 5)], "killed before anything was saved"
    assert curve(tmp_path, "1 2 3 2 3 4") == [(1, 1), (2, 4), (3, 5), (4, 6)], "back to an earlier state"
    assert curve(tmp_path, "1@1 2@1 1@2 2@2", "1@2 2@2") == [(1, 1), (2, 2), (3, 5), (4, 6)]


def test_a_file_of_figures_that_begins_anew_says_again_what_it_has_said(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    said = SaidFigures(path)
    for text in ('{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n', '{"step": 1, "a": 3}\n'):
        path.write_text(text)
        said.read()
    assert said.curve == [{"step": 1, "a": 3}]


def test_a_last_line_without_a_line_break_is_that_of_its_segment(tmp_path: Path) -> None:
    path, before = tmp_path / "figures.jsonl", '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n'
    path.write_text(before + '{"step": 1, "a": 3}')
    said = SaidFigures(path, {0: False, len(before): False})
    said.read(ended=True)
    assert said.curve == [{"step": 1, "a": 3}], "what it says again was lost with the segment before"


def test_a_figure_that_comes_late_takes_its_place_in_the_curve(tmp_path: Path) -> None:
    said = SaidFigures(tmp_path / "none")
    for point in (
        {"step": 1, "a": 1},
        {"step": 2, "a": 2},
        {"step": 3, "a": 3},
        {"step": 2, "b": 5},
        {"step": 4, "a": 4},
    ):
        said.add({name: float(value) for name, value in point.items()})
    said.add({"step": 2.5, "b": 6.0})
    assert [point.get("a", 0) for point in said.curve] == [1, 2, 0, 3, 4]
    assert said.curve[1] == {"step": 2, "a": 2, "b": 5}


def test_lines_of_any_kind_in_the_file_of_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    lines = [
        b'\xef\xbb\xbf{"step": 1, "loss": 4}\r',  # as Windows programs begin and end
        b'{"step": 2, "loss": NaN, "accuracy": 0.5}',
        b'{"step": 3, "loss": 1e999, "huge": ' + b"9" * 500 + b"}",
        b'{"step": 4, "text": "' + b"x" * 100_000 + b'"}',
        b"[" * 30_000,
        b'{"step": 5, "caf\xe9": 1}',
        b'["no object"]',
        b"",
        b'{"step": 6, "loss": 2, "on": true, "what": "words", "list": [1]}',
    ]
    path.write_bytes(b"\n".join(lines) + b'\n{"step": 7, "loss": 1}')
    said = SaidFigures(path)
    said.read()
    assert [point["step"] for point in said.curve] == [1, 2, 3, 6]
    assert said.last == {"step": 6, "loss": 2, "accuracy": 0.5}
    said.read(ended=True)
    assert said.last == {"step": 7, "loss": 1, "accuracy": 0.5}, "the last line needs no line break"
    said.read(ended=True)
    assert [point["step"] for point in said.curve] == [1, 2, 3, 6, 7]


def test_a_line_that_a_kill_cut_off_spoils_none_of_the_next_segment(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", "from ganhpc.program import figures; figures(step=3, loss=3)")
    file = run.folder / "figures.jsonl"
    file.write_bytes(b'{"step": 1, "loss": 1}\n{"step": 2, "lo')
    assert segment(run).returncode == 0
    curve = json.loads(run.evaluation_json.read_text())["curve"]
    assert [point["step"] for point in curve] == [1, 3]
    before = file.read_bytes()
    said_figures.end_last_line(file)
    said_figures.end_last_line(tmp_path / "none")
    assert file.read_bytes() == before


def test_a_program_is_not_started_where_its_figures_would_wait_for_ever(tmp_path: Path) -> None:
    run = counting(tmp_path, 1)
    os.mkfifo(run.folder / "figures.jsonl")
    done = segment(run)
    assert done.returncode == 2
    assert "figures.jsonl is a fifo, not a file" in done.stderr
