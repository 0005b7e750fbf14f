"""`launch.py program`: a program of one's own on this machine, from its start over several segments to each of its ends."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ganhpc.program import ledger
from ganhpc.program.ledger import Ledger
from ganhpc.runs.run_folder import State
from tests.conftest import Launch
from tests.program.local_runs import counting, ends_in, job, made, segment
from tests.waiting import wait_for


@pytest.mark.slow  # 10 s in all
def test_three_segments_end_as_one(tmp_path: Path) -> None:
    run = counting(tmp_path, 150, "USR1", stop_signal="USR1", time=600.0)
    said = run.folder / "figures.jsonl"
    counted = lambda: len(said.read_text().splitlines()) if said.exists() else 0  # noqa: E731
    codes, states = [], []
    while not run.result_json.exists() and len(codes) < 12:
        enough = counted() + 30
        with job(run, 600.0) as runner:
            wait_for(lambda enough=enough: runner.poll() is not None or counted() >= enough)
            ends_in(run, 22.0)  # it is told at once, and has twelve seconds to save before it is killed
            codes.append(runner.wait(120))
        states.append(run.run_status().state)
    assert codes[-1] == 0 and set(codes[:-1]) == {75} and len(codes) >= 3
    assert set(states[:-1]) == {State.RESUMABLE}
    begins = [int(line.split()[-1]) for line in run.log.read_text().splitlines() if line.startswith("begins at")]
    saved = [int(line.split()[-1]) for line in run.log.read_text().splitlines() if line.startswith("saved")]
    assert begins == [0, *saved], "each goes on where the one before was told to stop"
    result = run.result()
    assert result is not None
    assert (result["segments"], result["steps"], result["headline"]) == (len(codes), 150, "")
    assert result["accuracy"] == pytest.approx(1 - 1 / 150)
    curve = json.loads(run.evaluation_json.read_text())["curve"]
    assert [point["step"] for point in curve] == list(range(1, 151))
    assert Ledger.read(run).stop_seconds is not None


@pytest.mark.slow  # 3 s in all
def test_the_same_words_are_the_same_run_and_other_contents_of_a_watched_file_another(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text("print('one')\n")
    words = (
        "program",
        "--on",
        "local",
        "--time",
        "30s",
        "--watch-file",
        "own.py",
        "--json",
        "--",
        "python",
        "own.py",
        "a b",
        "--new",
    )
    rows = [json.loads(launch(*words).stdout)[0] for _ in range(2)]
    assert [row["state"] for row in rows] == ["done", "done"] and rows[0]["run"] == rows[1]["run"]
    assert rows[0]["segments"] == 1
    (tmp_path / "own.py").write_text("print('two')\n")
    assert json.loads(launch(*words).stdout)[0]["run"] != rows[0]["run"]


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("change", ["edited", "a folder"])
def test_a_watched_file_that_changes_between_two_segments_stops_the_run(tmp_path: Path, change: str) -> None:
    own = tmp_path / "own.sh"
    own.write_text("echo $GANHPC_SEGMENT > $GANHPC_CHECKPOINTS/n; [ $GANHPC_SEGMENT = 2 ] || exit 75\n")
    text = own.read_text()
    run = made(tmp_path, "sh", "own.sh", watch_files=("own.sh",))
    assert segment(run).returncode == 75 and run.run_status().state is State.RESUMABLE
    own.unlink()
    if change == "edited":
        own.write_text(text + "# better\n")
    elif change == "a folder":
        own.mkdir()
    assert segment(run).returncode == 2
    found = run.run_status()
    assert (
        found.state is State.REFUSED and "the watched file 'own.sh'" in found.reason and "put it back" in found.reason
    )
    assert (run.checkpoints / "n").read_text() == "1\n", "the program was not started"
    if change == "a folder":
        own.rmdir()
    own.write_text(text)
    assert segment(run).returncode == 0 and run.run_status().state is State.DONE


@pytest.mark.slow  # 2 s in all
def test_a_crash_shows_the_last_lines_in_status(launch: Launch) -> None:
    script = "import sys; print('first'); print('second é'); sys.exit(7)"
    done = launch("program", "--on", "local", "--time", "30s", "--name", "bad", "--", "python", "-c", script)
    assert done.returncode == 1
    shown = launch("status", "bad").stdout
    assert "crashed" in shown and "exit code 7" in shown and "| first" in shown and "| second é" in shown


STARTS = {
    "python train.py | tee log": (None, "typed as bash -c 'python train.py | tee log'"),
    "source": (None, "typed as bash -c 'source ..'"),
    "./no_first_line": ("exit 3\n", "names its interpreter, such as #!/bin/bash; or type bash ./no_first_line"),
    "./windows.sh": ("#!/bin/sh\r\nexit 3\r\n", "Windows line ends name none"),
    "./not_executable": ("#!/bin/sh\n", "chmod +x"),
    "~/run.sh": (None, "leave them out"),
    "here.sh": ("#!/bin/sh\n", "is typed as ./here.sh"),
    "train.py": ("", "is typed as python train.py"),
    "cat " + "x" * 5000: (None, "typed as bash -c 'cat x"),
    ".": (None, "or its path"),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_cannot_be_started_is_a_sentence_with_the_way_on(tmp_path: Path, name: str) -> None:
    text, way = STARTS[name]
    if text is not None:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if "not_executable" in name else 0o755)
    run = made(tmp_path, name)
    assert segment(run).returncode == 2
    found = run.run_status()
    assert found.state is State.REFUSED and "can't be started" in found.reason and way in found.reason, found


def test_a_program_that_is_not_there_is_a_sentence(launch: Launch) -> None:
    done = launch("program", "--on", "local", "--time", "30s", "--", "no-such-program")
    assert (
        done.returncode == 2
        and "'no-such-program' can't be started (No such file or directory)" in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr
    done = launch("program", "--time", "30s")
    assert done.returncode == 2 and "behind two dashes" in done.stderr


@pytest.mark.slow  # 3 s in all
def test_a_program_that_begins_anew_each_time_gets_nowhere_after_two_segments(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", "while true; do sleep 0.1; done")
    assert segment(run, 1.5).returncode == 75
    assert run.run_status().state is State.LOST
    assert segment(run, 1.5).returncode == 4
    status = run.run_status()
    assert status.state is State.CRASHED and "gets nowhere: 2 segments in a row" in status.reason
    assert run.result() is None


@pytest.mark.slow  # 6 s in all
def test_checkpoints_behind_a_link_to_another_disk_count(tmp_path: Path) -> None:
    """As where the home is small: the program gets on, and is not lost."""
    disk = tmp_path / "scratch"
    disk.mkdir()
    (disk / "round").symlink_to(disk)  # leads nowhere new
    script = f'ln -sfn {disk} "$GANHPC_CHECKPOINTS/here"; echo "$GANHPC_SEGMENT" >> "$GANHPC_CHECKPOINTS/here/state"; exit 75'
    run = made(tmp_path, "bash", "-c", script)
    for _ in range(4):
        assert segment(run).returncode == 75, run.run_status().reason
        assert run.run_status().state is State.RESUMABLE
    assert (disk / "state").read_text().split() == ["1", "2", "3", "4"]


def test_a_checkpoint_folder_that_can_not_be_listed_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, "true")
    Ledger().write(run)
    (run.checkpoints / "best").mkdir(parents=True)
    assert not run.has_checkpoint()
    scandir = os.scandir

    def away(path: str) -> object:
        if str(path).endswith("best"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", away)
    assert run.has_checkpoint()


def test_the_end_of_the_budget_is_done(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", "touch $GANHPC_CHECKPOINTS/x; while true; do sleep 0.1; done", time=8.0)
    assert segment(run).returncode == 0
    result = run.result()
    assert result is not None and result["ended_by"] == "time" and 1.0 < result["train_seconds"] <= 8.0


def test_a_killed_segment_counts_as_one(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    account = Ledger(open=True, seen=ledger.digest(run.checkpoints), nowhere=1, segments=1)
    account.write(run)
    assert segment(run).returncode == 4
    assert "gets nowhere" in run.run_status().reason


def test_what_is_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    run.checkpoints.write_text("a file")
    assert segment(run).returncode == 2
    assert f"{run.checkpoints}: something of that name is in the way" in run.run_status().reason
