"""Kills and errors of storage at the k-th file operation of the launcher's verbs, this machine's queue, the node agent and the trainer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganhpc.runs.run_folder import Run
from tests.faults.campaign import Fault
from tests.faults.scenarios import SCENARIOS, campaign_of, enough
from tests.faults.test_damaged import TIMES
from tests.faults.trainings import outcome_of, trained
from tests.faults.world import World


@pytest.mark.slow  # a minute and a half of processor time, all together: processes of its own
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario.weight])
def test_a_fault_at_any_operation_loses_nothing(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    number = SCENARIOS[name].weight * TIMES
    met, wrong = campaign_of(name, tmp_path, number, said.append)
    assert not wrong, "\n".join(said)
    assert met >= enough(number), "most faults are met"


def test_a_campaign_that_meets_no_fault_is_not_enough() -> None:
    """Scenarios of one fault each count too: half of one is not none."""
    weights = {scenario.weight for scenario in SCENARIOS.values()} - {0}
    assert 1 in weights
    assert all(0 < enough(weight) <= weight for weight in weights)
    assert [enough(number) for number in (0, 1, 2, 3, 6)] == [1, 1, 1, 2, 3]


@pytest.mark.slow  # 10 s of processor time: it computes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_last_epochs_learning_rate_survives_a_kill_between_the_last_checkpoint_and_the_result(
    tmp_path: Path,
) -> None:
    """At the first operation behind the last checkpoint, at the evaluation, and at the result."""
    import ganhpc.train.loop.trainer  # noqa: F401 (loaded once: each try is a fork)

    scenario, world = SCENARIOS["trainer"], World(tmp_path / "whole")
    scenario.prepare(world)
    done = world.run(scenario.command)
    trained(world)
    (run,) = world.all()
    wanted = outcome_of(run)
    saved = max(k for k, line in enumerate(done.operations, 1) if "/checkpoints" in line)
    evaluated = next(k for k, line in enumerate(done.operations, 1) if "/.evaluation.json" in line)
    ended = max(k for k, line in enumerate(done.operations, 1) if "/result.json" in line)
    assert saved < evaluated < ended
    for at in (saved + 1, evaluated, ended):
        met = scenario.tried(tmp_path / str(at), Fault(at, "kill"))
        assert met.killed
        (again,) = Run.all(tmp_path / str(at) / "world" / "runs")
        assert outcome_of(again) == wanted
        lines = [json.loads(line) for line in again.metrics_jsonl.read_text().splitlines()]
        assert [line["lr"] for line in lines if line["kind"] == "epoch" and line["step"]] == [0.01, 0.001, 0.0001]
