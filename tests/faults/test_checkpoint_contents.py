"""Checkpoints of the right checksum with wrong contents, of every kind of task: each part is changed in turn. A content is refused, or trained on."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganhpc.runs.run_folder import Run
from ganhpc.train.loop.trainer import Trainer
from ganhpc.train.optim import optimizers
from ganhpc.train.runtime import checkpoint
from ganhpc.train.runtime import checkpoint_content as content
from tests.faults.folders import places
from tests.helpers import small, trainer_of
from tests.train.tasks.tiny import tiny

TIMES = int(os.environ.get("GANHPC_FAULTS", "1"))
CASES = ("biggan", "cyclegan", "sdpc-gan", "began", "cifar")
WRONG: tuple[Any, ...] = (
    None,
    "x",
    -1,
    10**30,
    float("nan"),
    float("inf"),
    1.5,
    True,
    [],
    {},
    [[]],
    {"x": 1},
    (1, 2, 3),
)
SAMPLE = 100
"""Changes of each task's checkpoint, of some thousands that there are."""


def trained(tmp_path: Path, case: str) -> Trainer:
    """A trainer behind some steps, an evaluation and a checkpoint."""
    short = {"train_images": 32, "measure_images": 8} if case in ("sdpc-gan", "began") else {"train_images": 32}
    made = small(train_images=60, momentum=0.9) if case == "cifar" else tiny(case, **short)
    trainer = trainer_of(Run.open(tmp_path / "runs", made))
    for _ in range(3):
        trainer._block(*trainer._decide())
        trainer._evaluate_when_due()
    trainer._save()
    return trainer


def wrong_tensor(value: Tensor, chance: random.Random) -> Any:
    one = torch.ones(1, dtype=value.dtype)
    return chance.choice(
        (
            lambda: value.flatten()[:-1].clone(),
            lambda: value[None].clone(),
            lambda: value.to(torch.complex64),
            lambda: value.to(torch.int16),
            lambda: torch.full_like(value.float(), float("nan")),
            lambda: torch.full_like(value.float(), -float("inf")),
            lambda: one.expand(2**40),
            lambda: one.expand(value.shape) if value.dim() else one,
            lambda: torch.full_like(value, -1) if value.dtype != torch.uint8 else value + 1,
            lambda: value.float().to_sparse() if value.dim() else None,
            lambda: value.float().clone().requires_grad_(),
            lambda: chance.choice(WRONG),
        )
    )()


def changed(tree: dict[str, Any], chance: random.Random) -> str:
    """Change one part of a checkpoint, anywhere in it; returns which."""
    tree["progress"] = json.loads(tree["progress"])
    found = list(places(tree))
    # Some places are as one of thousands: each part gets its share.
    part = chance.choice(sorted(tree.keys() - {"torch", "format", "signature"}))
    own = [(holder, key) for holder, key in found if holder is tree[part]] * 3
    holder, key = chance.choice((own or [(tree, part)]) + list(places(tree[part])))
    value, way = holder[key], chance.random()
    if way < 0.1:
        del holder[key]
    elif way < 0.15 and isinstance(holder, dict):
        holder[chance.choice(("x", 0, -1, 10**6, "step", "load"))] = value
    else:
        holder[key] = wrong_tensor(value, chance) if isinstance(value, Tensor) and way < 0.8 else chance.choice(WRONG)
    if "progress" in tree:
        tree["progress"] = json.dumps(tree["progress"])
    return f"{part} {key!r}: {value if not isinstance(value, Tensor) else value.shape!r:.60} -> {holder.get(key, '') if isinstance(holder, dict) else ''!r:.60}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_content_is_refused_or_trained_on(tmp_path: Path, case: str) -> None:
    trainer = trained(tmp_path, case)
    file = io.BytesIO()
    torch.save(trainer._tree(), file)

    def whole() -> dict[str, Any]:
        file.seek(0)
        return dict(torch.load(file, weights_only=True))

    refused = 0
    for seed in range(SAMPLE * TIMES):
        tree = whole()
        about = f"seed {seed}: {changed(tree, random.Random(seed))}"
        try:
            trainer.clock.load(tree["clock"])
            trainer._restore(tree)
        except (checkpoint.Unusable, ValueError, KeyError, TypeError, AttributeError):
            refused += 1
            continue
        try:
            trainer.train_step(trainer.task.batch(0, 0))
            trainer._evaluate(final=False)
            trainer.task.end_epoch({name: float(value) for name, value in trainer.sums.items()} or {"M": 1.0})
            trainer.task.exports()
            torch.save(trainer._tree(), io.BytesIO())
            json.dumps(trainer.run_status(), allow_nan=False)
        except Exception as error:
            raise AssertionError(about) from error
        trainer.clock.load(whole()["clock"])
        trainer._restore(whole())
    assert refused > SAMPLE // 2


