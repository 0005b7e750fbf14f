"""The run folder: finding, making, holding, and the state that its files tell."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.files import atomic_open, read_json, write_json
from ganhpc.runs import file_owner
from ganhpc.runs import run_folder as run_module
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_folder import Run, State
from jobs.cifar import Cifar

EXPERIMENT = Cifar(data="synthetic")


def test_launching_again_finds_the_same_folder_and_new_makes_another(tmp_path: Path) -> None:
    first = Run.open(tmp_path, EXPERIMENT)
    assert first.folder == tmp_path / "cifar" / f"{EXPERIMENT.variant}-{EXPERIMENT.signature}"
    assert Run.open(tmp_path, EXPERIMENT) == first
    second = Run.open(tmp_path, EXPERIMENT, new=True)
    assert second.name == first.name + "-2"
    assert Run.open(tmp_path, EXPERIMENT) == second, "without --new the newest run is the one that goes on"
    assert Run.open(tmp_path, Cifar(data="synthetic", seed=1)) != second
    assert first.experiment() == EXPERIMENT
    assert {first.name, second.name} < {run.name for run in Run.all(tmp_path)}


def test_states_follow_the_files(tmp_path: Path) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    assert run.run_status().state is State.NEW
    write_json(run.status_json, {"state": "running", "host": socket.gethostname(), "time": time.time()})
    assert run.run_status().state is State.LOST, "says running, holds no lock, has no checkpoint"
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000001.json", {})
    assert run.run_status().state is State.RESUMABLE
    with run.hold():
        assert run.run_status().state is State.RUNNING
    write_json(run.status_json, {"state": "crashed", "reason": "why"})
    assert run.run_status().state is State.CRASHED
    assert run.run_status().reason == "why"
    write_json(run.result_json, {})
    assert run.run_status().state is State.DONE


@pytest.mark.parametrize("last", ["done", "crashed"])
def test_a_run_that_ends_while_it_is_looked_at_was_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """Its status was read while it ran; then its trainer writes its end, and lets go."""
    run = Run.open(tmp_path, EXPERIMENT)
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000001.json", {})
    write_json(run.status_json, {"state": "running", "host": socket.gethostname(), "time": time.time()})

    def ends(path: Path) -> bool:
        assert path == run.lock
        if last == "done":
            write_json(run.result_json, {})
        write_json(run.status_json, {"state": last, "reason": "why"})
        return False

    monkeypatch.setattr(run_module.locks, "is_held", ends)
    assert run.run_status().state is State(last)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"state": "runn'])
def test_a_status_that_a_power_cut_has_damaged_hides_no_checkpoint(tmp_path: Path, left: str) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    run.status_json.write_text(left)
    assert (run.status(), run.run_status().state) == ({}, State.NEW)
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000001.json", {})
    assert run.run_status().state is State.RESUMABLE
    assert "the last checkpoint is whole" in run.run_status().reason
    write_json(run.status_json, {"state": "resumable", "reason": "signal SIGTERM"})
    with run.hold():
        found = run.run_status()
        assert (found.state, found.reason) == (State.RUNNING, ""), "why the trainer before it has ended"
    write_json(run.result_json, {})
    assert run.run_status().state is State.DONE


def test_a_trainer_on_another_machine_counts_while_its_status_is_fresh(tmp_path: Path) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    run.lock.touch()
    write_json(run.status_json, {"state": "running", "host": "elsewhere", "pid": 1, "time": time.time()})
    assert run.run_status().state is State.RUNNING
    with pytest.raises(BusyError, match="process 1 on elsewhere"), run.hold():
        pass
    write_json(run.status_json, {"state": "running", "host": "elsewhere", "pid": 1, "time": time.time() - 1000})
    assert run.run_status().state is State.LOST


def test_a_clock_of_another_machine_has_two_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "WATCH_SECONDS", 0.5)
    run = Run.open(tmp_path, EXPERIMENT)
    run.lock.touch()
    for ahead, state in ((60, State.RUNNING), (30 * 86_400, State.LOST), (-1000, State.LOST)):
        write_json(run.status_json, {"state": "running", "host": "elsewhere", "pid": 1, "time": time.time() + ahead})
        assert run.run_status().state is state
    with run.hold():
        pass


def test_a_status_of_an_impossible_time_that_is_still_written_belongs_to_a_living_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    status = {"state": "running", "host": "elsewhere", "pid": 1, "time": time.time() + 86_400}
    write_json(run.status_json, status)
    monkeypatch.setattr(time, "sleep", lambda _: write_json(run.status_json, status))  # as it does while this one waits
    with pytest.raises(BusyError, match="process 1 on elsewhere"), run.hold():
        pass


def test_two_machines_of_one_name_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's living trainer is neither taken for a dead one of this machine, nor are its owner's files."""
    name = file_owner.process(1)
    run = Run.open(tmp_path, EXPERIMENT)
    run.lock.touch()
    status = {"state": "running", "host": socket.gethostname(), "pid": 1, "time": time.time(), "machine": "0f0f0f0f"}
    write_json(run.status_json, status)
    assert run.run_status().state is (State.RUNNING if file_owner.machine() else State.LOST)
    monkeypatch.setattr(file_owner, "machine", lambda: "12345678")
    with pytest.raises(BusyError, match=f"process 1 on {socket.gethostname()}"), run.hold():
        pass
    twin = re.sub(r"boot \S+", "boot another/1", name.partition(" (")[0])
    assert not file_owner.is_over(f"{twin} (0f0f0f0f)")
    assert file_owner.is_over(f"{twin} (12345678)"), "this machine, before it was started anew"
    assert file_owner.is_over(twin), "as older versions wrote it"
    write_json(run.status_json, {**status, "machine": "12345678"})
    assert run.run_status().state is State.LOST


