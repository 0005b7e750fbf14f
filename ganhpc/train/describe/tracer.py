"""Watch a network run and tell its functions Fn, tensors Xn and weights Wn apart."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ganhpc.runs.network_description import Function, Operations, Tensor, Weight
from ganhpc.train.flops import MOVEMENT, Call, CountingMode, tensors

_Key = tuple[Any, ...]
"""Key by which two tensor objects are the same values: PyTorch hands out new objects for the same view."""

_SILENT = {"detach", "alias", "lift_fresh", "lift_fresh_copy", "_local_scalar_dense", "item", "is_same_size"}
"""Operators that PyTorch or Python insert and nobody would call a function of the network."""
_CREATE = {name for name in MOVEMENT if name.startswith(("empty", "new_", "zeros", "ones", "full", "arange", "eye"))}
_NAMES = {
    "convolution": "conv",
    "addmm": "linear",
    "max_pool2d_with_indices": "max_pool2d",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "native_batch_norm": "batch_norm",
    "_native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
}
_HIDDEN_SETTINGS = {"device", "dtype", "inplace", "memory_format", "layout", "pin_memory", "implicit", "out_dtype"}


@dataclass
class _Step:
    """One function as it was executed: an operator, or a layer with all its operators."""

    type: str
    settings: dict[str, Any]
    reads: list[_Key]
    writes: list[torch.Tensor]
    ops: Operations
    uncounted: tuple[str, ...]


@dataclass
class _Frame:
    """A module that is running. `steps` is None for a module with parts, whose steps stand for themselves."""

    name: str
    module: nn.Module
    reads: list[_Key]
    steps: list[_Step] | None


def _key(x: torch.Tensor) -> _Key:
    return x.untyped_storage()._cdata, x.storage_offset(), tuple(x.shape), x.stride()


class Tracer(CountingMode):
    """Collects `functions` while active; the modules' hooks call `enter` and `leave`."""

    def __init__(self, module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.functions: list[Function] = []
        self._frames: list[_Frame] = []
        self._labels: dict[_Key, str] = {}
        self._parameters = {_key(p): (name, p) for name, p in module.named_parameters()}
        self._buffers = {_key(b): name for name, b in module.named_buffers()}
        self._sources: dict[_Key, _Key] = {}
        """Views of a parameter (its transpose), and the parameter itself."""
        self._weights: dict[str, str] = {}
        """Labels of the parameters used so far, by name."""
        self._alive: list[torch.Tensor] = []
        """Keeps every storage allocated, so that none is taken for another."""
        names = ["X0"] if len(inputs) == 1 else [f"X0.{i}" for i in range(1, len(inputs) + 1)]
        self.inputs = tuple(self._label(x, name) for x, name in zip(inputs, names, strict=True))

    def unused(self) -> tuple[str, ...]:
        """Names of the parameters that no function used."""
        return tuple(name for name, _ in self._parameters.values() if name not in self._weights)

    def enter(self, name: str, module: nn.Module, args: Any) -> None:
        """`module` begins: the operators of a layer without parts are gathered until it ends."""
        leaf = next(module.children(), None) is None
        self._frames.append(_Frame(name, module, [_key(x) for x in tensors(args)], [] if leaf else None))

    def leave(self, out: Any) -> None:
        """The module that began last ends, and returned `out`."""
        frame = self._frames.pop()
        if frame.steps is None:
            return
        of_torch = type(frame.module).__module__.startswith("torch.nn") and not isinstance(frame.module, nn.Sequential)
        steps = [_layer(frame, list(tensors(out)))] if of_torch or len(frame.steps) == 1 else frame.steps
        for step in steps:
            self._add(frame.name, step)

    def seen(self, call: Call, ops: Operations | None) -> None:
        reads = [_key(x) for x in tensors(dict(call))]
        writes = list(tensors(call.out))
        self._alive += writes
        if call.operator in MOVEMENT and reads and all(self._is_weight(key) for key in reads):
            self._sources.update({_key(x): self._sources.get(reads[0], reads[0]) for x in writes})
        elif call.operator in _SILENT:
            self._labels.update({_key(x): self._labels[reads[0]] for x in writes if reads and reads[0] in self._labels})
        elif writes and call.operator not in _CREATE:
            # Counted operators return helpers (indices, saved statistics) after their value; views return parts.
            parts = ops is None or call.operator in MOVEMENT
            step = _Step(
                type=_NAMES.get(call.operator, call.operator),
                settings=_call_settings(call),
                reads=reads,
                writes=writes if parts else writes[:1],
                ops=ops or Operations(),
                uncounted=(call.operator,) if ops is None else (),
            )
            self._collect(step)

    def _is_weight(self, key: _Key) -> bool:
        return key in self._parameters or key in self._sources

    def _collect(self, step: _Step) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.steps is not None:
            frame.steps.append(step)
        else:
            self._add(frame.name if frame else "", step)

    def _add(self, name: str, step: _Step) -> None:
        n = len(self.functions) + 1
        sources = dict.fromkeys(self._sources.get(key, key) for key in step.reads)
        weights = [self._weight(n, *named) for key, named in self._parameters.items() if key in sources]
        inputs = [self._labels.get(key) or self._buffers.get(key) for key in sources if key not in self._parameters]
        labels = [f"X{n}"] if len(step.writes) == 1 else [f"X{n}.{i}" for i in range(1, len(step.writes) + 1)]
        outputs = [self._label(x, label) for x, label in zip(step.writes, labels, strict=True)]
        self.functions.append(
            Function(
                n=n,
                name=name,
                type=step.type,
                settings=step.settings,
                inputs=tuple(label for label in inputs if label),
                outputs=tuple(outputs),
                weights=tuple(weights),
                ops=step.ops,
                uncounted=step.uncounted,
            )
        )

    def _weight(self, n: int, name: str, parameter: torch.Tensor) -> Weight:
        again = name in self._weights
        label = self._weights.setdefault(name, f"W{n}")
        return Weight(label, name, tuple(parameter.shape), parameter.requires_grad, again)

    def _label(self, x: torch.Tensor, label: str) -> Tensor:
        self._alive.append(x)
        self._labels[_key(x)] = label
        return Tensor(label, tuple(x.shape[1:]) if x.dim() and x.shape[0] == 1 else tuple(x.shape))


def _layer(frame: _Frame, out: list[torch.Tensor]) -> _Step:
    """The steps of a layer as one."""
    steps = frame.steps or []
    # A layer's own arguments come first, then what its operators read from elsewhere: its weights. Its buffers (running
    # statistics) go without saying.
    made = {_key(x) for step in steps for x in step.writes} | {_key(b) for b in frame.module.buffers()}
    return _Step(
        type=type(frame.module).__name__,
        settings=_module_settings(frame.module),
        reads=frame.reads + [key for step in steps for key in step.reads if key not in made],
        writes=out,
        ops=Operations.sum(step.ops for step in steps),
        uncounted=tuple(operator for step in steps for operator in step.uncounted),
    )


def _module_settings(module: nn.Module) -> dict[str, Any]:
    """The constructor's arguments that a module still knows."""
    settings: dict[str, Any] = {}
    for name in inspect.signature(type(module).__init__).parameters:
        value = getattr(module, name, None)
        if name == "bias" and hasattr(module, name):
            settings[name] = bool(value) if isinstance(value, bool) else value is not None
        elif name not in _HIDDEN_SETTINGS and _is_plain(value):
            settings[name] = list(value) if isinstance(value, tuple) else value
    return settings


def _call_settings(call: Call) -> dict[str, Any]:
    """The arguments of an operator that are plain values and not at their default."""
    return {
        name: value
        for name, value in call.items()
        if name not in _HIDDEN_SETTINGS and _is_plain(value) and value != call.defaults.get(name)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, bool | int | float | str) for item in value)
    return isinstance(value, bool | int | float | str)
