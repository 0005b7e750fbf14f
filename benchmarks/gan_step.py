"""A DCGAN step against the plain loop of the PyTorch DCGAN tutorial with its DataLoader, side by side.

    python -m benchmarks.gan_step [--repeats 7] [--batch-size 16] [--precision fp32]

Same networks (3,576,704 and 2,765,568 parameters, 64x64 pixels), same JPEG files, same batch. Theirs: ImageFolder, two workers, Resize,
CenterCrop, ToTensor, Normalize, BCELoss, Adam, as the tutorial has it. Ours: the task of `dcgan --preset tutorial` on the same folder.
Blocks of steps take turns; the ratio of each pair of blocks is printed with its deviation.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.common import machine, spread
from ganhpc.datasets.image_cache import VARIABLE
from ganhpc.datasets.types import DataRequest
from ganhpc.train.bench.hardware_peaks import synchronizer
from ganhpc.train.bench.timing import in_turn, ratios, seconds_each
from ganhpc.train.data import registry
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import dcgan
from ganhpc.train.tasks import task as base
from jobs.dcgan import PRESETS

IMAGES = 1024


def make_pictures(folder: Path) -> None:
    """JPEG files of coloured lines, in one class's folder as ImageFolder wants it."""
    (folder / "all").mkdir(parents=True)
    images = registry.load(DataRequest("lines", train_images=IMAGES, image_size=64)).images
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "all" / f"{index}.jpg", quality=95)


def batches(folder: Path, batch_size: int) -> Iterator[torch.Tensor]:
    """Real images without an end, as the tutorial loads them."""
    steps = [
        transforms.Resize(64),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    pictures = ImageFolder(str(folder), transforms.Compose(steps))
    loader = DataLoader(pictures, batch_size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    while True:
        for images, _ in loader:
            yield images


def tutorial(folder: Path, batch_size: int, nets: dict[str, nn.Module], device: torch.device) -> Iterator[None]:
    """The tutorial's training loop; one step for each `next`."""
    net_g, net_d = nets["generator"].to(device), nn.Sequential(nets["discriminator"], nn.Sigmoid()).to(device)
    criterion = nn.BCELoss()
    adam_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for images in batches(folder, batch_size):
        net_d.zero_grad()
        real = images.to(device)
        label = torch.full((real.size(0),), 1.0, dtype=torch.float, device=device)
        output = net_d(real).view(-1)
        error_real = criterion(output, label)
        error_real.backward()
        output.mean().item()
        fake = net_g(torch.randn(real.size(0), 100, device=device))
        label.fill_(0.0)
        output = net_d(fake.detach()).view(-1)
        error_fake = criterion(output, label)
        error_fake.backward()
        output.mean().item()
        adam_d.step()
        net_g.zero_grad()
        label.fill_(1.0)
        output = net_d(fake).view(-1)
        error = criterion(output, label)
        error.backward()
        output.mean().item()
        adam_g.step()
        error.item(), (error_real + error_fake).item()
        yield


def ours(task: Any) -> Iterator[None]:
    """The task's steps, one for each `next`."""
    epoch = 0
    while True:
        for step in range(task.steps_per_epoch):
            task.train_step(task.batch(epoch, step))
            yield
        epoch += 1


@click.command()
@click.option("--repeats", default=7)
@click.option("--steps", default=0, help="steps of a block  [default: 2 on CPU, 100 on CUDA]")
@click.option("--batch-size", default=0, help="images a step  [default: 16 on CPU, 128 on CUDA]")
@click.option("--precision", default="auto", help="auto, fp32 or bf16, of ours")
def main(repeats: int, steps: int, batch_size: int, precision: str) -> None:
    """Measure in turn and print the ratio."""
    process_group = Distributed.start("auto")
    cuda = process_group.device.type == "cuda"
    steps, batch_size = steps or (100 if cuda else 2), batch_size or (128 if cuda else 16)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = str(Path(folder) / "cache")
        pictures = Path(folder) / "pictures"
        make_pictures(pictures)
        experiment = PRESETS["tutorial"].replace(data=str(pictures), batch_size=batch_size, precision=precision)
        images = registry.load(DataRequest(str(pictures), image_size=64))
        task: Any = dcgan.build(experiment, base.Context(images, process_group))
        task.wrap(process_group.wrap)
        theirs = tutorial(pictures, batch_size, copy.deepcopy(task.modules), process_group.device)
        loops = {"tutorial": theirs, "ours": ours(task)}
        wait = synchronizer(process_group.device)
        pieces = {
            name: lambda loop=loop: 1000 * seconds_each(lambda: next(loop), steps, wait) for name, loop in loops.items()
        }
        found = in_turn(pieces, repeats)
        theirs.close()  # type: ignore[attr-defined]
    print(
        f"{machine()}, {torch.get_num_threads()} threads, batches of {batch_size}, blocks of {steps} steps, n = {repeats}"
    )
    for name, values in found.items():
        print(
            f"  {name:<9} {spread(values, ',.1f')} ms a step, {1000 * batch_size / statistics.mean(values):,.0f} images/s"
        )
    print(f"  ours is {ratios(found['tutorial'], found['ours']).text('.2f')} times as fast")


if __name__ == "__main__":
    main()
