"""Checks of a checkpoint's content against the run that goes on from it, made before anything is taken back.

The checksum tells that a file is as it was written, not that this program has written it. Names, shapes, types and numbers that do not fit raise
ValueError here; taken back, they would end the training at a later step, or have it go on from numbers that nobody computed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ganhpc.runs.run_files import is_count, is_number

_STEP = "step"
"""The entry of an optimizer's state that counts its steps."""
_NEVER_BELOW_ZERO = (_STEP, "exp_avg_sq")
_OF_TORCH = (Adam, AdamW, SGD)


def like(given: Any, own: Any, what: str) -> None:
    """Check that `given` has the names, shapes and types of `own`, and only finite numbers where `own` has such ones."""
    if isinstance(own, Tensor):
        tensor(given, own, what)
    elif isinstance(own, Mapping):
        for name in same_names(given, own, what):
            like(given[name], own[name], f"{what}.{name}")
    elif isinstance(own, list | tuple):
        if not isinstance(given, list | tuple) or len(given) != len(own):
            raise ValueError(f"{what} is no list of {len(own)}")
        for number, (theirs, ours) in enumerate(zip(given, own, strict=True)):
            like(theirs, ours, f"{what}.{number}")
    elif type(own) is float:
        if not is_number(given) and not (type(given) is float and given == own):  # a bound may be infinite
            raise ValueError(f"{what} is no number")
    elif type(given) is not type(own):
        raise ValueError(f"{what} is of the type {type(given).__name__}")


def same_names(given: Any, own: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """`given`, checked to be an object with the names of `own`."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} is of the type {type(given).__name__}")
    if given.keys() != own.keys():
        odd = sorted(map(str, given.keys() ^ own.keys()))
        raise ValueError(f"{what} has other names ({', '.join(odd[:3])}{', ..' if len(odd) > 3 else ''})")
    return given


def tensor(given: Any, own: Tensor, what: str) -> None:
    """Check that `given` is a tensor of the shape and type of `own`, with finite numbers."""
    finite(given, what)
    if given.shape != own.shape or given.dtype != own.dtype:
        raise ValueError(f"{what} is {_kind(given)} and not {_kind(own)}")


def modules(given: Any, own: Mapping[str, nn.Module], what: str) -> None:
    """Check the tensors of networks by their names; that all are there and of their shapes, `load_state_dict` sees to.

    A tensor that is not finite at the beginning, such as a mask or the bounds of an observer, may be so later.
    """
    for name, module in own.items():
        for key, value in module.state_dict().items():
            theirs, where = given[name].get(key), f"{what}.{name}.{key}"
            if not isinstance(value, Tensor) or value.is_meta or theirs is None:
                continue
            if isinstance(theirs, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
                continue
            finite(theirs, where)
            if theirs.is_floating_point() != value.is_floating_point() or theirs.is_complex() != value.is_complex():
                raise ValueError(f"{where} is {_kind(theirs)} and not {_kind(value)}")
            if key.endswith("running_var"):
                _not_below_zero(theirs, where)


def finite(given: Any, what: str) -> Tensor:
    """`given`, checked to be a tensor whose numbers are all finite."""
    if not isinstance(given, Tensor) or given.layout != torch.strided or given.is_meta or given.requires_grad:
        raise ValueError(f"{what} is no tensor of numbers")
    if given.is_floating_point() and not bool(given.isfinite().all()):
        raise ValueError(f"{what} holds what is no number")
    return given


def _not_below_zero(given: Tensor, what: str) -> None:
    if bool((given < 0).any()):
        raise ValueError(f"{what} is below zero")


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def count(given: Any, what: str, most: int | None = None) -> int:
    """`given`, checked to be a whole number from 0 to `most`."""
    if not is_count(given) or (most is not None and given > most):
        raise ValueError(f"{what} is {given!r:.40}")
    return int(given)


def amount(given: Any, what: str) -> float:
    """`given`, checked to be a finite number of 0 or more."""
    if not is_number(given) or given < 0:
        raise ValueError(f"{what} is {given!r:.40}")
    return float(given)


def rates(given: Any) -> dict[str, float]:
    """The learning rates in `given`, which are drawn only, and made anew by the next step: what is no number is left out."""
    values = {name: float(value) if isinstance(value, Tensor) else value for name, value in given.items()}
    return {name: value for name, value in values.items() if isinstance(name, str) and is_number(value)}


def scalars(given: Any, what: str) -> dict[str, Tensor]:
    """`given`, checked to be an object of tensors that hold one finite number each."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{what} is no object of numbers")
    for name, value in given.items():
        if finite(value, f"{what}.{name}").numel() != 1 or value.is_complex():
            raise ValueError(f"{what}.{name} is no number")
    return dict(given)


def python_state(given: Any, what: str) -> tuple[int, tuple[int, ...], float | None]:
    """`given`, checked to be a state of Python's generator, as a list: what `random.setstate` takes."""
    version, words, following = _parts(given, 3, what)
    if version != 3 or not isinstance(words, list | tuple) or len(words) != 625:
        raise ValueError(f"{what} is no state of a generator")
    if not all(type(word) is int and 0 <= word < 2**32 for word in words) or words[-1] > 624:
        raise ValueError(f"{what} is no state of a generator")
    if following is not None and (type(following) is not float or not math.isfinite(following)):
        raise ValueError(f"{what} is no state of a generator")
    return version, tuple(words), following


