"""Locks between processes: one holder at a time, freed by its death, asked for by anybody, never a wait for a file of another kind."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core import locks
from ganhpc.core.errors import StorageFault, UserError
from tests.helpers import ROOT

HOLDER = (
    "import sys, time, pathlib; from ganhpc.core import locks\nwith locks.{}: print('held', flush=True); time.sleep(60)"
)


def holder(what: str) -> subprocess.Popen[str]:
    """A process that holds a lock until it is killed."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER.format(what)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "held\n"
    return child


def killed(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_held_file_is_refused_and_shows_until_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not locks.is_held(path) and not path.exists(), "who asks makes no file"
    child = holder(f"held(pathlib.Path({str(path)!r}))")
    try:
        assert locks.is_held(path)
        with pytest.raises(locks.Held), locks.held(path, tries=2):
            pass
    finally:
        killed(child)
    assert not locks.is_held(path)
    with locks.held(path):
        assert locks.is_held(path)


def test_a_lock_file_of_its_own_is_waited_for_no_longer_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "submit.lock"
    child = holder(f"file_lock(pathlib.Path({str(path)!r}), 1)")
    begun, sleep, slept = time.monotonic(), time.sleep, []
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), sleep(seconds)))
    try:
        with pytest.raises(locks.Held), locks.file_lock(path, 0.3):
            pass
        # Of the upper bound, the pauses tell: a busy machine makes them longer, and fewer.
        assert time.monotonic() - begun > 0.25 and 0 < sum(slept) < 0.5
    finally:
        killed(child)
    with locks.file_lock(path, 5):
        pass


def test_a_folder_is_locked_without_a_file_in_it(tmp_path: Path) -> None:
    child = holder(f"folder_lock(pathlib.Path({str(tmp_path)!r}))")
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        killed(child)
        with locks.folder_lock(tmp_path):
            assert list(tmp_path.iterdir()) == []
    finally:
        os.close(handle)


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    with locks.held(tmp_path / "lock"), locks.file_lock(tmp_path / "own", 1):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert not locks.is_held(tmp_path / "lock")
        with locks.file_lock(tmp_path / "own", 0):
            pass
    finally:
        child.kill()
        child.wait()


def test_other_kinds_of_files_in_its_place_end_in_a_sentence_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "loop"):
        with pytest.raises(UserError, match=name), locks.held(tmp_path / name):
            pass
        assert not locks.is_held(tmp_path / "loop")
    for name in ("folder", "loop"):
        with pytest.raises(StorageFault, match=name), locks.file_lock(tmp_path / name, 1):
            pass
    os.mkfifo(tmp_path / "fifo")
    # Whoever opened it for reading as any file would wait for ever.
    assert not locks.is_held(tmp_path / "fifo")
    with locks.held(tmp_path / "fifo"):
        pass
    with pytest.raises(StorageFault), locks.folder_lock(tmp_path / "gone"):
        pass


def test_a_link_is_no_lock_and_makes_no_file(tmp_path: Path) -> None:
    """It came with somebody's folder, and leads to a lock that another program holds, or to a file that is not there yet."""
    (tmp_path / "held").symlink_to("own")
    (tmp_path / "new").symlink_to("nowhere")
    with locks.held(tmp_path / "own"):
        assert locks.is_held(tmp_path / "own") and not locks.is_held(tmp_path / "held")
        for name in ("held", "new"):
            with pytest.raises(UserError, match="is a link"), locks.held(tmp_path / name):
                pass
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_locks_is_named_and_no_holder_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", none)
    assert not locks.is_held(tmp_path / "lock"), "a run there would be running for ever"
    for use in (locks.held(tmp_path / "lock"), locks.folder_lock(tmp_path)):
        with pytest.raises(StorageFault, match="no locks left") as error, use:
            pass
        assert error.value.passing


def test_nobody_else_calls_flock() -> None:
    users = [path.name for path in (ROOT / "ganhpc").rglob("*.py") if "flock" in path.read_text()]
    assert users == ["locks.py"]
