"""Ctrl-C and TERM in each phase of a training, as typed: the command ends within seconds, says once what is kept, and the run goes on to the same end."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganhpc.cli.launching import local_launch
from ganhpc.cli.output import screen
from ganhpc.runs import file_owner, stop_requests
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.run_files import StopCause
from ganhpc.runs.run_folder import Run, State
from tests.helpers import ROOT, finish, small
from tests.train.tasks import tiny

pytestmark = pytest.mark.slow

SECONDS = 30
"""In which a stopped command must have ended, on a machine that does other things too. Where it has taken longer than that to come to the
phase, which is more work than to end, it may take as long."""
KEPT = "a checkpoint of step 10 is saved"
NOT_BEGUN, NONE_YET = "the training had not begun", "there is no checkpoint yet"
TAUGHT = {"teacher": "compact", "teacher_channels": (8, 8), "teacher_share": 0.5, "epochs": 4}


def definition(kind: str, folder: Path) -> Experiment:
    """A training of a second; "pictures": of a GAN on files in `folder`."""
    if kind == "pictures":
        folder.mkdir()
        noise = np.random.default_rng(0)
        for k in range(24):
            Image.fromarray(noise.integers(0, 255, (16, 16, 3), dtype="uint8")).save(folder / f"{k}.png")
        return tiny.tiny("dcgan", data=str(folder), train_images=None, batch_size=8, measure_images=4)
    if kind == "chosen":
        return small(net="auto", epochs=None, time=10.0)
    return small(
        **{"plain": {}, "compiled": {"compile": "on"}, "taught": TAUGHT, "measured": {"precision": "auto"}}[kind]
    )


@functools.cache
def whole(kind: str) -> dict[str, Any]:
    """The result of a run of that kind which nothing has interrupted."""
    with tempfile.TemporaryDirectory() as folder:
        return finish(Run.open(Path(folder) / "runs", definition(kind, Path(folder) / "p")))


def stopped(run: Run, tmp_path: Path, number: int, hook: dict[str, str]) -> tuple[int, str]:
    """Train `run` as typed, and stop it once it has reached the hook. Returns its exit code and all that it printed."""
    words = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
    mark = tmp_path / "mark"
    env = {**os.environ, "PYTHONPATH": path, "GANHPC_DATA": str(tmp_path / "cache"), "HOOK_MARK": str(mark), **hook}
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    started = time.monotonic()
    while not mark.exists() and time.monotonic() < started + 240 and child.poll() is None:
        time.sleep(0.02)
    begun = time.monotonic()
    child.send_signal(number)
    said, _ = child.communicate(timeout=120)
    assert mark.exists(), said
    assert time.monotonic() - begun < max(SECONDS, begun - started), said
    return child.returncode, said


TRAIN, RESULT = "ganhpc.train.loop.trainer:Trainer", "ganhpc.train.loop.result"
PHASES: dict[str, tuple[str, str, int, str]] = {
    "start": ("plain", "ganhpc.runs.cores:settle", 0, NOT_BEGUN),
    "decoding": ("pictures", "ganhpc.datasets.image_decoding:decode", 5, NOT_BEGUN),
    "writing the cache": ("pictures", "ganhpc.datasets.image_cache:_write", 0, NOT_BEGUN),
    "choice of a network": ("chosen", "ganhpc.train.tasks.network_choice:images_per_second", 0, NOT_BEGUN),
    "measuring speeds": ("measured", "ganhpc.train.loop.speed_choice:Speed.settle", 0, NOT_BEGUN),
    "compiling": ("compiled", "torch._inductor.compile_fx:compile_fx", 0, NONE_YET),
    "teacher": ("taught", "ganhpc.train.tasks.classifier:Classifier.train_step", 3, "there is no checkpoint yet"),
    "first evaluation": (
        "plain",
        "ganhpc.train.tasks.classifier:Classifier.evaluate",
        0,
        "a checkpoint of step 0 is saved",
    ),
    "training": ("plain", f"{TRAIN}._step", 12, "the checkpoint of step 10 is kept"),
    "evaluation": ("plain", "ganhpc.train.tasks.classifier:Classifier.evaluate", 1, KEPT),
    "last evaluation": ("plain", f"{TRAIN}._last_evaluation", 0, "the checkpoint of step 10 is kept"),
    "measures": ("pictures", "ganhpc.train.tasks.latent_gan:LatentGan.measures", 0, "the checkpoint of step 4 is kept"),
    "counting": ("plain", f"{RESULT}:operations_of_a_step", 0, "the checkpoint of step 20 is kept"),
    "export": ("pictures", "ganhpc.train.tasks.exports:write_one", 0, "the checkpoint of step 4 is kept"),
    "last weights": ("plain", f"{RESULT}:_write_weights", 0, "the checkpoint of step 20 is kept"),
}
"""Phase: (kind of training, the function at which it is stopped, calls of it before, what is kept)."""


def check(run: Run, kind: str, kept: str, number: int, code: int, said: str) -> None:
    """One sentence of what is kept, nothing of a crash, and the same end once the run is gone on with."""
    name = signal.Signals(number).name
    assert code == 128 + number, said
    assert said.count("stopped (") == 1 and f"stopped ({name} at the launcher; {kept}" in said, said
    assert "Traceback" not in said + run.log.read_text() and "torch" not in said, said
    found = run.run_status()
    assert found.state is (State.RESUMABLE if run.has_checkpoint() else State.LOST), said
    assert run.has_checkpoint() == kept.startswith(("a checkpoint", "the checkpoint"))
    assert not list(run.folder.glob("stop-*")), "the next trainer is not asked to stop"
    result = finish(run)
    if kind == "chosen":  # by time: as many steps as the machine makes
        assert result["ended_by"] == "time"
    elif run.experiment().resources.tasks_per_node == 2:  # two processes add up in another order
        assert result["test_loss"] == pytest.approx(whole(kind)["test_loss"], rel=1e-3)
        assert result["steps"] == whole(kind)["steps"]
    else:
        assert result["weights_sha256"] == whole(kind)["weights_sha256"]
    assert run.run_status().state is State.DONE


@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_in_each_phase(tmp_path: Path, phase: str) -> None:
    kind, at, after, kept = PHASES[phase]
    if kind == "compiled" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler: apt-get install g++")
    number = signal.SIGTERM if list(PHASES).index(phase) % 2 else signal.SIGINT
    run = Run.open(tmp_path / "runs", definition(kind, tmp_path / "p"))
    hook = {"HOOK_AT": at, "HOOK_DO": "wait", "HOOK_AFTER": str(after)}
    code, said = stopped(run, tmp_path, number, hook)
    check(run, kind, kept, number, code, said)


def test_a_stop_while_a_checkpoint_is_saved_waits_for_it(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "runs", definition("plain", tmp_path))
    hook = {"HOOK_AT": "ganhpc.train.runtime.checkpoint:save", "HOOK_DO": "work"}
    code, said = stopped(run, tmp_path, signal.SIGINT, hook)
    check(run, "plain", KEPT, signal.SIGINT, code, said)


@pytest.mark.parametrize(
    ("at", "rank", "after", "kept"),
    [
        ("ganhpc.train.runtime.distributed:Distributed.start", "1", 0, NOT_BEGUN),
        ("ganhpc.train.loop.build:_load_all", "0", 0, NOT_BEGUN),
        (f"{TRAIN}._step", "1", 12, "the checkpoint of step 10 is kept"),
        (f"{RESULT}:_write_weights", "0", 0, "the checkpoint of step 20 is kept"),
    ],
)
def test_a_stop_of_two_processes_of_which_one_hears_nothing(
    tmp_path: Path, at: str, rank: str, after: int, kept: str
) -> None:
    run = Run.open(tmp_path / "runs", small(tasks_per_node=2))
    hook: dict[str, Any] = {"HOOK_AT": at, "HOOK_DO": "wait", "HOOK_RANK": rank, "HOOK_AFTER": str(after)}
    code, said = stopped(run, tmp_path, signal.SIGTERM, hook)
    check(run, "plain", kept, signal.SIGTERM, code, said)


def test_a_stop_whose_file_is_refused_is_heard_at_once(tmp_path: Path) -> None:
    """As on a full disk: here a folder is where the file would be."""
    run = Run.open(tmp_path / "runs", small(epochs=10_000))
    words = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stop_requests.path_of(run.folder, file_owner.process(child.pid)).mkdir()
    while child.poll() is None and not run.status().get("step"):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)  # it was 75 s
    assert child.returncode == 130 and said.count("stopped (signal SIGTERM; a checkpoint of step") == 1, said
    assert run.run_status().state is State.RESUMABLE and run.run_status().status["cause"] == StopCause.ASKED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_launcher_reads_the_pictures(tmp_path: Path, number: int) -> None:
    run = Run.open(tmp_path / "runs", definition("pictures", tmp_path / "p"))
    code, said = stopped(run, tmp_path, number, {"HOOK_AT": "ganhpc.datasets.held_data:hold", "HOOK_DO": "wait"})
    assert (code, said.strip()) == (128 + number, "Error: stopped.")
    assert finish(run)["weights_sha256"] == whole("pictures")["weights_sha256"]


@pytest.mark.parametrize(("gone", "code"), [("pipe", 141), ("terminal", 129)])
def test_output_that_nobody_takes_any_more_stops_a_training_with_a_checkpoint(
    tmp_path: Path, gone: str, code: int
) -> None:
    """As `| head` does, or a terminal that is closed."""
    run = Run.open(tmp_path / "runs", small(epochs=10_000))
    reader, writer = os.openpty() if gone == "terminal" else os.pipe()
    words = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    # Tests that run under nohup hand its setting on: hanging up would stop nothing.
    usual = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    ends = {"stdin": writer, "stdout": writer, "stderr": writer}
    child = subprocess.Popen(words, cwd=ROOT, start_new_session=True, preexec_fn=usual, **ends)
    os.close(writer)
    os.set_blocking(reader, False)
    while child.poll() is None and not run.status().get("step"):
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 65_536)
        time.sleep(0.05)
    if gone == "terminal":  # first: which of the two is noticed first is chance
        child.send_signal(signal.SIGHUP)
        time.sleep(1)
    os.close(reader)
    assert child.wait(timeout=60) == code
    found = run.run_status()
    assert (found.state, found.status["cause"]) == (State.RESUMABLE, StopCause.ASKED), found
    assert (run.checkpoints / f"step-{found.status['step']:010d}.json").exists()


def test_a_slow_reader_of_the_output_stops_nothing(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "runs", small())
    heard = local_launch._Heard(run, screen())
    with heard.while_printing():
        raise BlockingIOError
    assert not heard.numbers and run.stop_reason(file_owner.process(os.getpid())) is None


def test_a_stop_of_several_runs_that_are_gone_on_with_is_one_of_all(tmp_path: Path) -> None:
    first, second = (Run.open(tmp_path / "runs", small(epochs=10_000, seed=seed)) for seed in (0, 1))
    words = [sys.executable, "launch.py", "resume", str(first.folder), str(second.folder), "--on", "local"]
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while child.poll() is None and not first.status().get("step"):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    try:
        said, _ = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130 and said.count("stopped (") == 1, said
    assert not second.status()


def test_hanging_up_stops_nothing_under_nohup(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "runs", small(epochs=10_000))
    words = ["nohup", sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    with (tmp_path / "said").open("w") as said:
        child = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
    for number in (signal.SIGHUP, signal.SIGTERM):
        before = run.status().get("step", 0)
        while child.poll() is None and run.status().get("step", 0) <= before:
            time.sleep(0.05)
        child.send_signal(number)
    assert child.wait(timeout=60) == 128 + signal.SIGTERM
    assert "SIGTERM at the launcher" in run.run_status().reason