def numpy_state(given: Any, what: str) -> tuple[str, Any, int, int, float]:
    """`given`, checked to be a state of NumPy's generator, as a list: what `numpy.random.set_state` takes, which checks less."""
    name, keys, place, has_gauss, gauss = _parts(given, 5, what)
    if name != "MT19937" or not isinstance(keys, Tensor) or keys.shape != (624,) or keys.dtype != torch.int64:
        raise ValueError(f"{what} is no state of a generator")
    if bool(((keys < 0) | (keys >= 2**32)).any()) or not is_count(place) or place > 624:
        raise ValueError(f"{what} is no state of a generator")
    if has_gauss not in (0, 1) or type(has_gauss) is not int or not is_number(gauss):
        raise ValueError(f"{what} is no state of a generator")
    return name, keys.cpu().numpy().astype("uint32"), place, has_gauss, float(gauss)


def _parts(given: Any, number: int, what: str) -> Sequence[Any]:
    if not isinstance(given, list | tuple) or len(given) != number:
        raise ValueError(f"{what} is no list of {number}")
    return given


# -- optimizers -----------------------------------------------------------------------------------------------------------


def optimizer_state(given: Any, own: Optimizer, what: str) -> dict[str, Any]:
    """`given` as a state that `own` can go on from: settings that only `own` knows, of another version of torch, are its own.

    What is looked at are optimizers that keep the same entries for each parameter: of a user's own kind, nothing is known.
    """
    mine = own.state_dict()
    if not isinstance(given, Mapping) or not isinstance(given.get("state"), Mapping):
        raise ValueError(f"{what} is no state of an optimizer")
    if not _is_known(own):
        return dict(given)
    groups = _parts(given.get("param_groups"), len(mine["param_groups"]), f"{what}.param_groups")
    kept = [_group(*pair, f"{what}.param_groups") for pair in zip(groups, mine["param_groups"], strict=True)]
    parameters = [parameter for group in own.param_groups for parameter in group["params"]]
    wanted = _entries(own, parameters[0].device)
    for number, entries in given["state"].items():
        parameter = parameters[count(number, f"{what}.state", len(parameters) - 1)]
        _check_entries(entries, wanted, parameter, f"{what}.state.{number}")
    return {"state": dict(given["state"]), "param_groups": kept}


def _is_known(own: Optimizer) -> bool:
    return type(own) in _OF_TORCH or type(own).__module__.startswith("ganhpc.")


def _group(given: Any, own: dict[str, Any], what: str) -> dict[str, Any]:
    """The settings of one group. A schedule may have changed any number, and added settings of its own."""
    if not isinstance(given, Mapping) or "lr" not in given or given.get("params") != own["params"]:
        raise ValueError(f"{what} are those of other parameters")
    kept = {**own, **given}
    for name in own.keys() & given.keys() - {"params"}:
        value, ours = given[name], own[name]
        if isinstance(value, Tensor) and value.numel() == 1:  # a learning rate of steps that were replayed
            kept[name] = value = float(value)
        if isinstance(ours, Tensor) or type(ours) is int:
            ours = float(ours)
        # Which of its ways an optimizer takes may be left open (None).
        if not {type(value), type(ours)} <= {bool, type(None)}:
            like(value, ours, f"{what}.{name}")
        if type(own[name]) is int and float(value).is_integer():
            kept[name] = int(value)
    return kept


def _entries(own: Optimizer, device: torch.device) -> dict[str, Any]:
    """The entries that a step of such an optimizer leaves for a parameter of four axes."""
    weight = torch.zeros(1, 1, 1, 1, device=device, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    known = inspect.signature(type(own)).parameters
    settings = {name: value for name, value in own.defaults.items() if name in known}
    twin = type(own)([weight], **settings)
    twin.step()
    return dict(twin.state[weight])


def _check_entries(given: Any, wanted: Mapping[str, Any], parameter: Tensor, what: str) -> None:
    for name in same_names(given, wanted, what):
        value, ours, where = given[name], wanted[name], f"{what}.{name}"
        if not isinstance(ours, Tensor):
            like(value, ours, where)
        elif name == _STEP and not isinstance(value, Tensor):  # of an older torch
            amount(value, where)
        else:
            if finite(value, where).shape != (parameter.shape if ours.dim() else ()) or not value.is_floating_point():
                raise ValueError(f"{where} is {_kind(value)}, for a parameter {list(parameter.shape)}")
            if name in _NEVER_BELOW_ZERO:
                _not_below_zero(value, where)
            if not _has_places_of_its_own(value):
                raise ValueError(f"{where} has several numbers in one place")


def _has_places_of_its_own(value: Tensor) -> bool:
    """True if no two numbers of `value` lie in one place of memory: an expanded tensor can't be updated."""
    reach = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1
    ):
        if stride < reach:
            return False
        reach = stride * size
    return True
