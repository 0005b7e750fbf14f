"""`python -m ganhpc.train.bench`: measure this machine; the figures as JSON on standard output, what is being done on standard error."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from ganhpc.core.errors import UserError
from ganhpc.datasets.data_path import FIRST, data_fields
from ganhpc.datasets.types import DataRequest
from ganhpc.runs.known_experiments import find
from ganhpc.train.bench import hardware_peaks, input_path, training_steps
from ganhpc.train.bench.training_steps import EPOCH, Subject
from ganhpc.train.data import registry
from ganhpc.train.loop.build import keep_freed_memory, request_of
from ganhpc.train.loop.result import environment_of
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import network_choice
from ganhpc.train.tasks.task import precision_of
from jobs.cifar import PRESETS

_TIMES = {"1h": 3600.0, "5m": 300.0}
"""Times for which the choice of `auto` is told."""

_NETWORKS = ("all", "cifar", "gans")
"""Choices of `--networks`."""

_GANS = {
    "dcgan": ("tutorial", "lines"),
    "began": ("default", "lines"),
    "wgan-gp": ("small", "lines"),
    "cyclegan": ("small", "lines"),
    "biggan": ("small", "synthetic"),
    "sdpc": ("small", "lines"),
    "sdpc-gan": ("default", "lines"),
}
"""The preset of each experiment that is measured beside the networks of cifar, and the made images that it is measured on."""


@click.command()
@click.option("--device", default="auto")
@click.option("--quick", is_flag=True)
@click.option("--compile", "compiled", is_flag=True)
@click.option("--networks", type=click.Choice(_NETWORKS), default="all")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto")
def main(device: str, quick: bool, compiled: bool, networks: str, precision: str) -> None:
    """Measure and print."""
    try:
        group = Distributed.start(device)
        found = measure(group, quick=quick, compiled=compiled, networks=networks, precision=precision)
        print(json.dumps(found))
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def measure(
    process_group: Distributed, *, quick: bool, compiled: bool, networks: str = "all", precision: str = "auto"
) -> dict[str, Any]:
    """Every figure of `launch.py bench`. `networks`: one of `_NETWORKS`; `precision`: fp32, bf16, or auto, the faster for each network."""
    begun = time.perf_counter()
    if process_group.device.type == "cpu":
        keep_freed_memory()
    repeats, block = (3, 0.1) if quick else (5, 0.6)
    say("the ceilings: matrix products and copies")
    found = {
        word: hardware_peaks.measure(process_group.device, word, repeats=repeats, seconds=block / 2)
        for word in _tried(precision, process_group)
    }
    if len(found) > 1 and found["bf16"].matmul.mean < found["fp32"].matmul.mean:
        del found["bf16"]  # without units for it, a step takes many times longer
    pictures = 600 if quick else 2000
    rows = training_steps.measure(
        subjects(networks, pictures),
        process_group,
        found,
        repeats=repeats,
        seconds=block,
        longest=4 * block,
        compile=compiled,
        say=say,
    )
    say("the input path against a DataLoader")
    images = registry.load(DataRequest("synthetic", train_images=pictures))
    batch = min(256, len(images.images))
    inputs = input_path.compare(
        images, process_group.device, batch_size=batch, repeats=repeats, passes=5 if quick else 20
    )
    return {
        "quick": quick,
        "compiled": compiled,
        **environment_of(process_group.device, precision),
        "peaks": {word: peaks.to_json() for word, peaks in found.items()},
        "rows": [{**row, "seconds_to_90": seconds_to_90(row)} for row in rows],
        "input": inputs,
        "chosen": {} if networks == "gans" else {word: chosen(rows, seconds) for word, seconds in _TIMES.items()},
        "seconds": time.perf_counter() - begun,
    }


def _tried(precision: str, process_group: Distributed) -> tuple[str, ...]:
    """The precisions that are measured: both on a CPU, where only a measurement tells, else what a run would take."""
    if precision == "auto" and process_group.device.type == "cpu":
        return "fp32", "bf16"
    return (precision_of(precision, process_group.device, {}),)


def subjects(networks: str, pictures: int) -> list[Subject]:
    """The networks that cifar's default chooses among, the lightest first, and the presets that name theirs; then a preset of each GAN and of
    sdpc, with `pictures` made images."""
    found = []
    if networks != "gans":
        images = registry.load(DataRequest("synthetic", train_images=pictures))
        default = PRESETS["default"]
        auto = [
            Subject(m.name, default.replace(net=m.net, **m.fields), images) for m in reversed(network_choice.FAMILY)
        ]
        found += [*auto, *(Subject(name, PRESETS[name], images) for name in ("course", "tutorial"))]
    if networks != "cifar":
        found += [_made(name, preset, data, pictures) for name, (preset, data) in _GANS.items()]
    return found


def _made(name: str, preset: str, data: str, pictures: int) -> Subject:
    """The experiment `name` on `pictures` images of the made set `data`."""
    experiment = find(name).from_preset(preset).replace(data=data, train_images=pictures)
    images = {each: registry.load(request_of(experiment, each)) for each in data_fields(experiment.definition)}
    return Subject(f"{name} {preset}", experiment, images.pop(FIRST), images)


def chosen(rows: list[dict[str, Any]], seconds: float) -> str:
    """The network that `auto` would take for a run of `seconds` on CIFAR-10 at the speeds of `rows`."""
    epochs = {row["name"]: row["images_per_second"]["mean"] * seconds / EPOCH for row in rows}
    base = network_choice.FAMILY[-1].name
    for member in network_choice.FAMILY:
        if epochs[member.name] >= member.least(epochs[base]):
            return member.name
    return f"{base}, narrowed"


def seconds_to_90(row: dict[str, Any]) -> float | None:
    """Projected seconds of training to 90 % on CIFAR-10: the epochs that docs/record.md found, at the measured speed."""
    epochs = {member.name: member.epochs_to_90 for member in network_choice.FAMILY}.get(row["name"])
    return None if epochs is None else epochs * EPOCH / row["images_per_second"]["mean"]


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
