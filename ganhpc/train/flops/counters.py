"""Counts that need no listing: parameters against a budget, operations of a whole training step."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.runs.network_description import Operations
from ganhpc.train.flops import Call, CountingMode, tensors


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Unique parameters of `module`: (trainable, frozen). A weight used in several places counts once."""
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in module.parameters()) - trainable


def largest_layers(module: nn.Module, n: int = 5) -> list[tuple[str, str, int]]:
    """The `n` modules with the most trainable parameters of their own: (name, type, parameters), largest first.

    A shared weight belongs to the first module that holds it.
    """
    return sorted(_own_parameters(module), key=lambda layer: -layer[2])[:n]


def _own_parameters(module: nn.Module) -> Iterator[tuple[str, str, int]]:
    seen: set[int] = set()
    for name, layer in module.named_modules():
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
        seen.update(map(id, own))
        if own:
            yield name or "(the network itself)", type(layer).__name__, sum(p.numel() for p in own)


def check_budget(module: nn.Module, budget: int) -> None:
    """Refuse a network that is larger than its budget.

    Raises:
        UserError: it has more than `budget` unique trainable parameters; the sentence lists its largest layers.
    """
    params, _ = count_parameters(module)
    if params <= budget:
        return
    largest = ", ".join(f"{name} ({kind}) {size:,}" for name, kind, size in largest_layers(module))
    raise UserError(
        f"the network has {params:,} trainable parameters, {params - budget:,} over the budget of {budget:,}; "
        f"its largest layers are {largest}: make these smaller, or give --budget-params {params} or more."
    )


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Run networks uncompiled (compiled code hides its operators) and leave every random generator as it was."""
    # Named devices: without them, fork_rng starts CUDA, and complains where a node has several GPUs.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices), torch.compiler.set_stance("force_eager"):
        yield


class StepCounter(CountingMode):
    """Adds up the operations and the bytes moved of what is executed while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.ops = Operations()
        self.bytes = 0
        self.uncounted: Counter[str] = Counter()

    def seen(self, call: Call, ops: Operations | None) -> None:
        self.bytes += _moved_bytes(call)
        if ops is None:
            self.uncounted[call.operator] += 1
        else:
            self.ops += ops


def _moved_bytes(call: Call) -> int:
    """Bytes of the tensors that one call reads and of those that it writes; none where it only makes another view of a storage."""
    read, written = list(tensors(dict(call))), list(tensors(call.out))
    storages = {x.untyped_storage().data_ptr() for x in read if x.numel()}
    in_place = any(x is y for x in written for y in read)
    if not in_place and any(y.numel() and y.untyped_storage().data_ptr() in storages for y in written):
        return 0
    # A tensor that was expanded has more elements than there are bytes to read.
    return sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in (*read, *written))


def training_step_ops(step: Callable[[], object]) -> dict[str, Any]:
    """Run `step` once and count every floating-point operation it executes: forward, loss, backward, optimizer.

    `step` really trains, so let it work on copies of the networks and optimizers. It runs `undisturbed`.

    Returns:
        `ops`: add, mul, max, other and total of one step on the whole batch, by the convention of
        `ganhpc/train/flops/forward.py`, so that total / seconds stands beside the forward's operations a second;
        `macs`: multiply-accumulates of its convolutions and matrix products, forward and backward;
        `bytes`: what its operators read and write, each for itself, as an uncompiled step does (`_moved_bytes`);
        `uncounted`: calls of operators that no rule knows, by name, whose operations are missing above.
    """
    counter = StepCounter()
    with undisturbed(), counter:
        step()
    return {
        "ops": counter.ops.to_json(),
        "macs": counter.ops.macs,
        "bytes": counter.bytes,
        "uncounted": dict(sorted(counter.uncounted.items())),
    }
