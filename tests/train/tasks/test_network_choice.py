"""What `auto` stands for, by the speed of the device; and the network that trained, counted from its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ganhpc.core.files import read_json
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data import registry
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.flops.counters import count_parameters
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import network_choice
from ganhpc.train.tasks.task import Context
from jobs.cifar import PRESETS, Cifar
from tests.helpers import finish, made

SPEEDS = {
    "two CPU cores": (2067.0, 1400.0, 645.0, 90.0),
    "two cores with matrix units": (4_500.0, 4_700.0, 1_200.0, 200.0),
    "an old GPU": (9_000.0, 8_000.0, 4_000.0, 1_000.0),
    "a large GPU": (90_000.0, 80_000.0, 60_000.0, 20_000.0),
}
"""Images a second of the base, the wide, the large and the record network."""


def chosen(monkeypatch: pytest.MonkeyPatch, device: str, seconds: float) -> dict[str, Any]:
    base, wide, large, record = SPEEDS[device]
    by_children = {7: base, 5: wide, 11: large}

    def speed(net: torch.nn.Module, *_: Any, **__: Any) -> float:
        return record if type(net).__name__ == "RecurrentNet" else by_children[len(net.stages)]  # type: ignore[arg-type]

    monkeypatch.setattr(network_choice, "images_per_second", speed)
    images = registry.load(DataRequest("synthetic", train_images=50_000 // 100))
    images = dataclasses.replace(images, test_images=images.test_images[:100])
    said: list[str] = []
    # A hundredth of CIFAR-10 in a hundredth of the time: the same epochs.
    process_group = Distributed(0, 1, torch.device("cuda" if "GPU" in device else "cpu"))
    context = Context(images, process_group, seconds_left=seconds / 100, say=said.append)
    network_choice.settle(Cifar(), context)
    (line,) = said
    assert line.startswith(f"network: {context.choices['network']}: ") and "epochs of 500 images fit into" in line
    return context.choices


@pytest.mark.parametrize(
    ("device", "seconds", "network"),
    [
        ("two CPU cores", 300.0, "compact 32-64-104"),
        ("two CPU cores", 3600.0, "compact 32-48-64-80"),
        ("two cores with matrix units", 300.0, "compact 64-64-96"),
        ("two cores with matrix units", 60.0, "compact 32-64-104"),
        ("an old GPU", 300.0, "compact 32-48-64-80"),
        ("an old GPU", 3600.0, "compact 32-48-64-80"),
        ("a large GPU", 300.0, "recurrent 48-64-80"),
        ("a large GPU", 3600.0, "recurrent 48-64-80"),
    ],
)
def test_time_is_the_limit_or_parameters_are(
    monkeypatch: pytest.MonkeyPatch, device: str, seconds: float, network: str
) -> None:
    choices = chosen(monkeypatch, device, seconds)
    assert choices["network"] == network
    net = network_choice.make(Cifar(), (3, 32, 32), 10, choices)
    assert f"{count_parameters(net)[0]:,} trainable parameters" in choices["why"]


def test_a_heavy_network_is_not_measured_where_the_light_one_rules_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes of a CPU are too dear for fair measurements of what can't be."""
    sizes: list[tuple[str, int]] = []

    def speed(net: torch.nn.Module, context: Context, experiment: Any, seconds: float = 0.6) -> float:
        del context, seconds
        sizes.append((type(net).__name__, experiment.batch_size))
        return 90.0 if type(net).__name__ == "RecurrentNet" else 2067.0

    monkeypatch.setattr(network_choice, "images_per_second", speed)
    images = registry.load(DataRequest("synthetic", train_images=500))
    network_choice.settle(Cifar(), Context(images, Distributed.start("cpu"), seconds_left=3.0, say=lambda _: None))
    assert sizes and not [size for size in sizes if size[0] == "RecurrentNet"]


def test_the_operations_that_rule_it_out_are_those_of_the_networks() -> None:
    for member in network_choice.FAMILY:
        net = network_choice.make(
            Cifar(), (3, 32, 32), 10, {"net": member.net, "network": member.name, **member.fields}
        )
        found = describe(net, inputs=(torch.zeros(1, 3, 32, 32),), fvcore=False)
        assert found.macs / 1e6 == pytest.approx(member.macs, abs=0.1)


