"""The plain loops of benchmarks/races come to the same losses as our tasks, from the same weights and batches: they race the same training."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.races.__main__ import RACES, copies, first_losses
from benchmarks.races.plain import STEPS
from ganhpc.datasets.types import DataRequest
from ganhpc.runs.known_experiments import find
from ganhpc.train.data import registry
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import task as base
from tests.train.tasks.tiny import task_of, tiny

CASES = ["dcgan", "tutorial", "began", "wgan-gp", "cyclegan", "biggan"]


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("case", CASES)
def test_the_first_losses_are_equal(case: str) -> None:
    task = task_of(tiny(case, precision="fp32"))
    plain = STEPS[task.experiment.NAME](copies(task), task.experiment)
    lines, apart = first_losses(task, plain)
    assert apart < 1e-4, "\n".join(lines)
    assert len(lines) == 3 and "loss_g" in lines[0] and "loss_d" in lines[0]


def test_the_courses_losses_are_equal() -> None:
    small = {"data": "synthetic", "train_images": 200, "precision": "fp32"}
    experiment: Any = find("cifar").from_preset("course").replace(**small)
    context = base.Context(registry.load(DataRequest("synthetic", train_images=200)), Distributed.start("cpu"))
    task: Any = base.module("classifier").build(experiment, context)
    task.wrap(lambda net: net)
    lines, apart = first_losses(task, STEPS["cifar"](copies(task), experiment))
    assert apart < 1e-4, "\n".join(lines)


def test_another_loss_is_seen() -> None:
    task = task_of(tiny("wgan-gp", precision="fp32"))
    plain = STEPS["wgan-gp"](copies(task), task.experiment.replace(penalty=2 * task.experiment.penalty))
    assert first_losses(task, plain)[1] > 1e-2


def test_every_race_has_its_loop() -> None:
    assert {race.experiment for race in RACES.values()} == set(STEPS)
    for race in RACES.values():
        find(race.experiment).from_preset(race.preset).replace(**race.options)
