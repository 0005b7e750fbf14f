"""The trainer's input path against a torchvision DataLoader with the same augmentation, side by side.

    python -m benchmarks.input_path [--repeats 7] [--batch-size 256] [--device auto]

Both give batches that are mirrored at random, shifted by up to four pixels and normalised. The DataLoader gets its best number of
workers. The same measurement as in `python launch.py bench`.
"""

from __future__ import annotations

import click

from benchmarks.common import machine
from ganhpc.datasets.types import DataRequest
from ganhpc.train.bench import input_path
from ganhpc.train.data.synthetic import load
from ganhpc.train.runtime.distributed import Distributed


@click.command()
@click.option("--repeats", default=7)
@click.option("--batch-size", default=256)
@click.option("--images", default=5_000)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(repeats: int, batch_size: int, images: int, device: str) -> None:
    """Measure in turn and print the ratio."""
    data = load(DataRequest("synthetic", train_images=images))
    process_group = Distributed.start(device)
    found = input_path.compare(data, process_group.device, batch_size=batch_size, repeats=repeats, passes=5)
    print(f"{machine()}, batches of {batch_size}, n = {repeats}; images/s:")
    for name, value in found["images_per_second"].items():
        print(f"  {name:<22} {value['mean']:,.0f} ± {value['std'] or 0:,.0f}")
    print(f"  ratio to the better DataLoader: {found['ratio']['mean']:.1f} ± {found['ratio']['std'] or 0:.1f}")


if __name__ == "__main__":
    main()