@pytest.mark.slow
def test_a_checkpoint_of_another_step_than_its_name_says_stands_in_front_of_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = trained(tmp_path, "cifar")
    step = trainer.progress.step
    tree, _ = checkpoint.load(trainer.run.checkpoints, torch.device("cpu"))
    assert tree is not None and tree.pop("format")
    checkpoint.save(trainer.run.checkpoints, 10**18, tree)
    assert trainer_of(trainer.run).progress.step == step
    said = capsys.readouterr().out
    assert f"step-{10**18} is broken (it is that of step {step})" in said
    assert said.count("resumed at step") == 1, "the records are not cut to a step that the run does not go on from"


class Own(torch.optim.Optimizer):
    """A user's own optimizer: it has no learning rate, and keeps other entries for matrices than for vectors, some of them infinite."""

    def __init__(self, parameters: Any, *, needed: int) -> None:
        super().__init__(parameters, {"strength": needed})

    def step(self, closure: Any = None) -> None:
        del closure
        for parameter in self.param_groups[0]["params"]:
            entries = {"highest": torch.tensor(-float("inf"))} if parameter.dim() > 1 else {"rows": torch.zeros(2)}
            self.state[parameter] |= {**entries, "word": "x"}


class Masked(torch.nn.Module):
    """A user's own network, with a mask, and bounds that are infinite until the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((3, 3), -float("inf")).triu(1))
        self.register_buffer("bound", torch.tensor(float("inf")))
        self.layer = torch.nn.Linear(3, 3)


def test_contents_of_a_users_own_kinds_are_not_judged_by_what_ours_hold() -> None:
    """A checkpoint that this program has written is not taken for a broken one, whatever optimizers and networks a user has written."""
    net = Masked()
    own = Own(net.parameters(), needed=3)
    own.step()
    state = own.state_dict()
    assert content.optimizer_state(state, Own(net.parameters(), needed=3), "own") == state
    trained_one = Masked().to(torch.bfloat16)
    trained_one.get_buffer("bound").fill_(2.0)
    content.modules({"net": trained_one.state_dict()}, {"net": net}, "modules")
    with pytest.raises(ValueError, match=r"modules\.net\.layer\.bias holds what is no number"):
        broken = net.state_dict() | {"layer.bias": torch.tensor([1.0, float("nan"), 0.0])}
        content.modules({"net": broken}, {"net": net}, "modules")


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "muon"])
def test_states_of_the_known_optimizers_are_taken_back_as_they_are(kind: str) -> None:
    """With learning rates that a schedule, or a replay, has changed, and settings that it has added."""
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Linear(2, 2))
    made = optimizers.make(small(optimizer=kind, weight_decay=0.0, momentum=0.9), net)
    for optimizer in made.values():
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        optimizer.param_groups[0] |= {"lr": torch.tensor(0.25), "own": 7}
        state = optimizer.state_dict()
        fresh = optimizers.make(small(optimizer=kind, weight_decay=0.0, momentum=0.9), net)
        taken = content.optimizer_state(state, next(o for o in fresh.values() if type(o) is type(optimizer)), kind)
        assert taken["param_groups"] == [{**state["param_groups"][0], "lr": 0.25}]
        assert taken["state"].keys() == state["state"].keys()
