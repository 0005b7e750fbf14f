"""The files of this machine's queue: their numbers, and foreign files among them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import local, local_queue_jobs
from ganhpc.launch.schedulers.base import JobState
from ganhpc.launch.schedulers.local import Local
from tests.launch.schedulers.local_jobs import ended, runner, send, waiting_job
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("state")

FOREIGN = {
    "notes.json": "{}", "1.json": "{", "2.json": '{"state": "weird"}', "3.json": '{"state": "running", "seconds": 5}', "4.json": "[1]",
    "5.json": '{"script": 1, "tag": [], "seconds": "x", "state": "waiting"}', "-6.json": "{}", "\u0667.json": "{}", "8.json": "9" * 5000,
    "9.json": '{"script": "x", "tag": "t", "seconds": 1e999, "state": "waiting"}', "x.txt": "", "9999999999999999999.json": "{}",
}  # fmt: skip


def test_foreign_files_in_the_queue_are_no_jobs_and_stop_none(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    for name, text in FOREIGN.items():
        (folder / name).write_text(text)
    os.mkfifo(folder / "10.json")
    (folder / "11.json").mkdir()
    assert Local(Settings()).queue() == []
    id = send(state, "mine", "echo mine")
    assert id == "12", "a number that a foreign file has is not taken from it"
    assert ended(id) is JobState.ENDED
    assert Local(Settings()).jobs(["2", id])["2"].state is JobState.UNKNOWN
    assert set(FOREIGN) <= set(os.listdir(folder)), "they are left where they are"


def test_a_foreign_file_with_the_last_number_takes_no_job(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    (folder / "999999999.json").write_text("{}")
    (folder / "2.json").mkdir()
    ids = [send(state, tag, f"echo {tag}") for tag in ("one", "two")]
    assert ids == ["1", "3"]
    assert [ended(id) for id in ids] == [JobState.ENDED] * 2
    write_json(folder / "999999999.json", {"state": "ended", "script": "x", "tag": "last", "seconds": 1})
    with pytest.raises(UserError, match="the last number that there is, 999999999"):
        send(state, "three", "echo three")


STARTED = {"state": "running", "started": 5.0}


@pytest.mark.parametrize(
    "values",
    [
        {"script": "a\0b"},
        {"script": "/x/\ud800.sh"},
        {**STARTED, "attempt": "../../x"},
        {**STARTED, "attempt": "a\0b"},
        {**STARTED, "attempt": "a" * 300},
        {**STARTED, "attempt": "\ud800"},
        {**STARTED, "attempt": "", "pid": 1, "born": "0"},
        {**STARTED, "state": "cancelled", "attempt": "a/b"},
    ],
)
def test_a_file_whose_words_no_system_takes_stops_no_other_job(state: Path, values: dict[str, Any]) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    write_json(folder / "1.json", {"state": "waiting", "script": "/x", "tag": "t", "seconds": 5, **values})
    id = send(state, "mine", "echo mine")
    assert id == "2" and ended(id) is JobState.ENDED
    wait_for(lambda: not Local(Settings()).queue())  # one that was running counts until its runner has gone
    Local(Settings()).cancel("1")


@pytest.mark.parametrize("place", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_a_foreign_note_of_a_start_stops_no_other_job(state: Path, place: Callable[[Path], object]) -> None:
    """A foreign file where the process of an attempt notes that it begins keeps anybody from beginning that attempt."""
    job = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert job is not None
    place(job.claim)
    waiting_job(state, "echo once")
    runner()
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2
    assert (state / "out.txt").read_text().split() == ["once", "once"]


def test_two_at_once_take_two_numbers(state: Path) -> None:
    code = "import sys; from ganhpc.launch.schedulers import local_queue_jobs as queue_jobs; from pathlib import Path; [queue_jobs.add(Path(sys.argv[1]), {}) for _ in range(20)]"
    folder = state / "q"
    both = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(2)]
    assert [child.wait(60) for child in both] == [0, 0]
    assert len(local_queue_jobs.files(folder)) == 40
