"""Describe a network by running it: every function Fn, tensor Xn and weight Wn of the forward pass of one image.

The operators are observed where PyTorch executes them, and told apart by the module that was running, so that residual
sums, functional calls, loops and shared weights are all seen. A layer of torch.nn is one function; what a network's own
code calls in between is one function an operator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ganhpc.runs.network_description import Description
from ganhpc.train.describe.tracer import Tracer
from ganhpc.train.flops.counters import count_parameters, undisturbed
from ganhpc.train.flops.fvcore_check import fvcore_count


def describe(
    module: nn.Module,
    input_shape: Sequence[int] | None = None,
    *,
    inputs: tuple[torch.Tensor, ...] | None = None,
    fvcore: bool = True,
) -> Description:
    """The description of `module` in evaluation mode, which is left as it was found.

    Args:
        input_shape: of one image without the batch dimension, for example (3, 32, 32) or (100,) for a latent vector;
            the network is run on zeros of its own device and type.
        inputs: tensors of batch size one to call the network with instead.
        fvcore: also ask fvcore for its count.
    """
    if inputs is None:
        assert input_shape is not None, "describe needs input_shape or inputs"
        like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
        inputs = (torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype),)
    tracer = Tracer(module, inputs)
    with _evaluation(module), undisturbed():
        with _hooks(module, tracer), tracer:
            module(*inputs)
        by_fvcore = fvcore_count(module, inputs) if fvcore else {}
    trainable, frozen = count_parameters(module)
    return Description(
        params=trainable,
        frozen_params=frozen,
        inputs=tracer.inputs,
        layers=tuple(tracer.functions),
        unused=tracer.unused(),
        fvcore=by_fvcore,
    )


@contextlib.contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; attention layers by their plain path, whose operators can be counted."""
    modes = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in modes.items():
            m.training = training


@contextlib.contextmanager
def _hooks(module: nn.Module, tracer: Tracer) -> Iterator[None]:
    handles = []
    for name, m in module.named_modules():
        handles.append(m.register_forward_pre_hook(lambda m, args, name=name: tracer.enter(name, m, args)))
        handles.append(m.register_forward_hook(lambda _m, _args, out: tracer.leave(out)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
