"""Stop requests that no file can be made for: this process hears its own, others get a signal, and nobody is told that one was heard who was not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs import stop_requests, trainer_processes
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from ganhpc.runs.trainer_processes import TrainerProcesses
from tests.helpers import made

WAITS = r"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
os.write(1, b"ready\n")  # at once: print writes word and line break apart where PYTHONUNBUFFERED is set, and two processes share the pipe
time.sleep(600)
"""


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which no file can be made."""
    real = os.open

    def refuse(path: Any, flags: int, *words: Any, **more: Any) -> int:
        if flags & os.O_CREAT and Path(os.fsdecode(path)).name.startswith(stop_requests.FILE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, *words, **more)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("owner", ["", "job 7"])
def test_whoever_asks_hears_it(tmp_path: Path, owner: str) -> None:
    run = made(tmp_path)
    assert not run.ask_to_stop("first", owner) and not run.ask_to_stop("second", owner)
    assert run.stop_reason(owner) == "first" and run.stop_reason("job 8", holds=False) is None
    assert not list(run.folder.glob("stop*"))
    stop_requests.forget(run.folder, owner)
    assert run.stop_reason(owner) is None, "the next trainer is not asked"


@pytest.mark.parametrize("owner", ["", "job 7"])
@pytest.mark.parametrize("target", ["nowhere/at/all", "stop"])
def test_a_link_in_the_place_of_a_request_neither_stops_anybody_nor_swallows_a_request(
    tmp_path: Path, owner: str, target: str
) -> None:
    run = made(tmp_path)
    path = stop_requests.path_of(run.folder, owner)
    path.symlink_to(path.name if target == "stop" else target)
    assert run.stop_reason(owner) is None, "nobody has asked"
    assert not run.ask_to_stop("first", owner), "it could not be written: whoever asks passes it on"
    assert run.stop_reason(owner) == "first"
    stop_requests.forget(run.folder, owner)
    path.symlink_to("nowhere")
    with run.hold():
        assert not os.path.lexists(path), "the next one can be written"


def waiting(*words: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", WAITS, *words], stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("owner", ["", "job 7"])
def test_a_request_of_megabytes_leaves_a_status_that_is_read(tmp_path: Path, owner: str) -> None:
    run = made(tmp_path)
    run.ask_to_stop("\x01" * 3_000_000, owner)
    reason = run.stop_reason(owner)
    assert reason == "\x01" * 1000
    write_status(run, State.RESUMABLE, reason=reason)
    assert run.status()["state"] == "resumable" and run.run_status().reason == "\\x01" * 1000


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("whose", ["its own", "another process's", "a reader's of its log", "another machine's"])
def test_cancel_reaches_the_holder_or_says_that_it_does_not(
    tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path)
    monkeypatch.setattr(Run, "is_held", lambda _: True)
    words = {"its own": ("-m", "ganhpc.train", str(run.folder)), "a reader's of its log": (str(run.log),)}
    child = waiting(*words.get(whose, ("-m", "ganhpc.train", "another")))
    host = "elsewhere" if whose == "another machine's" else os.uname().nodename
    write_json(run.status_json, {"state": "running", "pid": child.pid, "host": host})
    if whose == "its own":
        assert run.ask_holder_to_stop("cancelled") and child.wait(120) == 75
    else:
        with pytest.raises(UserError, match="can't be told to stop: nothing can be written"):
            run.ask_holder_to_stop("cancelled")
        assert child.poll() is None, "a process that has nothing to do with the run gets no signal"
        child.kill()
    child.wait()
    assert run.stop_reason() is None


def test_of_torchrun_its_workers_are_told_and_itself_only_before_it_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_processes, "_TORCHRUN", "as torchrun")
    before = signal.getsignal(signal.SIGTERM)
    starts = "import subprocess, sys; c = [subprocess.Popen([sys.executable, '-c', sys.argv[2]]) for _ in range(2)]; sys.exit(sum(x.wait() for x in c))"
    several = TrainerProcesses([sys.executable, "-c", starts, "as torchrun", WAITS], os.environ, stdout=subprocess.PIPE)
    assert several.child.stdout
    assert [several.child.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
    several.interrupt()
    assert several.end() == 150, "both workers have heard it, and torchrun none"
    for words in ([WAITS, "as torchrun"], [WAITS]):
        alone = TrainerProcesses([sys.executable, "-c", *words], os.environ, stdout=subprocess.PIPE)
        assert alone.child.stdout and alone.child.stdout.readline()
        alone.interrupt()
        assert alone.end() == 75
        alone.interrupt()  # nobody is there any more
    assert signal.getsignal(signal.SIGTERM) == before, "this process is not the one that was asked"
