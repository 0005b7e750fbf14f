"""Training steps of ours against plain loops written from published descriptions, side by side in one run.

    python -m benchmarks.races [RACE ..] [--repeats 5] [--steps 4] [--batch-size N] [--precision fp32] [--workers 2]

Races: dcgan-w13, began-w5, wgan-gp-128, dcgan-tutorial, cyclegan-small, biggan-small, course. Each prints

- the losses of the first three steps of both, from the same weights and the same batches in fp32, and their largest relative difference;
- milliseconds a step of each as mean and deviation of n blocks that take turns, and the ratio of the blocks taken round by round.

The plain loops (benchmarks/races/plain.py) get their pictures from a DataLoader with workers that decodes files and converts pictures one by
one, draw their latent vectors themselves, run eagerly in fp32, and fetch their losses each step where the program does. Ours are the tasks'
own batches and steps.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common import machine, spread
from benchmarks.races.plain import STEPS, Plain
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.runs.known_experiments import find
from ganhpc.train.bench.hardware_peaks import synchronizer
from ganhpc.train.bench.timing import in_turn, ratios, seconds_each
from ganhpc.train.bench.training_steps import Steps
from ganhpc.train.data import registry
from ganhpc.train.loop.build import keep_freed_memory
from ganhpc.train.runtime import cuda_graph
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.training_clock import Clock
from ganhpc.train.tasks import task as base


@dataclass(frozen=True)
class Race:
    """A definition of ours and where its pictures come from."""

    experiment: str
    preset: str
    cpu_batch: int
    """Images a step on a CPU; elsewhere the preset's own."""
    data: str = "lines"
    options: dict[str, Any] = field(default_factory=dict)


RACES = {
    "dcgan-w13": Race("dcgan", "w13", 16),
    "began-w5": Race("began", "w5", 16),
    "wgan-gp-128": Race("wgan-gp", "lines", 2),
    "dcgan-tutorial": Race("dcgan", "tutorial", 16, options={"data": "lines"}),
    "cyclegan-small": Race("cyclegan", "small", 8),
    "biggan-small": Race("biggan", "small", 16, data="synthetic"),
    "course": Race("cifar", "course", 20, data="synthetic", options={"data": "synthetic"}),
}
_IMAGES = 512


class Pictures(Dataset[tuple[Tensor, int]]):
    """Files, converted one by one as a torchvision data set does."""

    def __init__(self, folder: Path, data: ImageData, convert: Callable[[Any], Tensor]) -> None:
        folder.mkdir(parents=True)
        self.labels = [0] * len(data.images) if data.labels is None else data.labels.tolist()
        self.paths = [folder / f"{k}.jpg" for k in range(len(data.images))]
        for path, image in zip(self.paths, data.images, strict=True):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, quality=95)
        self.convert = convert

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as file:
            return self.convert(file.convert("RGB")), self.labels[index]


