"""Training steps with one thread, with all threads, and with the number that `--threads auto` finds, side by side in one run.

    python -m benchmarks.threads [--repeats 5] [--steps 6] [--batch-size 256] [--hogs 1] [--quota 1.0]

Each figure is of a process of its own, since OpenMP reads once, when torch is loaded, how its threads wait: `one` and `all` as torch
comes, `all, asleep` with threads that sleep while they wait, `auto` as the trainer does it. They take turns; images/s are of the best and
of the usual (median) step. `--hogs` busies so many cores with other work; `--quota` puts the processes into a control group (version 1,
mounted at /sys/fs/cgroup/cpu, as root) with so many cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.common import ROOT, machine, spread
from ganhpc.runs import cores
from ganhpc.train.bench.timing import in_turn

WAYS = ("one", "all", "all, asleep", "auto")
GROUPS = Path("/sys/fs/cgroup/cpu")


def measure(way: str, steps: int, batch_size: int) -> dict[str, float]:
    """Images a second of this process, and its threads. For a child: it loads torch, the way being settled before."""
    found = cores.settle(None) if way == "auto" else None
    import torch

    from ganhpc.datasets.types import DataRequest
    from ganhpc.train.bench.training_steps import Subject, steps_of
    from ganhpc.train.data import registry
    from ganhpc.train.loop.build import keep_freed_memory
    from ganhpc.train.runtime.distributed import Distributed
    from jobs.cifar import Cifar

    keep_freed_memory()
    process_group = Distributed(0, 1, torch.device("cpu"))
    torch.set_num_threads(found.now if found else 1 if way == "one" else len(os.sched_getaffinity(0)))
    images = registry.load(DataRequest("synthetic", train_images=2 * batch_size))
    compact = Cifar().replace(net="compact", batch_size=batch_size)
    step = steps_of(Subject("compact", compact, images, precision="fp32"), process_group)
    step()
    took = []
    for _ in range(steps):
        begun = time.perf_counter()
        step()
        took.append(time.perf_counter() - begun)
    usual = batch_size / statistics.median(took)
    return {"best": batch_size / min(took), "usual": usual, "threads": torch.get_num_threads()}


def child(way: str, steps: int, batch_size: int, group: Path | None) -> dict[str, float]:
    """`measure` in a process of its own, inside the control group."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS" and k not in cores.PASSIVE}
    environment |= cores.PASSIVE if way == "all, asleep" else {}
    words = [
        sys.executable,
        "-m",
        "benchmarks.threads",
        "--measure",
        way,
        f"--steps={steps}",
        f"--batch-size={batch_size}",
    ]
    if group:
        words = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *words]
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@contextlib.contextmanager
def quota_of(number: float | None) -> Iterator[Path | None]:
    """A control group with a quota of `number` cores; none without one."""
    if number is None:
        yield None
        return
    group = GROUPS / f"ganhpc-bench-{os.getpid()}"
    group.mkdir()
    try:
        period = int((group / "cpu.cfs_period_us").read_text())
        (group / "cpu.cfs_quota_us").write_text(str(int(number * period)))
        yield group
    finally:
        time.sleep(0.2)
        group.rmdir()


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Other work on `number` cores."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@click.command()
@click.option("--repeats", default=5)
@click.option("--steps", default=6, help="steps of each process, after one that warms up")
@click.option("--batch-size", default=256)
@click.option("--hogs", default=0, help="cores that other work keeps busy")
@click.option("--quota", type=float, default=None, help="cores that a control group allows")
@click.option("--measure", "way", hidden=True, default="")
def main(repeats: int, steps: int, batch_size: int, hogs: int, quota: float | None, way: str) -> None:
    """Measure in turn and print images a second."""
    if way:
        print(json.dumps(measure(way, steps, batch_size)))
        return
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}

    def piece(name: str, group: Path | None) -> float:
        seen[name].append(child(name, steps, batch_size, group))
        return seen[name][-1]["usual"]

    with quota_of(quota) as group, busy(hogs):
        in_turn({name: lambda name=name: piece(name, group) for name in WAYS}, repeats, warmups=0)  # type: ignore[misc]
    print(f"{machine()}; batches of {batch_size}, {hogs} cores busy, quota {quota or 'none'}, n = {repeats}")
    for name, figures in seen.items():
        threads = sorted({int(each["threads"]) for each in figures})
        usual, best = (spread([each[key] for each in figures], ",.0f") for key in ("usual", "best"))
        print(f"  {name:<12} {usual} images/s (best step {best}), threads {threads}")


if __name__ == "__main__":
    main()
