"""Choice of a classifier's network: the one that the definition names, or one that fits the budgets of parameters and time."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted, format_duration
from ganhpc.train.flops.counters import count_parameters
from ganhpc.train.nets.compact import CompactNet
from ganhpc.train.nets.convmixer import ConvMixer
from ganhpc.train.nets.course import CourseNet
from ganhpc.train.nets.densenet import DenseNet
from ganhpc.train.nets.recurrent import RecurrentNet
from ganhpc.train.optim import optimizers
from ganhpc.train.tasks import distillation, recipe, tta
from ganhpc.train.tasks.task import Context

_COURSE_FIELDS = (
    "conv",
    "kernel",
    "padding",
    "linear",
    "extra_conv",
    "split_conv",
    "inception",
    "dropout",
    "batch_norm",
    "activation",
)

STRICTEST = 250_000
"""The strictest reading of the course's 256K: the chosen network stays below it whatever the budget says."""

SHAPE = ("channels", "depths", "stem", "stem_kernel", "stem_stride", "pooling", "nonlinearity")
"""The fields that make a compact network."""

FAMILIES: dict[str, tuple[type[nn.Module], dict[str, str]]] = {
    "course": (CourseNet, {name: name for name in _COURSE_FIELDS}),
    "compact": (CompactNet, {name: name for name in SHAPE}),
    "recurrent": (RecurrentNet, {"channels": "widths", "blocks": "blocks", "iterations": "iterations", "stem": "stem"}),
    "convmixer": (
        ConvMixer,
        {"width": "mixer_width", "layers": "mixer_layers", "kernel": "mixer_kernel", "patch": "patch"},
    ),
    "densenet": (DenseNet, {"layers": "dense_layers", "growth": "growth"}),
}
"""--net -> (its class, {argument: the field of the definition that gives it})."""


@dataclass(frozen=True)
class _Member:
    """A network that `auto` may choose: its kind and shape, and the epochs that it needs to be worth its operations."""

    name: str
    fields: dict[str, Any]
    least_epochs: float
    macs: float
    """Millions of multiply-accumulates of one image of 32x32 pixels in colour."""
    net: str = "compact"
    least_share: float = 0.0
    """Share of the base network's epochs that it must make in the same time."""
    epochs_to_90: float | None = None
    """Epochs of CIFAR-10 to 90 % of test accuracy, where docs/record.md can tell."""

    def least(self, base_epochs: float) -> float:
        """Epochs from which on it is taken, where the base network makes `base_epochs` in the same time."""
        return max(self.least_epochs, self.least_share * base_epochs)


FAMILY = (
    # 210 M multiply-accumulates: filters used three times. Parameters are its limit, not time: for GPUs (docs/record.md).
    _Member(
        "record",
        {"widths": (48, 64, 80), "blocks": (1, 1, 1), "iterations": (3, 3, 3), "stem": 32},
        100.0,
        209.7,
        net="recurrent",
    ),
    # 32.5 M multiply-accumulates an image: full resolution, four stages. For an hour on CPU, and for GPUs.
    _Member(
        "large",
        {"channels": (32, 48, 64, 80), "depths": (2, 2, 2, 2), "stem": 24, "stem_kernel": 2, "stem_stride": 1},
        10.0,
        32.5,
    ),
    # 11.9 M: as fast as the base in bf16 with matrix units, which idle where channels are no multiples of 32 (docs/record.md). At equal
    # epochs it makes 0.95 of the base's errors, which fall like the power -0.18 of the epochs. 90.03 ± 0.09 % after 22.4 epochs (n = 3).
    _Member(
        "wide",
        {
            "channels": (64, 64, 96),
            "depths": (1, 2, 2),
            "stem": 32,
            "stem_kernel": 3,
            "stem_stride": 2,
            "pooling": "convolution",
            "nonlinearity": "hardswish",
        },
        8.0,
        11.9,
        least_share=0.75,
        epochs_to_90=22.4,
    ),
    # 8.6 M: the best that five minutes of two CPU cores can train in fp32 (docs/record.md); worth it from four epochs on.
    _Member(
        "base",
        {"channels": (32, 64, 104), "depths": (1, 2, 2), "stem": 32, "stem_kernel": 3, "stem_stride": 2},
        4.0,
        8.6,
        epochs_to_90=38.0,
    ),
)
"""The heaviest first. Narrower forms of the last serve smaller budgets."""

_WIDTHS = tuple(width / 20 for width in range(20, 1, -1))
"""Shares of the full width that are tried, the widest first."""

_NARROWEST = 0.7
"""Time alone makes the network no narrower than this; parameters may."""


def make(experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any]) -> nn.Module:
    """The untrained network of `experiment` for images of `shape` (channels, height, width). Fills `choices` for `auto`."""
    if experiment.net != "auto":
        return _built(experiment.net, experiment.network_fields(), shape, classes)
    if "network" not in choices or not choices["network"]:
        _by_parameters(experiment, shape, classes, choices)
    return _built(choices.get("net", "compact"), choices, shape, classes)


