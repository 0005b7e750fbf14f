"""The default's training step against plain PyTorch loops of the same network, side by side in one run.

    python -m benchmarks.train_step [--repeats 7] [--device auto] [--net base] [--batch-size 256] [--compile]

Three loops take turns, in blocks of steps, on the same made images with the same batch size:

- plain: what a user writes first: a torchvision DataLoader with workers (the better of none and one a core is found beforehand), the same
  network in fp32 and the usual memory order, cross-entropy, SGD with Nesterov momentum, `loss.item()` each step;
- reference: the style of torchvision's references/classification: pinned memory, non-blocking copies,
  label smoothing, autocast with a gradient scaler on a GPU, accuracy and loss logged each step;
- ours: the task of `cifar` as the loop calls it: images that lie on the device, channels last, Muon, bf16 where the device has it.

Prints milliseconds a step and images/s as mean ± standard deviation, and the ratio of ours to each, taken round by round.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import click
import torch
from torch import Tensor, nn

from benchmarks.common import machine, spread
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.train.bench import input_path
from ganhpc.train.bench.hardware_peaks import synchronizer
from ganhpc.train.bench.timing import in_turn, ratios, seconds_each
from ganhpc.train.bench.training_steps import Subject, steps_of
from ganhpc.train.data import registry
from ganhpc.train.loop.build import keep_freed_memory
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import network_choice
from jobs.cifar import Cifar


def best_workers(images: ImageData, device: torch.device, batch_size: int) -> int:
    """The number of workers with which the DataLoader is fastest here, so that the plain loops get their best."""
    speeds: dict[int, float] = {}
    for workers in input_path.worker_counts():
        loader = input_path.dataloader(images, batch_size, workers, pin=device.type == "cuda")
        for _ in range(2):  # the first pass starts the workers
            each = seconds_each(lambda loader=loader: [None for _ in loader], 1)  # type: ignore[misc]
        speeds[workers] = 1 / each
    return max(speeds, key=lambda workers: speeds[workers])


def endless(images: ImageData, batch_size: int, workers: int, *, pin: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the DataLoader without an end."""
    loader = input_path.dataloader(images, batch_size, workers, pin=pin)
    while True:
        yield from loader


def plain(net: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[None]:
    """The loop of the PyTorch tutorial, with this network; one step for each `next`."""
    net = net.to(device).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(_trained(net), lr=0.01, momentum=0.9, nesterov=True)
    running = 0.0
    for inputs, labels in batches:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
        yield


def reference(net: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[None]:
    """`train_one_epoch` of torchvision's references/classification/train.py with --amp on a GPU; one step for each `next`."""
    net = net.to(device).train()
    amp = device.type == "cuda"
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(_trained(net), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    logged: list[tuple[float, float]] = []
    for image, target in batches:
        image, target = image.to(device, non_blocking=True), target.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.float16, enabled=amp):
            output = net(image)
            loss = criterion(output, target)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        top1 = (output.argmax(1) == target).float().mean()
        logged.append((loss.item(), top1.item()))
        yield


def _trained(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.requires_grad]


def forever(steps: Any) -> Iterator[None]:
    while True:
        steps()
        yield


@click.command()
@click.option("--repeats", default=7)
@click.option("--steps", default=0, help="steps of a block  [default: 4 on CPU, 100 on CUDA]")
@click.option("--batch-size", default=256)
@click.option("--images", default=2_000)
@click.option("--net", default="base", type=click.Choice([member.name for member in network_choice.FAMILY]))
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--compile", "compiled", is_flag=True, help="compile ours, as runs of ten minutes on a GPU do")
def main(repeats: int, steps: int, batch_size: int, images: int, net: str, device: str, compiled: bool) -> None:
    """Measure in turn and print the ratios."""
    process_group = Distributed.start(device)
    cuda = process_group.device.type == "cuda"
    if not cuda:
        keep_freed_memory()  # for all three loops: they share this process
    steps = steps or (100 if cuda else 4)
    pictures = registry.load(DataRequest("synthetic", train_images=images))
    member = next(m for m in network_choice.FAMILY if m.name == net)
    experiment = Cifar().replace(net=member.net, batch_size=batch_size, **member.fields)
    ours = steps_of(Subject(net, experiment, pictures), process_group, compile=compiled)
    same = copy.deepcopy(ours.task.modules["net"]).to(memory_format=torch.contiguous_format)
    workers = best_workers(pictures, process_group.device, batch_size)
    loops = {
        "plain": plain(copy.deepcopy(same), endless(pictures, batch_size, workers, pin=False), process_group.device),
        "reference": reference(
            copy.deepcopy(same), endless(pictures, batch_size, workers, pin=cuda), process_group.device
        ),
        "ours": forever(ours),
    }
    wait = synchronizer(process_group.device)
    pieces = {
        name: lambda loop=loop: 1000 * seconds_each(lambda: next(loop), steps, wait) for name, loop in loops.items()
    }
    found = in_turn(pieces, repeats)
    print(f"{machine()}, {torch.get_num_threads()} threads; {net}: {network_choice.FAMILIES[member.net][0].__name__}")
    print(f"batches of {batch_size}, blocks of {steps} steps, {workers} DataLoader workers, n = {repeats}")
    for name, values in found.items():
        speeds = [1000 * batch_size / value for value in values]
        print(f"  {name:<9} {spread(values, ',.2f')} ms a step, {spread(speeds, ',.0f')} images/s")
    for name in ("plain", "reference"):
        print(f"  ours is {ratios(found[name], found['ours']).text('.2f')} times as fast as {name}")


if __name__ == "__main__":
    main()
