"""What `auto` measures on a CPU: made machines with known times, and real segments on processors with and without bf16."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ganhpc.core.files import read_json, write_json
from ganhpc.datasets.types import DataRequest
from ganhpc.runs import job_deadline, stop_requests
from ganhpc.runs.cores import Cores, Threads
from ganhpc.runs.run_folder import Run
from ganhpc.train.data import registry
from ganhpc.train.loop import speed_choice
from ganhpc.train.loop.build import _builder
from ganhpc.train.loop.speed_choice import Speed, Way
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks.task import Context, precision_of
from jobs.cifar import Cifar
from tests.helpers import ROOT, made, train

CPU = torch.device("cpu")


class Machine:
    """A made machine: `seconds(way)` of a step with 256 images, a clock that only its steps and tasks move, a number of cores."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[Way], float], cores: Cores, name: str = "here"
    ) -> None:
        self.now, self.steps, self.said, self.cores = 0.0, [], [], cores
        clock = SimpleNamespace(
            perf_counter=lambda: self.now, process_time=lambda: self.now, monotonic=lambda: self.now
        )
        monkeypatch.setattr(speed_choice, "time", clock)
        monkeypatch.setattr(speed_choice, "processor", lambda: name)
        monkeypatch.setattr(torch, "set_num_threads", lambda n: self.__dict__.update(threads=n))

        def task(_: Speed, batch: int) -> Any:
            self.now += 0.02
            return SimpleNamespace(batch_size=batch)

        def step(_: Speed, task: Any, way: Way, *_clock: Any) -> float:
            took = seconds(way) * (0.1 + 0.9 * task.batch_size / 256)
            self.now += took
            self.steps.append(way)
            return took

        monkeypatch.setattr(Speed, "_task", task)
        monkeypatch.setattr(Speed, "_step", step)

    def run(self, choices: dict[str, Any], seconds: float | None = 300.0, typed: str = "", **options: Any) -> Speed:
        """What a segment of `cifar` settles, with `seconds` left."""
        threads = Threads(self.cores.limit, self.cores.free, typed, self.cores)
        process_group = Distributed(0, 1, CPU, threads)
        images = registry.load(DataRequest("synthetic", train_images=512))
        context = Context(images, process_group, choices=choices, seconds_left=seconds, say=self.said.append)
        self.steps.clear()
        made = Speed(Cifar().replace(**options), context, _builder(Cifar()))
        made.settle()
        return made


def twice(way: Way) -> float:
    """bf16 takes half the time; so do two threads."""
    return 0.2 / way.threads / (2 if way.precision == "bf16" else 1)


def slow(way: Way) -> float:
    """A processor without bf16, on which two threads wait for one another."""
    return (0.2 if way.threads == 1 else 2.0) * (3 if way.precision == "bf16" else 1)


def test_bf16_and_both_threads_are_taken_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    here = Machine(monkeypatch, twice, Cores(2))
    here.run(choices)
    assert (choices["speed"]["precision"], choices["speed"]["threads"], here.threads) == ("bf16", 2, 2)
    assert precision_of("auto", CPU, choices) == "bf16" and precision_of("fp32", CPU, choices) == "fp32"
    assert here.said == ["speed: bf16, 2 threads (bf16: 2 times fp32 here; 2 threads: 2 times 1 here; 2 cores)"]


def test_neither_is_taken_where_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    here = Machine(monkeypatch, slow, Cores(2))
    here.run(choices)
    assert (choices["speed"]["precision"], choices["speed"]["threads"], here.threads) == ("fp32", 1, 1)
    assert len([way for way in here.steps if way.precision == "bf16"]) <= 2, "far slower: not compared any further"
    assert here.said == ["speed: fp32, 1 thread (1 thread: 10 times 2 here; fp32: 3 times bf16 here; 2 cores)"]


@pytest.mark.parametrize("seconds", [1.0, 10.0, 60.0, 300.0, 3600.0])
@pytest.mark.parametrize("step", [twice, slow])
def test_all_of_it_takes_two_per_cent_of_the_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, step: Callable[[Way], float]
) -> None:
    here = Machine(monkeypatch, step, Cores(2))
    here.run({}, seconds)
    assert here.now <= 0.02 * seconds + 0.1


def test_flags_and_the_environment_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    here = Machine(monkeypatch, twice, Cores(2))
    here.run(choices, precision="fp32", typed="OMP_NUM_THREADS")
    assert not here.steps and not choices and not here.said
    here.run(choices, precision="fp32")
    assert {way.precision for way in here.steps} == {"fp32"} and choices["speed"]["threads"] == 2
    assert precision_of("fp32", CPU, choices) == "fp32"


def test_a_fixed_number_of_epochs_is_computed_in_fp32_whatever_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    here = Machine(monkeypatch, twice, Cores(2))
    here.run(choices, None, epochs=3, time=None)
    assert precision_of("auto", CPU, choices) == "fp32" and not here.steps


def test_a_later_segment_keeps_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    Machine(monkeypatch, twice, Cores(2)).run(choices)
    before = json.dumps(choices)
    again = Machine(monkeypatch, slow, Cores(2))
    again.run(choices)
    assert not again.steps and json.dumps(choices) == before and again.threads == 2


