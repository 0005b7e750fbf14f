"""`python -m ganhpc.train.bench`: measure this machine; the figures as JSON on standard output, what is being done on standard error."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import DataRequest
from ganhpc.train.bench import hardware_peaks, input_path, training_steps
from ganhpc.train.bench.training_steps import EPOCH, Subject
from ganhpc.train.data import registry
from ganhpc.train.loop.build import keep_freed_memory
from ganhpc.train.loop.result import environment_of
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import network_choice
from ganhpc.train.tasks.task import precision_of
from jobs.cifar import PRESETS

_HOUR = 3600.0


@click.command()
@click.option("--device", default="auto")
@click.option("--quick", is_flag=True)
@click.option("--compile", "compiled", is_flag=True)
def main(device: str, quick: bool, compiled: bool) -> None:
    """Measure and print."""
    try:
        print(json.dumps(measure(Distributed.start(device), quick=quick, compiled=compiled)))
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def measure(process_group: Distributed, *, quick: bool, compiled: bool) -> dict[str, Any]:
    """Every figure of `launch.py bench`."""
    begun = time.perf_counter()
    if process_group.device.type == "cpu":
        keep_freed_memory()
    precision = precision_of("auto", process_group.device, {})
    images = registry.load(DataRequest("synthetic", train_images=600 if quick else 2000))
    repeats, block = (3, 0.1) if quick else (5, 0.6)
    say("the ceilings: matrix products and copies")
    found = hardware_peaks.measure(process_group.device, precision, repeats=repeats, seconds=block / 2)
    rows = training_steps.measure(
        subjects(),
        images,
        process_group,
        found,
        repeats=repeats,
        seconds=block,
        longest=4 * block,
        compile=compiled,
        say=say,
    )
    say("the input path against a DataLoader")
    batch = min(256, len(images.images))
    inputs = input_path.compare(
        images, process_group.device, batch_size=batch, repeats=repeats, passes=5 if quick else 20
    )
    return {
        "quick": quick,
        "compiled": compiled,
        **environment_of(process_group.device, precision),
        "peaks": found.to_json(),
        "rows": [{**row, "seconds_to_90": seconds_to_90(row)} for row in rows],
        "input": inputs,
        "chosen": {word: chosen(rows, seconds) for word, seconds in (("1h", _HOUR), ("5m", _HOUR / 12))},
        "seconds": time.perf_counter() - begun,
    }


def subjects() -> list[Subject]:
    """The networks that the default chooses among, the lightest first, then the presets that name theirs."""
    default = PRESETS["default"]
    auto = [Subject(m.name, default.replace(net=m.net, **m.fields)) for m in reversed(network_choice.FAMILY)]
    return [*auto, *(Subject(name, PRESETS[name]) for name in ("course", "tutorial"))]


def chosen(rows: list[dict[str, Any]], seconds: float) -> str:
    """The network that `auto` would take for a run of `seconds` on CIFAR-10 at the speeds of `rows`."""
    speeds = {row["name"]: row["images_per_second"]["mean"] for row in rows}
    for member in network_choice.FAMILY:
        if speeds[member.name] * seconds / EPOCH >= member.least_epochs:
            return member.name
    return f"{network_choice.FAMILY[-1].name}, narrowed"


def seconds_to_90(row: dict[str, Any]) -> float | None:
    """Projected seconds of training to 90 % on CIFAR-10: the epochs that docs/record.md found, at the measured speed."""
    epochs = {member.name: member.epochs_to_90 for member in network_choice.FAMILY}.get(row["name"])
    return None if epochs is None else epochs * EPOCH / row["images_per_second"]["mean"]


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