def endless(pictures: Pictures, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the DataLoader without an end."""
    loader = DataLoader(
        pictures, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    while True:
        yield from loader


def converter(experiment: Any) -> Callable[[Any], Tensor]:
    """The usual chain of torchvision's transforms for the definition."""
    side = getattr(experiment, "image_size", 32)
    enlarge = getattr(experiment, "enlarge", 1)
    sizes = [
        transforms.Resize(round(side * enlarge)),
        transforms.RandomCrop(side) if enlarge > 1 else transforms.CenterCrop(side),
    ]
    flips = [transforms.RandomHorizontalFlip()] if experiment.flip != "none" else []
    return transforms.Compose([*sizes, *flips, transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


def drawn(
    experiment: Any, loaders: Sequence[Iterator[tuple[Tensor, Tensor]]], classes: int, device: torch.device
) -> Iterator[Any]:
    """Batches in the form of our tasks', of the DataLoaders' pictures and of numbers drawn on the spot."""
    n, size = experiment.batch_size, getattr(experiment, "latent_dim", 0)

    def z() -> Tensor:
        return torch.randn(n, size, device=device)

    def y() -> Tensor:
        return torch.randint(classes, (n,), device=device)

    def following(k: int = 0) -> tuple[Tensor, Tensor]:
        images, labels = next(loaders[k])
        return images.to(device), labels.to(device)

    steps = getattr(experiment, "critic_steps", 1)
    makers: dict[str, Callable[[], Any]] = {
        "dcgan": lambda: (following()[0], z(), torch.empty(()).uniform_(*experiment.real_label), None),
        "began": lambda: (following()[0], z()),
        "wgan-gp": lambda: ([(following()[0], z(), torch.rand(n, 1, 1, 1, device=device)) for _ in range(steps)], z()),
        "cyclegan": lambda: (following(0)[0], following(1)[0]),
        "biggan": lambda: ([(*following(), z(), y()) for _ in range(steps)], z(), y()),
        "cifar": following,
    }
    while True:
        yield makers[experiment.NAME]()


def plain_steps(plain: Plain, batches: Iterator[Any]) -> Iterator[None]:
    """The plain loop, one step for each `next`."""
    for batch in batches:
        losses = plain.step(batch)
        if plain.logs:
            _ = [loss.item() for loss in losses.values()]
        yield


def task_of(experiment: Any, sets: dict[str, ImageData], process_group: Distributed) -> tuple[Any, Clock]:
    """The task of ours, ready for steps, and its clock."""
    clock = Clock(synchronizer(process_group.device))
    first, *rest = sets.values()
    more = dict(zip(list(sets)[1:], rest, strict=True))
    context = base.Context(first, process_group, phase=clock.phase, say=lambda _: None, more=more)
    task: Any = base.module(experiment.TASK).build(experiment, context)
    task.wrap(process_group.wrap)
    return task, clock


def first_losses(task: Any, plain: Plain, number: int = 3) -> tuple[list[str], float]:
    """(lines with the losses of the first steps of both, the largest relative difference in the first)."""
    lines, worst = [], 0.0
    task.schedule(0.0)
    for step in range(number):
        batch = task.batch(*divmod(step, task.steps_per_epoch))
        theirs = {name: float(value.detach()) for name, value in plain.step(copy.deepcopy(batch)).items()}
        mine = {name: float(value) for name, value in task.train_step(batch).items()}
        both = [name for name in theirs if name in mine]
        apart = max(abs(theirs[name] - mine[name]) / max(abs(theirs[name]), 1e-3) for name in both)
        worst = worst or apart if step else apart
        shown = ", ".join(f"{name} {theirs[name]:.6f} / {mine[name]:.6f}" for name in both)
        lines.append(f"  step {step + 1}, plain / ours: {shown} (apart {apart:.1e})")
    return lines, worst


def sets_of(race: Race, experiment: Any) -> dict[str, ImageData]:
    """The pictures of a race, one set for each data field of the definition."""
    side = getattr(experiment, "image_size", 32)
    names = ("data", "data_b") if experiment.NAME == "cyclegan" else ("data",)
    wanted = {"data": race.data, "data_b": "negatives"}
    return {name: registry.load(DataRequest(wanted[name], train_images=_IMAGES, image_size=side)) for name in names}


def copies(task: Any) -> dict[str, torch.nn.Module]:
    """The networks of a task by themselves, in the usual memory order."""
    named = {name: net for name, net in task.modules.items() if name not in task.auxiliary}
    return {name: copy.deepcopy(net).to(memory_format=torch.contiguous_format) for name, net in named.items()}


def run(
    name: str, process_group: Distributed, *, repeats: int, steps: int, batch_size: int, precision: str, workers: int
) -> float:
    """One race. Returns how far the first losses are apart."""
    race, device = RACES[name], process_group.device
    preset = find(race.experiment).from_preset(race.preset)
    size = batch_size or (preset.batch_size if device.type == "cuda" else race.cpu_batch)
    experiment: Any = preset.replace(**race.options, batch_size=size, precision="fp32")
    sets = sets_of(race, experiment)
    task, _ = task_of(experiment, sets, process_group)
    lines, apart = first_losses(task, STEPS[race.experiment](copies(task), experiment))
    print(f"{name}: batches of {size}, blocks of {steps} steps, {workers} workers, ours in {precision}, n = {repeats}")
    print("\n".join(lines))

    task, clock = task_of(experiment.replace(precision=precision), sets, process_group)
    ours = Steps(task, clock, cuda_graph.begin(experiment, task, process_group, clock))
    with tempfile.TemporaryDirectory() as folder:
        loaders = [
            endless(Pictures(Path(folder) / key, data, converter(experiment)), size, workers)
            for key, data in sets.items()
        ]
        batches = drawn(experiment, loaders, len(task.context.data.classes), device)
        theirs = plain_steps(STEPS[race.experiment](copies(task), experiment), batches)
        wait = synchronizer(device)
        pieces = {
            "plain": lambda: 1000 * seconds_each(lambda: next(theirs), steps, wait),
            "ours": lambda: 1000 * seconds_each(ours, steps, wait),
        }
        found = in_turn(pieces, repeats)
        theirs.close()  # type: ignore[attr-defined]
    for key, values in found.items():
        speed = 1000 * task.batch_size / statistics.mean(values)
        print(f"  {key:<5} {spread(values, ',.1f')} ms a step, {speed:,.0f} images/s")
    print(f"  ours is {ratios(found['plain'], found['ours']).text('.2f')} times as fast", flush=True)
    return apart


@click.command()
@click.argument("races", nargs=-1, type=click.Choice(list(RACES)))
@click.option("--repeats", default=5)
@click.option("--steps", default=0, help="steps of a block  [default: 4 on CPU, 50 on CUDA]")
@click.option("--batch-size", default=0, help="images a step  [default: the race's on a CPU, the preset's on CUDA]")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", help="of ours, where it is timed")
@click.option("--workers", default=2, help="of the plain loops' DataLoaders")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(
    races: tuple[str, ...], repeats: int, steps: int, batch_size: int, precision: str, workers: int, device: str
) -> None:
    """Race and print; fails where the first losses are not equal."""
    process_group = Distributed.start(device)
    cuda = process_group.device.type == "cuda"
    if not cuda:
        keep_freed_memory()
    print(f"{machine()}, {torch.get_num_threads()} threads")
    how = {"repeats": repeats, "steps": steps or (50 if cuda else 4), "batch_size": batch_size, "workers": workers}
    apart = {name: run(name, process_group, precision=precision, **how) for name in races or RACES}
    if unequal := [name for name, value in apart.items() if value > 1e-3]:
        raise click.ClickException(f"the first losses differ: {', '.join(unequal)}")


if __name__ == "__main__":
    main()
