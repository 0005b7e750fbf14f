"""The table from a PyTorch operator to the number of floating-point operations of one call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganhpc.runs.network_description import Operations


class Call(dict[str, Any]):
    """One executed operator: its arguments by the names of its schema, defaults filled in, and what it returned."""

    def __init__(self, func: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        schema = func._schema.arguments
        self.defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
        super().__init__(self.defaults)
        self.update(zip((a.name for a in schema), args, strict=False))
        self.update(kwargs)
        self.operator = _operator_name(func)
        self.in_order = [self[a.name] for a in schema]
        self.out = out

    @property
    def first(self) -> torch.Tensor:
        """The first tensor that the call returned; operators like max pooling return helpers after it."""
        return next(tensors(self.out))

    @property
    def elements(self) -> int:
        """Number of elements of the first tensor returned."""
        return self.first.numel()

    def for_each(self) -> Iterator[Call]:
        """The calls that an operator on lists of tensors (`_foreach_add`) stands for."""
        lists = {name: value for name, value in self.items() if isinstance(value, list | tuple)}
        # A number to the power of each tensor has its list in another argument than `self`.
        tensors_of = self["self"] if "self" in lists else next(iter(lists.values()))
        for i, tensor in enumerate(tensors_of):
            single = copy.copy(self)
            single.update({name: value[i] for name, value in lists.items()})
            single.out = tensor
            yield single


_Rule = Callable[[Call], Operations]

RULES: dict[str, _Rule] = {}
MOVEMENT: set[str] = {"prim.device"}
"""Operators that only move, view, choose or create values, or ask a tensor without values for its device: no operation."""


def rule(*names: str) -> Callable[[_Rule], _Rule]:
    """Register a rule for the aten operators `names` (their in-place forms included)."""

    def register(counter: _Rule) -> _Rule:
        RULES.update(dict.fromkeys(names, counter))
        return counter

    return register


def per_element(names: str, *, add: int = 0, mul: int = 0, max: int = 0, other: int = 0) -> None:
    """Register operators that cost the same for each element of their (first) output."""
    once = Operations(add, mul, max, other)
    rule(*names.split())(lambda call: once * call.elements)


def movement(names: str) -> None:
    MOVEMENT.update(names.split())


def tensors(tree: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested lists, tuples and dictionaries, in order."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def _operator_name(func: torch._ops.OpOverload) -> str:
    """`relu` for aten::relu, its in-place and out forms; `namespace.name` outside aten."""
    namespace, _, name = func._schema.name.partition("::")
    if name.endswith("_") and not name.startswith("__"):
        name = name[:-1]
    return name if namespace == "aten" else f"{namespace}.{name}"


def _is_known(func: torch._ops.OpOverload) -> bool:
    """True if operations of `func` can be counted, be they none."""
    name = _operator_name(func)
    return name in RULES or name in MOVEMENT or name.removeprefix("_foreach_") in RULES


def _count(call: Call) -> Operations | None:
    """Operations of one call, or None where no rule knows the operator.

    Calls without a floating-point tensor (step counters, indices) are no floating-point operations.
    """
    values = (*tensors(dict(call)), *tensors(call.out))
    if call.operator in MOVEMENT or not any(x.is_floating_point() for x in values):
        return Operations()
    if call.operator in RULES:
        return RULES[call.operator](call)
    single = RULES.get(call.operator.removeprefix("_foreach_"))
    return Operations.sum(map(single, call.for_each())) if single else None


class CountingMode(TorchDispatchMode):
    """While active, hands every operator that PyTorch executes to `seen`, however it was called.

    Working below modules and functions, it misses no residual sum, functional call, loop or shared weight. Composite
    operators without a rule are taken apart first.
    """

    def seen(self, call: Call, ops: Operations | None) -> None:
        """`call` was executed and cost `ops`, None if no rule knows it."""
        raise NotImplementedError

    def counted(self, call: Call) -> Operations | None:
        """Operations of one call, None if no rule knows it."""
        return _count(call)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _is_known(func):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        call = Call(func, args, kwargs, out)
        self.seen(call, self.counted(call))
        return out
