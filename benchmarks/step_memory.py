"""Memory that training steps take, computed: every tensor that is alive at once, counted on tensors without contents.

    python -m benchmarks.step_memory [SUBJECT ..] [--gb 8]

Subjects: cyclegan-256 (the default preset, 256 pixels, batches of 1), biggan-cifar (preset cifar, batches of 50), and their presets small.
Every storage that an operator makes is followed to its end, through forward and backward pass and the optimizers' updates; the peak is that of the
second step, when the optimizers' states are there. What a GPU needs beside it is not in it: the context (some 0.5 GB), the workspaces of
cuDNN, and the allocator's rounding. Fails where a subject's peak is above --gb.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from benchmarks.races.__main__ import Race, sets_of, task_of
from ganhpc.runs.known_experiments import find
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks.gan_base import Gan

SUBJECTS = {
    "cyclegan-256": Race("cyclegan", "default", 1),
    "biggan-cifar": Race("biggan", "cifar", 50, data="synthetic", options={"data": "synthetic"}),
    "cyclegan-small": Race("cyclegan", "small", 8),
    "biggan-small": Race("biggan", "small", 16, data="synthetic"),
}


class LiveBytes(TorchDispatchMode):
    """Bytes of all storages that are alive, and their peak."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        """`given`: tensors that are there already."""
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, Any] = {}
        self._follow(given)

    def _follow(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()).nbytes():
                key, size = storage._cdata, storage.nbytes()
                if key not in self._alive:
                    self._alive[key] = weakref.finalize(storage, self._ended, key, size)
                    self.now += size
        self.peak = max(self.peak, self.now)

    def _ended(self, key: int, size: int) -> None:
        self.now -= size
        self._alive.pop(key, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        self._follow(tree_leaves(out))
        return out


def without_memory(batch: Any) -> Any:
    """A batch of the same shapes on the device `meta`, whose tensors have no contents: operators only tell the shapes of what they make."""
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), batch)


def peak(race: Race) -> dict[str, int]:
    """Bytes of the second step's peak, with the parts of it that stay between steps."""
    preset = find(race.experiment).from_preset(race.preset)
    experiment: Any = preset.replace(**race.options, batch_size=race.cpu_batch, precision="fp32")
    sets, group = sets_of(race, experiment), Distributed.start("cpu")
    task, _ = task_of(experiment, sets, group)
    first, second = (without_memory(task.batch(0, step)) for step in (0, 1))
    with ExitStack() as stack:
        for name, instead in _ON_META.items():
            stack.enter_context(mock.patch.object(Gan, name, instead))
        task, _ = task_of(experiment, sets, dataclasses.replace(group, device=torch.device("meta")))
        task.schedule(0.0)
        task.train_step(first)
        for optimizer in task.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        weights = [value for net in task.modules.values() for value in net.state_dict().values()]
        states = [value for each in task.optimizers.values() for value in tree_leaves(each.state_dict()["state"])]
        live = LiveBytes([*weights, *(value for value in states if isinstance(value, Tensor)), *tree_leaves(second)])
        with live:
            task.train_step(second)
    kept = {"weights and buffers": weights, "optimizer states": states}
    found = {
        name: sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))
        for name, values in kept.items()
    }
    return {"total": live.peak, **found, "activations and gradients": live.peak - sum(found.values())}


def _adam(task: Any, parameters: list[nn.Parameter], lr: float) -> torch.optim.Adam:
    """The task's optimizer without its fused kernel, which the device `meta` does not have; its states are the same."""
    return torch.optim.Adam(parameters, lr=lr, betas=(task.experiment.beta1, task.experiment.beta2), foreach=False)


_ON_META = {
    "_adam": _adam,
    # fp32 needs no autocast, and `meta` knows none.
    "autocast": lambda task: nullcontext(),  # noqa: ARG005
    # Held-out images, which steps don't use, stay where something can be computed of them.
    "normalised": lambda task, images: images.float() / 127.5 - 1,  # noqa: ARG005
}
"""Functions of the GANs' base that are another one where tensors have no contents."""


@click.command()
@click.argument("subjects", nargs=-1, type=click.Choice(list(SUBJECTS)))
@click.option("--gb", default=8.0, help="memory that each should fit into, in units of 10^9 bytes")
def main(subjects: tuple[str, ...], gb: float) -> None:
    """Compute and print."""
    print(f"computed with torch {torch.__version__}, fp32; GB are 10^9 bytes")
    over = []
    for name in subjects or SUBJECTS:
        found = peak(SUBJECTS[name])
        total = found.pop("total")
        parts = ", ".join(f"{kind} {size / 1e9:.3f}" for kind, size in found.items())
        print(f"{name}: peak {total / 1e9:.3f} GB ({parts})", flush=True)
        over += [name] if total > gb * 1e9 else []
    if over:
        raise click.ClickException(f"more than {gb:g} GB: {', '.join(over)}")


if __name__ == "__main__":
    main()
