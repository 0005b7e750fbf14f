"""Full disks: a program that meets one, and the state of its run where not even that can be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT
from ganhpc.program import ending
from ganhpc.program.ledger import Ledger
from ganhpc.runs import fault_count, run_files, run_folder
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from tests.conftest import Launch
from tests.program.local_runs import made

DRIVER = """
import errno, os, sys
from pathlib import Path
from ganhpc.core import files
from ganhpc.program import runner
folder, room = Path(sys.argv[1]), os.statvfs
full = folder / "checkpoints" / "full"
whole = files.atomic_open
def atomic_open(path, *words, **more):
    if full.exists(): raise OSError(errno.ENOSPC, "No space left on device", str(path))
    return whole(path, *words, **more)
class Room:
    f_bavail, f_frsize = 0, 4096
files.atomic_open = atomic_open
os.statvfs = lambda path: Room if full.exists() and sys.argv[2] == "no room" else room(path)
sys.exit(runner.main([str(folder)]))
"""
"""The runner on a disk that is full, once the program has said so, for all but files that are there."""
ENDS = {
    "its last lines": "echo x > $GANHPC_CHECKPOINTS/full; echo 'OSError: [Errno 28] No space left on device' >&2; exit 1",
    "no room": "echo x > $GANHPC_CHECKPOINTS/full; exit 1",
    "its result": "echo x > $GANHPC_CHECKPOINTS/full; exit 0",
}


def on_a_full_disk(run: Run, case: str) -> int:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GANHPC_LAUNCH": "a"}
    with run.log.open("ab") as log:
        return subprocess.run(
            [sys.executable, "-c", DRIVER, str(run.folder), case], env=env, stdout=log, stderr=log
        ).returncode


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("case", ENDS)
def test_after_a_full_disk_the_state_says_so_and_the_same_command_goes_on(
    tmp_path: Path, case: str, launch: Launch
) -> None:
    run = made(tmp_path, "sh", "-c", f"[ -e $GANHPC_CHECKPOINTS/again ] || {{ {ENDS[case]}; }}")
    assert on_a_full_disk(run, case) == 74
    assert run.status().get("state") in (None, "running"), "there was no room for another"
    seen = run.run_status()
    assert seen.state is State.RESUMABLE
    assert "the disk is full: free some space" in seen.reason and "killed" not in seen.reason
    assert "the disk is full" in " ".join(launch("status", run.name).stdout.split())
    (run.checkpoints / "full").rename(run.checkpoints / "again")
    assert on_a_full_disk(run, "") == 0 and run.run_status().state is State.DONE


def test_a_disk_that_stays_full_ends_the_chain(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", ENDS["no room"])
    fault_count.reserve(run.folder)
    for _ in range(fault_count.MOST - 1):
        fault_count.note(run.folder, "a", 1, number=28)
    Ledger(changes=0).write(run)
    assert on_a_full_disk(run, "no room") == 74 and run.run_status().state is State.RESUMABLE
    (run.checkpoints / "full").unlink()
    fault_count.note(run.folder, "a", 2, number=28)
    for _ in range(fault_count.MOST):
        fault_count.note(run.folder, "a", 2, number=28)
    assert run.run_status().state is State.CRASHED


def test_a_fault_of_before_is_not_the_reason_of_a_later_end(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    run.checkpoints.mkdir()
    fault_count.note(run.folder, "a", 0, number=28)
    status = {"state": "running", "time": (run.folder / "faults.json").stat().st_mtime + 5, "step": 1}
    run.status_json.write_text(json.dumps(status))
    assert run.run_status().reason.startswith("killed")
    run.status_json.write_text(json.dumps({**status, "time": 1.0}))
    assert "the disk is full" in run.run_status().reason
    ahead = {"number": 28, "time": time.time() + 3600, "given_up": True}
    (run.folder / "faults.json").write_text(json.dumps(ahead))
    assert run.run_status().reason.startswith("killed"), "of a clock that was ahead: every later end would be its"
    (run.folder / "faults.json").write_text('{"number": 1e99, "time": "x", "given_up": 3}')
    assert run.run_status().reason.startswith("killed")


def test_only_a_full_disk_is_taken_for_one(tmp_path: Path) -> None:
    assert ending.full_disk(tmp_path, None, ["IndexError: list index out of range"]) is None
    assert ending.full_disk(tmp_path, OSError(5, "x"), []) is None
    found = ending.full_disk(tmp_path, None, ["cp: error writing 'x': Disk quota exceeded"])
    assert found and "disk quota is used up" in str(found)


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("room", ["it is still full", "there is room again"])
def test_a_program_killed_while_the_disk_is_full_reads_as_the_full_disk(
    tmp_path: Path, room: str, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by kill -9 with its runner, which could write its status no more."""
    run = made(
        tmp_path,
        "sh",
        "-c",
        "until [ -e $GANHPC_CHECKPOINTS/go ]; do sleep 0.1; done; echo x > $GANHPC_CHECKPOINTS/full; sleep 600",
        time=600.0,
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GANHPC_LAUNCH": "a"}
    runner = subprocess.Popen([sys.executable, "-c", DRIVER, str(run.folder), "no room"], env=env)
    met = run_files.read_fault
    limit = time.monotonic() + 120
    while run.status().get("state") != "running" and time.monotonic() < limit:
        time.sleep(0.05)
    (run.checkpoints / "go").touch()  # its status has been written while there was room
    while met(run.folder) is None and time.monotonic() < limit:
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    while run.is_held() and time.monotonic() < limit:
        time.sleep(0.05)
    assert run.status()["state"] == "running"
    if room == "it is still full":
        (run.folder / run_files.FAULTS).unlink()
        monkeypatch.setattr(run_folder, "is_full", lambda _: True)
    seen = run.run_status()
    assert seen.state is State.RESUMABLE and "the disk is full: free some space" in seen.reason
    monkeypatch.undo()
    if room == "there is room again":
        assert "the disk is full" in " ".join(launch("status", run.name).stdout.split())
        assert fault_count.note(run.folder, "a", 0) == 1, "it did not count as a fault"
        write_status(run, State.RUNNING)
        assert "killed" in run.run_status().reason, "what was written after it says more"
