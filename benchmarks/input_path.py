"""The trainer's input path against a torchvision DataLoader with the same augmentation, side by side.

    python -m benchmarks.input_path [--repeats 7] [--batch-size 256]

Both give batches that are mirrored at random, shifted by up to four pixels and normalised. The DataLoader gets its best number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import click
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common import machine, spread
from ganhpc.data.base import DataRequest
from ganhpc.data.loader import BatchLoader
from ganhpc.data.synthetic import load

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 keeps them: a NumPy array, each made a PIL image when it is asked for."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        steps = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(transforms.functional.to_pil_image(np.asarray(self.images[index]))), self.labels[index]


def ours(loader: BatchLoader, epoch: int) -> Iterable[torch.Tensor]:
    return (loader.batch(epoch, step)[0] for step in range(loader.steps_per_epoch))


def speed(batches: Iterable[torch.Tensor]) -> float:
    """Images a second."""
    begun, n = time.perf_counter(), 0
    for batch in batches:
        n += len(batch)
    return n / (time.perf_counter() - begun)


@click.command()
@click.option("--repeats", default=7)
@click.option("--batch-size", default=256)
@click.option("--images", default=5_000)
def main(repeats: int, batch_size: int, images: int) -> None:
    """Measure in turn and print the ratio."""
    data = load(DataRequest("synthetic", train_images=images))
    assert data.labels is not None
    loader = BatchLoader(data.images, data.labels, batch_size=batch_size, mean=MEAN, std=STD, flip="random", crop=4)
    pictures = Pictures(data.images, data.labels)
    theirs = {
        w: DataLoader(pictures, batch_size, shuffle=True, drop_last=True, num_workers=w, persistent_workers=w > 0)
        for w in (0, 2)
    }
    results: dict[str, list[float]] = {"ours": [], "0 workers": [], "2 workers": []}
    for repeat in range(repeats + 1):
        measured = {"ours": speed(b for _ in range(5) for b in ours(loader, repeat))}
        measured |= {f"{w} workers": speed(batch for batch, _ in dataloader) for w, dataloader in theirs.items()}
        if repeat:  # the first is a warm-up
            for name, value in measured.items():
                results[name].append(value)
    print(f"{machine()}, batches of {batch_size}, n = {repeats}; images/s:")
    for name, values in results.items():
        print(f"  {name:<10} {spread(values, ',.0f')}")
    best = [max(pair) for pair in zip(results["0 workers"], results["2 workers"], strict=True)]
    print(
        f"  ratio to the better DataLoader: {spread([a / b for a, b in zip(results['ours'], best, strict=True)], '.1f')}"
    )


if __name__ == "__main__":
    main()
