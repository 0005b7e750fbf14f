"""Two gloo processes on CPU reproduce one process on the same global batch."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ganhpc.runs import stop_requests
from ganhpc.runs.run_folder import Run, State
from tests.helpers import ROOT, made, train


def curve(run: Run) -> list[dict]:
    return json.loads(run.evaluation_json.read_text())["curve"]


@pytest.mark.slow
def test_two_processes_make_the_same_weights_as_one(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    for run, processes in ((one, 1), (two, 2)):
        done = train(run, processes)
        assert done.returncode == 0, done.stderr
        assert json.loads(run.result_json.read_text())["steps"] == 20
    first, second = load_file(one.weights), load_file(two.weights)
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-5
    assert [p["test_accuracy"] for p in curve(one)] == pytest.approx(
        [p["test_accuracy"] for p in curve(two)], abs=0.005
    )
    result = json.loads(two.result_json.read_text())
    assert result["processes"] == 2 and result["batch_size"] == 20


def ask_once_it_trains(run: Run, go: Path) -> None:
    patience = time.monotonic() + 600
    while not run.status().get("step") and time.monotonic() < patience:
        time.sleep(0.005)
    run.ask_to_stop("a stop that every rank hears", "the test")
    go.touch()


@pytest.mark.slow
def test_with_batch_norm_the_loss_curves_agree_and_a_resumed_pair_is_whole(tmp_path: Path) -> None:
    options = {"batch_norm": True, "epochs": 6}
    one, two = made(tmp_path / "one", **options), made(tmp_path / "two", **options)
    assert train(one).returncode == 0
    mark = tmp_path / "mark"
    asking = threading.Thread(target=ask_once_it_trains, args=(two, mark.with_suffix(".go")))
    asking.start()
    # In the fourth epoch it waits: a quick machine is at the end before the test has asked.
    hook = {
        "HOOK_AT": "ganhpc.train.loop.trainer:Trainer._step",
        "HOOK_DO": "hold",
        "HOOK_AFTER": "30",
        "HOOK_RANK": "0",
    }
    path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
    stopped = train(two, 2, GANHPC_OWNER="the test", PYTHONPATH=path, HOOK_MARK=str(mark), **hook)
    asking.join()
    assert two.run_status().state is State.RESUMABLE, stopped.stderr
    stop_requests.forget(two.folder, "the test")
    done = train(two, 2)
    assert done.returncode == 0, done.stderr
    assert json.loads(two.result_json.read_text())["segments"] == 2
    losses = [[point["train_loss"] for point in curve(run)[1:]] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_by_every_rank(tmp_path: Path) -> None:
    run = made(tmp_path, batch_size=25)
    done = train(run, 2)
    assert done.returncode != 0
    assert run.run_status().state is State.REFUSED
    assert "--batch-size 25" in run.run_status().reason