def test_a_copy_of_a_living_run_is_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine, where the original can't be seen; a link to the folder, or another path to it, is no copy."""
    monkeypatch.setattr(run_module, "WATCH_SECONDS", 0.5)
    run = Run.open(tmp_path / "a", EXPERIMENT)
    status = {"state": "running", "host": "elsewhere", "pid": 1, "time": time.time(), **run.folder_identity()}
    write_json(run.status_json, status)
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000001.json", {})
    copy = Run(tmp_path / "b")
    shutil.copytree(run.folder, copy.folder)
    assert copy.run_status().state is State.RESUMABLE
    with copy.hold():
        pass
    (tmp_path / "c").symlink_to(run.folder)
    for same in (run, Run(tmp_path / "c")):
        assert same.run_status().state is State.RUNNING
        with pytest.raises(BusyError), same.hold():
            pass


def test_one_holder_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    code = f"import time, pathlib; from ganhpc.runs.run_folder import Run\nwith Run(pathlib.Path({str(run.folder)!r})).hold(): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert run.is_held()
    with pytest.raises(BusyError, match="already running"), run.hold():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not run.is_held()
    with run.hold():
        pass


def test_a_wish_to_stop_may_repeat_and_keeps_its_first_reason(tmp_path: Path) -> None:
    run = Run.open(tmp_path, EXPERIMENT)
    assert run.stop_reason() is None
    run.ask_to_stop("first")
    run.ask_to_stop("second")
    assert run.stop_reason() == "first"


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        Run.at(tmp_path)
    run = Run.open(tmp_path, EXPERIMENT)
    run.experiment_json.write_text('{"format": 1, "exp')
    with pytest.raises(UserError, match="not whole JSON"):
        run.experiment()
    write_json(run.experiment_json, {**EXPERIMENT.to_json(), "format": 0})
    with pytest.raises(UserError, match="format 0"):
        Run.open(tmp_path, EXPERIMENT)


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="--runs DIR"):
        Run.open(tmp_path / "runs", EXPERIMENT)


def as_nobody(work: Callable[[], object]) -> str:
    """What `work` raises in a child process without root's rights (root may write anywhere)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65_534)
                os.setuid(65_534)
            work()
            said = "nothing was raised"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    return os.read(reading, 10_000).decode()


def test_a_read_only_folder_is_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o555)
        said = as_nobody(lambda: Run.open(path / "runs", EXPERIMENT))
    assert said.partition(": ")[2].startswith("can't write")
    assert "--runs DIR" in said


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096, before[1])
    )  # the kernel then refuses longer files, as a full disk does
    try:
        with (
            pytest.raises(UserError, match=r"can't write .*file\.json.*earlier files are intact"),
            atomic_open(path) as file,
        ):
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_run_that_another_launcher_makes_meanwhile_is_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a busy machine: the other made the folder between two looks at what there is, and the run got two folders and two jobs."""
    look = run_module.attempts_at

    def looked(runs: Path, experiment: Experiment) -> list[tuple[int, Path]]:
        found = list(look(runs, experiment))
        monkeypatch.setattr(run_module, "attempts_at", look)
        Run.open(runs, experiment)
        return found

    monkeypatch.setattr(run_module, "attempts_at", looked)
    mine = Run.open(tmp_path, EXPERIMENT)
    assert [run.name for run in Run.all(tmp_path)] == [mine.name] == [f"{EXPERIMENT.variant}-{EXPERIMENT.signature}"]


def test_many_launchers_at_once_make_one_run(tmp_path: Path) -> None:
    code = f"import pathlib; from ganhpc.runs.run_folder import Run; from jobs.cifar import Cifar\nprint(Run.open(pathlib.Path({str(tmp_path)!r}), Cifar(data='synthetic')).name)"
    launchers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        for _ in range(6)
    ]
    names = {launcher.communicate()[0] for launcher in launchers}
    assert len(names) == 1
    assert json.loads(next(Run.all(tmp_path)).experiment_json.read_text())["data"] == "synthetic"
