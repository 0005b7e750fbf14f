"""Files that a program writes under the names of the launcher's in its run's folder: moved aside, and no run is done by them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.analysis.results.rows import row
from ganhpc.program.ledger import Ledger
from ganhpc.program.own_files import ASIDE, OwnFiles
from ganhpc.runs.run_folder import Run, State
from tests.conftest import Launch
from tests.program.local_runs import made, segment

PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: (path.mkdir(), (path / "x").touch()),
    "a fifo": os.mkfifo,
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a file": lambda path: path.write_text('{"accuracy": 1}'),
    "words": lambda path: path.write_text("very good"),
}


@pytest.mark.parametrize("what", PLACES)
def test_what_lies_at_the_result_is_moved_aside(tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = made(tmp_path, "true")
    Ledger().write(run)
    PLACES[what](run.result_json)
    OwnFiles(run).keep()
    assert not os.path.lexists(run.result_json) and os.path.lexists(run.folder / ASIDE / "result.json")
    assert "result.json in the run's folder is the launcher's" in capfd.readouterr().out


@pytest.mark.parametrize("what", ["a folder", "a fifo", "a file", "words"])
def test_a_result_of_a_killed_program_is_none(tmp_path: Path, what: str) -> None:
    """Its runner was killed too, and has moved nothing aside."""
    run = made(tmp_path, "true")
    Ledger(open=True).write(run)
    run.checkpoints.mkdir()
    (run.checkpoints / "x").touch()
    PLACES[what](run.result_json)
    assert not run.is_done() and run.run_status().state is State.RESUMABLE
    assert row(run)["state"] == "resumable"
    assert segment(run).returncode == 0 and run.is_done()
    result = run.result()
    assert result is not None and result["signature"] == run.experiment().signature
    assert row(run)["state"] == "done"


def test_other_contents_take_the_place_of_those_before_and_nothing_else_is_lost(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    own, aside = OwnFiles(run), run.folder / ASIDE
    for text in ("one", "two"):
        run.result_json.write_text(text)
        own.keep()
    PLACES["a folder"](run.result_json)
    own.keep()
    run.result_json.write_text("three")
    own.keep()
    assert (aside / "result.json").read_text() == "three" and (aside / "result.json-2" / "x").exists()


def test_the_definition_is_kept(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    own, text = OwnFiles(run), run.experiment_json.read_bytes()
    for change in (lambda: run.experiment_json.write_text("{}"), run.experiment_json.unlink):
        change()
        own.keep()
        assert run.experiment_json.read_bytes() == text
    assert (run.folder / ASIDE / "experiment.json").read_text() == "{}"


NAMES = (
    "status.json",
    "evaluation.json",
    "program.json",
    "faults.json",
    "time-left.json",
    "program-stop",
    "deadline.json",
)


@pytest.mark.slow  # 4 s in all
@pytest.mark.parametrize("code", [0, 75, 3])
def test_folders_in_the_place_of_every_file_of_ours_change_no_end(tmp_path: Path, code: int) -> None:
    names = " ".join((*NAMES, "request.json", "measured.json", "result.json"))
    run = made(tmp_path, "sh", "-c", f"cd $GANHPC_RUN; rm -f {names}; mkdir {names}; date > checkpoints/x; exit {code}")
    assert segment(run).returncode == {0: 0, 75: 75, 3: 1}[code]
    assert run.run_status().state is {0: State.DONE, 75: State.RESUMABLE, 3: State.CRASHED}[code]
    assert Ledger.read(run).segments == 1


@pytest.mark.slow  # 2 s in all
def test_a_crash_is_one_whatever_result_the_program_has_written(launch: Launch, tmp_path: Path) -> None:
    script = 'echo "{}" > $GANHPC_RUN/result.json; exit 7'
    done = launch("program", "--on", "local", "--time", "30s", "--name", "own", "--", "sh", "-c", script)
    assert done.returncode == 1, done.stdout
    assert json.loads(launch("results", "--json").stdout)[0]["state"] == "crashed"
    (run,) = (tmp_path / "runs" / "program").iterdir()
    assert (run / ASIDE / "result.json").read_text() == "{}\n"
    assert "let it write into {checkpoints}" in (run / "log.txt").read_text()


def test_a_runner_of_a_run_that_is_done_starts_nothing(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", "echo x >> begun")
    assert [segment(run).returncode, segment(run).returncode] == [0, 0]
    assert (tmp_path / "begun").read_text() == "x\n"
    assert isinstance(Run.at(run.folder).result(), dict)