def _built(net: str, fields: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network `net` out of the fields of a definition, or of choices.json, where tuples are lists."""
    made, arguments = FAMILIES[net]
    # The choices of older runs have fewer fields; there the network's own defaults hold.
    values = {argument: fields[field] for argument, field in arguments.items() if field in fields}
    values = {argument: tuple(value) if isinstance(value, list) else value for argument, value in values.items()}
    if net == "compact" and len(values["channels"]) != len(values["depths"]):
        raise UserError(
            f"--channels {','.join(map(str, values['channels']))} and --depths {','.join(map(str, values['depths']))} must be equally "
            "long: one number each for every stage."
        )
    return made(**values, input_shape=shape, classes=classes)


def within(experiment: Any, shape: tuple[int, int, int], classes: int) -> list[tuple[_Member, int]]:
    """(member, trainable parameters) of the networks that fit the budget of parameters, the heaviest first.

    Raises UserError where not even the narrowest fits.
    """
    limit = min(experiment.budget.budget_params or STRICTEST, STRICTEST)
    candidates = _candidates()
    sizes = _sizes(shape, classes)
    fitting = [(member, size) for member, size in zip(candidates, sizes, strict=True) if size <= limit]
    if not fitting:
        raise UserError(
            f"--budget-params {limit} is too small for the default network, which needs at least {min(sizes):,}: type more, "
            "or --net course with small --conv and --linear."
        )
    return fitting


def _candidates() -> list[_Member]:
    """All networks that `auto` may stand for, the heaviest first."""
    return [*FAMILY[:-1], *(_narrowed(FAMILY[-1], width) for width in _WIDTHS)]


@functools.cache
def _sizes(shape: tuple[int, int, int], classes: int) -> list[int]:
    """Trainable parameters of each candidate."""
    with torch.device("meta"):
        return [count_parameters(_built(member.net, member.fields, shape, classes))[0] for member in _candidates()]


def _narrowed(member: _Member, width: float) -> _Member:
    channels = tuple(max(8, round(c * width / 8) * 8) for c in member.fields["channels"])
    return dataclasses.replace(member, fields={**member.fields, "channels": channels})


def settle(experiment: Any, context: Context) -> None:
    """Write into `context.choices` which network `auto` stands for, and why; measured where time bounds the run.

    With a fixed number of epochs nothing is measured, so that the same definition always trains the same network.
    """
    if experiment.net != "auto" or "network" in context.choices:
        return
    shape, classes = context.data.shape, len(context.data.classes)
    fitting = within(experiment, shape, classes)
    # Without a bound on the time: the light one where operations are dear, so that a first try on a CPU is no wait.
    wanted = ("large", "base") if context.device.type == "cuda" else ("base",)
    index, reason = next((k for k, (m, _) in enumerate(fitting) if m.name in wanted), 0), ""
    if context.seconds_left is not None:
        index, reason = _by_time(experiment, context, [member for member, _ in fitting])
    index = int(context.process_group.agree([float(index if context.process_group.is_main else 0)])[0])
    _choose(experiment, *fitting[index], context.choices, reason)
    if context.process_group.is_main:
        context.say(f"network: {context.choices['network']}: {context.choices['why']}")


def _by_parameters(experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any]) -> None:
    """Write into `choices` the network that a CPU would train, by the budget of parameters alone."""
    member, params = next(pair for pair in within(experiment, shape, classes) if pair[0].name == "base")
    _choose(experiment, member, params, choices, "")


def _choose(experiment: Any, member: _Member, params: int, choices: dict[str, Any], reason: str) -> None:
    budget = experiment.budget.budget_params
    if budget is not None and budget <= STRICTEST:
        limit = f"of {budget:,}"
    else:
        limit = f"(under {STRICTEST:,}, the strictest reading of 256K)"
    name = f"{member.net} {'-'.join(map(str, member.fields[FAMILIES[member.net][1]['channels']]))}"
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in member.fields.items()}
    choices |= {"net": member.net, **fields, "network": name, "why": f"{params:,} trainable parameters {limit}{reason}"}


def _by_time(experiment: Any, context: Context, members: list[_Member]) -> tuple[int, str]:
    """(index of the heaviest that sees the images often enough in the time, the reason in words). Measures this device."""
    assert context.seconds_left is not None
    # A teacher takes its share first.
    left = context.seconds_left * (1 - distillation.share(experiment))
    last = next((k for k, member in enumerate(members) if member.name == FAMILY[-1].name), 0)

    def epochs(member: _Member, few: float | None) -> float:
        net = _built(member.net, member.fields, context.data.shape, len(context.data.classes))
        speed = images_per_second(net, context, _affordable(experiment, context, few))
        return _epochs_that_fit(left, speed, experiment, context)

    index, fits = _heaviest(members[: last + 1], epochs, context, experiment)
    if fits < members[index].least_epochs:
        widest = members[index].fields["channels"][-1]
        # Operations go with the square of the width: take the one that should fit.
        share = max(_NARROWEST, (fits / members[index].least_epochs) ** 0.5)
        narrower = [k for k in range(index, len(members)) if members[k].fields["channels"][-1] <= share * widest]
        index, fits = (narrower[0], fits / share**2) if narrower else (index, fits)
    n = len(context.data.images)
    words = f"up to {counted(fits, 'epoch', '.1f')} of {counted(n, 'image')} fit into {format_duration(round(left))} on this device"
    return index, f"; {words}" + (", a heavier one would see them too seldom" if index else "")


def _epochs_that_fit(seconds: float, speed: float, experiment: Any, context: Context) -> float:
    """Epochs that fit into `seconds` at `speed` training images a second, each with its evaluation, and the last evaluation besides."""
    passes = tta.PASSES[recipe.settled(experiment, {})["tta"]]
    evaluation = EVALUATION * len(context.data.test_images)
    return max(0.0, _OF_STEPS * seconds * speed - passes * evaluation) / (len(context.data.images) + evaluation)


def _heaviest(
    members: list[_Member], epochs: Callable[[_Member, float | None], float], context: Context, experiment: Any
) -> tuple[int, float]:
    """(index of the heaviest member that sees the images often enough, the epochs that fit); the last one where none does."""
    last = len(members) - 1
    if context.device.type == "cuda":
        for index, member in enumerate(members):
            fits = epochs(member, None)
            if fits >= member.least_epochs or index == last:
                return index, fits
    # On a CPU a heavy network costs many seconds to measure: the light one tells whether it is worth a try.
    light, few = members[last], _speed_of_few(members[last], context, experiment)
    light_fits = epochs(light, few)
    for index, member in enumerate(members[:last]):
        share = light.macs / member.macs
        least = member.least(light_fits)
        if _HOPE * light_fits * share < least:
            continue
        if (fits := epochs(member, few and few * share)) >= least:
            return index, fits
    return last, light_fits


_HOPE = 2.0
"""A heavier network may make at most so many times the operations a second of a lighter one (seen: 1.3 times)."""
EVALUATION = 0.3
"""Cost of a test image, in training images (seen: 0.25 to 0.33)."""
_OF_STEPS = 0.95
"""Share of the time that is left for steps and evaluations by batches, records, pictures and checkpoints (seen: 0.94 to 0.97)."""
_FEW = 8
"""Images of a first, rough measurement."""
_MEASURED = 0.002
"""Share of the time that one pass of a fair measurement may take."""


def _speed_of_few(member: _Member, context: Context, experiment: Any) -> float:
    """Images a second of a few images: they tell how many a fair measurement may take."""
    net = _built(member.net, member.fields, context.data.shape, len(context.data.classes))
    few = experiment.replace(batch_size=_FEW * context.process_group.world_size)
    return images_per_second(net, context, few, seconds=0.0)


def _affordable(experiment: Any, context: Context, few: float | None) -> Any:
    """`experiment` with batches that a device with the speed `few` passes in a small share of the time it has."""
    if few is None:
        return experiment
    assert context.seconds_left is not None
    most = max(_FEW * context.process_group.world_size, int(_MEASURED * context.seconds_left * few))
    return experiment.replace(batch_size=min(experiment.batch_size, most))


def images_per_second(net: nn.Module, context: Context, experiment: Any, seconds: float = 0.6) -> float:
    """Training speed of `net` on this device: forward, backward and optimizer on one batch, repeated for about `seconds` after a warm-up.

    By the fastest step: what other processes take away at this moment is not gone for the whole run, and a network is chosen for good.
    """
    batch = max(1, min(experiment.batch_size, len(context.data.images)) // context.process_group.world_size)
    net = net.to(context.device).to(memory_format=torch.channels_last).train()
    made = optimizers.make(experiment, net).values()
    images = context.data.images[:batch].to(context.device).float().contiguous(memory_format=torch.channels_last) / 255

    def step() -> float:
        begun = time.perf_counter()
        _synchronized(context, net, images, experiment, made)
        return time.perf_counter() - begun

    step()
    if context.device.type != "cuda":
        seconds = min(seconds, 5 * _MEASURED * (context.seconds_left or math.inf))
    begun, best, done = time.perf_counter(), math.inf, 0
    while done < 2 or (time.perf_counter() - begun < seconds and done < 50):
        best, done = min(best, step()), done + 1
    return batch * context.process_group.world_size / best


def _synchronized(
    context: Context, net: nn.Module, images: torch.Tensor, experiment: Any, made: Iterable[torch.optim.Optimizer]
) -> None:
    with context.autocast(experiment.precision):
        loss = net(images).float().square().mean()
    for optimizer in made:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in made:
        optimizer.step()
    if context.device.type == "cuda":
        torch.cuda.synchronize()
