"""The queue of this machine, with real processes."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from pathlib import Path

import pytest

from ganhpc.files import read_json, write_json
from ganhpc.schedulers import local
from ganhpc.schedulers.base import JobRequest, JobState, Prepared
from ganhpc.schedulers.local import Local
from ganhpc.site import Site


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def send(
    folder: Path, tag: str, lines: str, seconds: int = 60, start: dt.datetime | None = None, **values: object
) -> str:
    """Submit a job of these shell lines; returns its id."""
    script = folder / f"{tag}.sh"
    script.write_text(f"exec >>{folder}/out.txt\n{lines}\n")
    request = JobRequest(tag=tag, run=folder, segment=1, seconds=seconds, kind="queue", start=start, **values)  # type: ignore[arg-type]
    return Local(Site()).submit(Prepared(request, "", ("bash", str(script)), script))


def ended(id: str, seconds: float = 30) -> JobState:
    """The state in which the job ended."""
    limit = time.monotonic() + seconds
    while (job := Local(Site()).jobs([id])[id]).state.alive:
        assert time.monotonic() < limit, job
        time.sleep(0.05)
    return job.state


def test_jobs_run_one_after_another_in_their_order(state: Path) -> None:
    first = send(state, "one", "echo one begins; sleep 0.3; echo one ends")
    second = send(state, "two", "echo two; exit 3")
    waiting = {job.id: job for job in Local(Site()).queue()}
    assert waiting[second].after == (first,)
    assert waiting[second].tag == "two"
    assert (ended(first), ended(second)) == (JobState.ENDED, JobState.FAILED)
    assert (state / "out.txt").read_text().split("\n")[:3] == ["one begins", "one ends", "two"]
    assert Local(Site()).queue() == []


def test_a_job_waits_for_its_time_and_is_given_up_after_it(state: Path) -> None:
    now = dt.datetime.now().astimezone()
    late = send(state, "late", "echo late", start=now - dt.timedelta(hours=2), deadline=now - dt.timedelta(hours=1))
    assert ended(late) is JobState.TIMEOUT
    soon = send(state, "soon", "echo soon", start=now + dt.timedelta(seconds=2))
    assert ended(soon) is JobState.ENDED
    tree = read_json(local.queue_folder() / f"{soon}.json") or {}
    assert tree["started"] >= (now + dt.timedelta(seconds=2)).timestamp()
    assert not (state / "out.txt").read_text().count("late")


def test_the_end_of_its_time_is_a_polite_signal_first(state: Path) -> None:
    id = send(state, "long", "trap 'echo asked; exit 0' TERM; while true; do sleep 0.05; done", seconds=1)
    assert ended(id) is JobState.TIMEOUT
    assert (state / "out.txt").read_text() == "asked\n"


def test_cancelled_while_it_waits_and_while_it_runs(state: Path) -> None:
    running = send(state, "running", "echo runs; sleep 60")
    waiting = send(state, "waiting", "echo never")
    while not (state / "out.txt").exists():
        time.sleep(0.05)
    scheduler = Local(Site())
    scheduler.cancel(waiting)
    scheduler.cancel(running)
    assert (ended(running), ended(waiting)) == (JobState.CANCELLED, JobState.CANCELLED)
    assert (state / "out.txt").read_text() == "runs\n"


def test_a_machine_that_went_down_leaves_a_failed_job_and_the_next_submission_goes_on(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    lost = {
        "script": "x",
        "tag": "lost",
        "seconds": 60,
        "state": "running",
        "started": time.time(),
        "pid": 1,
        "born": "0",
    }
    write_json(folder / "1.json", lost)
    assert Local(Site()).jobs(["1"])["1"].state is JobState.FAILED
    assert ended(send(state, "next", "echo next")) is JobState.ENDED


def test_a_runner_that_is_killed_is_followed_by_another(state: Path) -> None:
    first = send(state, "first", "sleep 5")
    while not (tree := read_json(local.queue_folder() / f"{first}.json") or {}).get("pid"):
        time.sleep(0.05)
    runner = int(Path(f"/proc/{tree['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(runner, signal.SIGKILL)
    os.killpg(tree["pid"], signal.SIGKILL)
    assert ended(send(state, "second", "echo second")) is JobState.ENDED
    assert Local(Site()).jobs([first])[first].state is JobState.FAILED


def test_an_unknown_job() -> None:
    assert Local(Site()).jobs(["99"])["99"].state is JobState.UNKNOWN
