"""Trainings of the campaign: runs of tiny networks, and what must hold of them behind a fault and at their end."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.printable import print_error
from ganhpc.datasets import held_data
from ganhpc.runs.run_folder import Run, State
from tests.faults.campaign import Outcome
from tests.faults.world import World
from tests.helpers import small
from tests.train.tasks.tiny import tiny


def a_new_run(world: World) -> None:
    Run.open(world.runs, small(epochs=3))


def a_new(case: str, **values: Any) -> Callable[[World], None]:
    """A new run of a tiny network with stages or a frozen part."""

    def prepare(world: World) -> None:
        Run.open(
            world.runs,
            tiny(case, **{"train_images": 32, "epochs": 2, "measure_images": 8, **values}),
        )

    return prepare


def on_a_finished_run(world: World) -> None:
    """A new run that takes the networks of a finished one, which lies in the world too, and is held to them."""
    if "source" not in LEARNED:
        LEARNED["source"] = Path(tempfile.mkdtemp(prefix="ganhpc-source."))
        atexit.register(shutil.rmtree, LEARNED["source"], ignore_errors=True)
        run = Run.open(LEARNED["source"] / "runs", tiny("sdpc", train_images=32, epochs=1))
        assert train_main([str(run.folder)]) == 0
    (learned,) = Run.all(LEARNED["source"] / "runs")
    source = Path(shutil.copytree(learned.folder, world.home / "source"))
    run = Run.open(world.runs, tiny("sdpc-gan", source=str(source), train_images=32, epochs=2, measure_images=8))
    held_data.hold(run.folder, run.experiment().definition)


def train_main(words: list[str]) -> int:
    """The trainer, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "ganhpc.train", *words], check=False, capture_output=True).returncode


def trainer(world: World) -> object:
    from ganhpc.train.__main__ import main

    return _of_the_run(world, lambda folder: main([folder]))


def agent(world: World) -> object:
    from ganhpc.launch import node_agent

    def main(folder: str) -> object:
        sys.argv = ["ganhpc.node", folder, "--walltime=600", "--last"]
        return node_agent.main()

    return _of_the_run(world, main)


def _of_the_run(world: World, main: Callable[[str], object]) -> object:
    """Call `main` with the folder of the one run; to look for it may meet the fault too."""
    try:
        (run,) = world.all()
    except UserError as error:
        print_error(error)
        return 2
    return main(str(run.folder))


REFERENCE: dict[str, object] = {}
"""Outcome of each training without a fault, by its experiment and source, once one has been made."""
LEARNED: dict[str, Path] = {}
"""The folder of a finished run of sdpc, once one has been made."""


def outcome_of(run: Run) -> dict[str, object]:
    """All of a finished training that does not depend on time."""
    result = json.loads(run.result_json.read_text())
    lines = [json.loads(line) for line in run.metrics_jsonl.read_text().splitlines()]
    epochs = [
        (line["step"], line["epoch"], line.get("lr"), line.get("test_accuracy"), line.get("diversity"))
        for line in lines
        if line["kind"] == "epoch"
    ]
    return {"weights": result["weights_sha256"], "epochs": epochs, "accuracy": result.get("test_accuracy")}


def trained(world: World) -> None:
    """Done, bit-identical with a training that nothing disturbed; every epoch's line is there once, with its learning rate."""
    (run,) = world.all()
    assert run.run_status().state is State.DONE
    found = outcome_of(run)
    epochs = found["epochs"]
    definition = run.experiment().definition
    assert isinstance(epochs, list)
    assert all(lr is not None for step, _, lr, *_ in epochs if step) or run.folder.parent.name != "cifar"
    # A stage ends with an evaluation, and the next begins with one of its own.
    assert len({(step, diversity) for step, *_, diversity in epochs}) == len(epochs), epochs
    assert found == REFERENCE.setdefault(f"{run.folder.parent.name} {bool(definition.get('source'))}", found)


def resumable(world: World, outcome: Outcome) -> None:
    """Behind a fault a run is done, or can be gone on with."""
    (run,) = world.all()
    state = run.run_status().state
    passing = outcome.killed or not any(word in outcome.said for word in ("permission is denied",))
    wanted = {State.DONE, State.RESUMABLE, State.LOST, State.NEW} | (
        set() if passing else {State.CRASHED, State.REFUSED}
    )
    assert state in wanted, f"{state}: {outcome.said}"