def test_on_another_processor_it_is_chosen_anew_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    Machine(monkeypatch, twice, Cores(2), "AMD EPYC [avx512_bf16]").run(choices)
    old = Machine(monkeypatch, slow, Cores(2), "Intel Xeon [avx2]")
    old.run(choices)
    assert (choices["speed"]["precision"], choices["speed"]["threads"]) == ("fp32", 1)
    assert old.said[-1] == "speed: the run began with bf16, 2 threads on AMD EPYC; it goes on with fp32, 1 thread"
    back = Machine(monkeypatch, twice, Cores(2), "AMD EPYC [avx512_bf16]")
    back.run(choices)
    assert choices["speed"]["precision"] == "bf16"
    assert back.said[-1] == "speed: the run began with fp32, 1 thread on Intel Xeon; it goes on with bf16, 2 threads"


def test_what_was_chosen_in_a_busy_moment_is_chosen_anew_by_the_next_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    Machine(monkeypatch, twice, Cores(2, busy=1.5)).run(choices)
    assert (choices["speed"]["threads"], choices["speed"]["busy"]) == (1, 1.5)
    quiet = Machine(monkeypatch, twice, Cores(2))
    quiet.run(choices)
    assert (choices["speed"]["threads"], choices["speed"]["busy"]) == (2, 0.0) and quiet.threads == 2


def test_fewer_cores_than_before_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    Machine(monkeypatch, twice, Cores(8)).run(choices)
    assert choices["speed"]["threads"] == 8
    less = Machine(monkeypatch, twice, Cores(8, quota=2.0))
    less.run(choices)
    assert choices["speed"]["threads"] == 2 and max(way.threads for way in less.steps) == 2


def test_while_it_trains_it_looks_again_where_the_load_has_changed_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str, Any] = {}
    here = Machine(monkeypatch, twice, Cores(2, busy=1.5))
    chooser = here.run(choices)
    others = iter([1.4, 0.1, 1.5, 0.1, 0.0])
    chooser.load = SimpleNamespace(others=lambda: next(others))  # type: ignore[assignment]
    for number in range(6):
        here.steps.clear()
        chooser.measure_again()
        # Every five seconds; a quiet moment between two busy ones is not yet a change.
        assert bool(here.steps) == (number == 5)
        here.now += 5.1
    assert (choices["speed"]["threads"], here.threads) == (2, 2)


def test_it_does_not_measure_again_where_too_little_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement in the last seconds would end the run behind its time."""
    here = Machine(monkeypatch, twice, Cores(2, busy=1.5))
    chooser = here.run({})
    for left, measured in ((2.9, False), (30.0, True)):
        chooser.load = SimpleNamespace(others=lambda: 0.0)  # type: ignore[assignment]
        here.steps.clear()
        for _ in range(3):
            here.now += 5.1
            chooser.measure_again(left)
        assert bool(here.steps) == measured


def test_measuring_leaves_the_random_numbers_and_the_choices_of_the_run_alone() -> None:
    images = registry.load(DataRequest("synthetic", train_images=64))
    threads = Threads(1, 1, "--threads", Cores(1))
    choices: dict[str, Any] = {}
    context = Context(images, Distributed(0, 1, CPU, threads), choices=choices, seconds_left=60.0, say=lambda _: None)
    experiment = Cifar().replace(batch_size=16, net="course", dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Speed(experiment, context, _builder(experiment)).settle()
    assert torch.equal(torch.rand(3), expected)
    assert set(choices) == {"speed"} and choices["speed"]["precision"] in ("fp32", "bf16")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["cifar", "dcgan"])
def test_a_run_goes_on_where_the_processor_has_no_bf16(tmp_path: Path, experiment: str) -> None:
    """Two segments of one run: as on a machine with bf16 units, then as on one without (oneDNN is told to use none)."""
    if experiment == "cifar":
        run = made(tmp_path, net="compact", time=25.0, epochs=None, train_images=2000, batch_size=100)
    else:
        from jobs.dcgan import PRESETS

        small = {"image_size": 32, "base_channels": 8, "batch_size": 16, "time": 25.0, "train_images": 200}
        run = Run.open(tmp_path / "runs", PRESETS["default"].replace(data="lines", device="cpu", **small))
    # The first segment is stopped once the choice is made and it trains, however long it took to begin.
    words = [sys.executable, "-m", "ganhpc.train", str(run.folder)]
    child = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **job_deadline.environment("the test")})
    limit = time.monotonic() + 300
    while child.poll() is None and time.monotonic() < limit:
        if run.choices_json.exists() and run.status().get("step"):
            run.ask_to_stop("seen enough", "the test")
        time.sleep(0.05)
    assert child.wait(300) == 75
    stop_requests.forget(run.folder, "the test")
    first = (read_json(run.choices_json) or {})["speed"]
    assert first["precision"] in ("fp32", "bf16")
    write_json(run.choices_json, {**(read_json(run.choices_json) or {}), "speed": {**first, "precision": "bf16"}})
    done = train(run, ONEDNN_MAX_CPU_ISA="AVX2")
    assert done.returncode == 0, done.stderr
    result = json.loads(run.result_json.read_text())
    now = (read_json(run.choices_json) or {})["speed"]
    assert result["precision"] == now["precision"] and "at most AVX2" in now["processor"]
    if now["precision"] == "fp32":
        assert "speed: the run began with bf16, 1 thread on " in done.stdout
