"""The trainer's input path against a torchvision DataLoader with the same augmentation, in turn on the same images."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ganhpc.core.statistics import Spread
from ganhpc.datasets.types import ImageData
from ganhpc.train.bench.hardware_peaks import synchronizer
from ganhpc.train.bench.timing import in_turn, ratios, seconds_each
from ganhpc.train.data.batch_loader import BatchLoader

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
OURS = "resident bytes"


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 keeps them: a NumPy array, each made a PIL image when it is asked for.

    `crop`: pixels of the border for a random crop; mirrored at random; normalised. Items: (float [3, 32, 32], class).
    """

    def __init__(self, images: Tensor, labels: Tensor, crop: int = 4) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        side = images.shape[-1]
        steps = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(side, padding=crop), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(transforms.functional.to_pil_image(self.images[index])), self.labels[index]


def dataloader(data: ImageData, batch_size: int, workers: int, *, pin: bool = False) -> DataLoader[Any]:
    """A DataLoader over the training images of `data`, with workers that stay."""
    assert data.labels is not None
    pictures = Pictures(data.images, data.labels)
    return DataLoader(
        pictures,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def worker_counts() -> tuple[int, ...]:
    """The numbers of DataLoader workers that are tried: none, and one a core up to eight."""
    cores = len(os.sched_getaffinity(0))
    return (0, min(cores, 8)) if cores > 1 else (0,)


def compare(data: ImageData, device: torch.device, *, batch_size: int, repeats: int, passes: int) -> dict[str, Any]:
    """Images a second on `device` of both, each a Spread as JSON; `ratio`: ours over the best DataLoader of the same round.

    `passes`: times that ours goes through the images in a block, so that it takes a time worth measuring.
    """
    assert data.labels is not None
    ours = BatchLoader(
        data.images, data.labels, batch_size=batch_size, device=device, mean=MEAN, std=STD, flip="random", crop=4
    )
    pieces = {OURS: _speed(lambda epoch: _resident(ours, epoch, passes), device)}
    for workers in worker_counts():
        theirs = dataloader(data, batch_size, workers, pin=device.type == "cuda")
        name = f"DataLoader, {workers} workers"
        pieces[name] = _speed(lambda _, theirs=theirs: _loaded(theirs, device), device)  # type: ignore[misc]
    found = in_turn(pieces, repeats)
    best = [max(values) for values in zip(*(v for name, v in found.items() if name != OURS), strict=True)]
    speeds = {name: Spread.of(values).to_json() for name, values in found.items()}
    return {"batch_size": batch_size, "images_per_second": speeds, "ratio": ratios(found[OURS], best).to_json()}


def _speed(images_of: Callable[[int], int], device: torch.device) -> Callable[[], float]:
    """Images a second of one pass; `images_of(number of the pass)` makes it and returns how many it gave."""
    count = {"pass": 0, "images": 0}

    def work() -> None:
        count["images"] = images_of(count["pass"])
        count["pass"] += 1

    def speed() -> float:
        seconds = seconds_each(work, 1, synchronizer(device))
        return count["images"] / seconds

    return speed


def _resident(loader: BatchLoader, number: int, passes: int) -> int:
    epochs = range(number * passes, (number + 1) * passes)
    return sum(len(loader.batch(epoch, step)[0]) for epoch in epochs for step in range(loader.steps_per_epoch))


def _loaded(loader: DataLoader[Any], device: torch.device) -> int:
    return sum(len(images.to(device, non_blocking=True)) for images, _ in loader)