def test_the_forecast_counts_evaluations_and_what_is_no_step() -> None:
    """27 epochs of steps alone were foretold where 21 fitted."""
    images = registry.load(DataRequest("synthetic", train_images=500))
    context = Context(images, Distributed.start("cpu"), seconds_left=300.0)
    # 300 s at 100 images a second: 60 epochs of steps; 500 test images cost 150 training images after each, and six times that at the end.
    assert network_choice._epochs_that_fit(300.0, 100.0, Cifar(), context) == pytest.approx((28_500 - 900) / 650)
    assert network_choice._epochs_that_fit(1.0, 100.0, Cifar(), context) == 0.0


def test_every_candidate_keeps_the_strictest_budget() -> None:
    for member, size in network_choice.within(Cifar(), (3, 32, 32), 10):
        assert size < network_choice.STRICTEST, member


def test_the_choices_of_an_older_run_are_understood() -> None:
    old = {"channels": [16, 32], "depths": [1, 1], "stem": 8, "stem_kernel": 3, "stem_stride": 2, "network": "compact 16-32", "why": "it fits"}  # fmt: skip
    assert len(network_choice.make(Cifar(), (3, 32, 32), 10, old).stages) == 3  # type: ignore[arg-type]


def test_what_a_preset_names_is_what_auto_takes() -> None:
    """The preset `record` names in full what the default chooses where parameters are the limit."""
    record, member = PRESETS["record"], network_choice.FAMILY[0]
    assert record.net == member.net and member.name == "record"
    assert record.network_fields() == member.fields


NETS: dict[str, dict[str, Any]] = {
    "auto": {"net": "auto"},
    "recurrent": {"net": "recurrent"},
    "convmixer": {"net": "convmixer", "mixer_layers": 2},
    "densenet": {"net": "densenet", "dense_layers": 16},
}
SHORT = {"optimizer": "muon", "lr": 0.1, "train_images": 40, "epochs": 1, "test_batch_size": 100}


@pytest.mark.slow  # 15 s of processor time for its 4 cases
@pytest.mark.parametrize("name", NETS)
def test_the_network_that_trained_is_under_its_budget(tmp_path: Path, name: str) -> None:
    """Counted on the weights that the run left behind, not on what it said."""
    run = made(tmp_path, **NETS[name], **SHORT, budget_params=250_000)
    result = finish(run)
    choices = read_json(run.choices_json) or {}
    net = network_choice.make(run.experiment(), (3, 32, 32), 10, choices)
    weights = {key.removeprefix("net."): value for key, value in load_file(run.weights).items()}
    net.load_state_dict(weights)  # raises where the file holds another network
    trained = sum(weights[key].numel() for key, p in net.named_parameters() if p.requires_grad)
    assert trained == result["params"] < 250_000
    frozen = {key for key, p in net.named_parameters() if not p.requires_grad}
    others = set(weights) - {key for key, _ in net.named_parameters()}
    assert sum(weights[key].numel() for key in frozen) == result["frozen_params"]
    assert all("running_" in key or key.endswith("num_batches_tracked") for key in others), "nothing else was learnt"


@pytest.mark.slow  # 8 s in all
def test_the_clock_shows_all_work_inside_the_budget(tmp_path: Path) -> None:
    """Choosing the network, steps, evaluations and checkpoints: what the clock adds up is what passed, and less than the budget."""
    result = finish(made(tmp_path, net="auto", optimizer="muon", lr=0.1, time=8.0, epochs=None, train_images=200))
    evaluation = result["seconds_by_phase"]["evaluation"]
    assert result["train_seconds"] <= 8.0 + evaluation + 0.5, "a busy machine may stretch the last evaluation"
    assert 0.5 * result["train_seconds"] < sum(result["seconds_by_phase"].values()) <= 1.001 * result["train_seconds"]
    assert result["budget_seconds"] == 8.0 and result["ended_by"] == "time"
