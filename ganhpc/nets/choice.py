"""Which network a classifier trains: what the definition names, or one that fits the budgets of parameters and time."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from ganhpc.errors import UserError
from ganhpc.flops import count_parameters
from ganhpc.nets.compact import CompactNet
from ganhpc.nets.course import CourseNet
from ganhpc.tasks.base import Context
from ganhpc.units import format_duration

COURSE_FIELDS = (
    "conv", "kernel", "padding", "linear", "extra_conv", "split_conv", "inception", "dropout", "batch_norm", "activation",
)  # fmt: skip

STRICTEST = 250_000
"""The strictest reading of the course's 256K: the chosen network stays below it whatever the budget says."""

WIDTHS = tuple(width / 20 for width in range(20, 1, -1))
"""Shares of the full width that are tried, the widest first."""

LEAST_EPOCHS = 4.0
"""A network that sees the images less often than this is too large for the time: a narrower one learns more."""

NARROWEST = 0.5
"""Time alone makes the network no narrower than this; parameters may."""


def make(experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any]) -> nn.Module:
    """The untrained network of `experiment` for images of `shape` (channels, height, width)."""
    if experiment.net == "course":
        fields = {name: getattr(experiment, name) for name in COURSE_FIELDS}
        return CourseNet(**fields, input_shape=shape, classes=classes)
    if experiment.net == "auto" and "channels" not in choices:
        by_parameters(experiment, shape, classes, choices)
    channels = tuple(choices.get("channels") or experiment.channels)
    return _compact(experiment, channels, shape, classes)


def _compact(experiment: Any, channels: tuple[int, ...], shape: tuple[int, int, int], classes: int) -> CompactNet:
    if len(channels) != len(experiment.depths):
        raise UserError(
            f"--channels {','.join(map(str, channels))} and --depths {','.join(map(str, experiment.depths))} must be equally long: "
            "one number each for every stage."
        )
    return CompactNet(
        channels=channels,
        depths=experiment.depths,
        stem=experiment.stem,
        stem_kernel=experiment.stem_kernel,
        stem_stride=experiment.stem_stride,
        input_shape=shape,
        classes=classes,
    )


def within(experiment: Any, shape: tuple[int, int, int], classes: int) -> list[tuple[tuple[int, ...], int]]:
    """(channels, trainable parameters) of the widths that fit the budget of parameters, the widest first.

    Raises UserError where not even the narrowest fits.
    """
    limit = min(experiment.budget.budget_params or STRICTEST, STRICTEST)
    found: dict[tuple[int, ...], int] = {}
    with torch.device("meta"):
        for width in WIDTHS:
            channels = tuple(max(8, round(c * width / 8) * 8) for c in experiment.channels)
            params = count_parameters(_compact(experiment, channels, shape, classes))[0]
            if params <= limit:
                found.setdefault(channels, params)
            least = params
    if not found:
        raise UserError(
            f"--budget-params {limit} is too small for the default network, which needs at least {least:,}: type more, or --net course "
            "with small --conv and --linear."
        )
    return list(found.items())


def settle(experiment: Any, context: Context) -> None:
    """Write into `context.choices` which network `auto` stands for, and why; measured where time bounds the run.

    With a fixed number of epochs nothing is measured, so that the same definition always trains the same network.
    """
    if experiment.net != "auto" or "channels" in context.choices:
        return
    shape, classes = context.data.shape, len(context.data.classes)
    index, reason = 0, ""
    if context.seconds_left is not None:
        fitting = within(experiment, shape, classes)
        index, reason = _by_time(experiment, context, [channels for channels, _ in fitting])
    index = int(context.peers.agree([float(index if context.peers.is_main else 0)])[0])
    by_parameters(experiment, shape, classes, context.choices, index, reason)
    if context.peers.is_main:
        context.say(f"network: {context.choices['network']}: {context.choices['why']}")


def by_parameters(
    experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any], index: int = 0, reason: str = ""
) -> None:
    """Write into `choices` the network number `index` of those that fit the budget of parameters, the widest first."""
    channels, params = within(experiment, shape, classes)[index]
    budget = experiment.budget.budget_params
    if budget is not None and budget <= STRICTEST:
        limit = f"of {budget:,}"
    else:
        limit = f"(under {STRICTEST:,}, the strictest reading of 256K)"
    name = "compact " + "-".join(map(str, channels))
    choices |= {"channels": list(channels), "network": name, "why": f"{params:,} trainable parameters {limit}{reason}"}


def _by_time(experiment: Any, context: Context, widths: list[tuple[int, ...]]) -> tuple[int, str]:
    """(index of the widest that sees the images often enough in the time, the reason in words). Measures this device."""
    assert context.seconds_left is not None
    shape, classes = context.data.shape, len(context.data.classes)
    n = len(context.data.images)

    def epochs(channels: tuple[int, ...]) -> float:
        net = _compact(experiment, channels, shape, classes)
        return context.seconds_left / (n / images_per_second(net, context, experiment)) if context.seconds_left else 0.0

    index, fits = 0, epochs(widths[0])
    if fits < LEAST_EPOCHS:
        # Cost goes with the square of the width: jump to where it should fit, and measure that.
        share = max(NARROWEST, (fits / LEAST_EPOCHS) ** 0.5)
        widest = widths[0][-1]
        index = next((k for k, w in enumerate(widths) if w[-1] <= share * widest), len(widths) - 1)
        fits = epochs(widths[index]) if index else fits
    words = f"about {fits:.1f} epochs of {n:,} images fit into {format_duration(round(context.seconds_left))} on this device"
    return index, f"; {words}" + (", a wider one would see them too seldom" if index else "")


def images_per_second(net: nn.Module, context: Context, experiment: Any, seconds: float = 0.6) -> float:
    """Training speed of `net` on this device: forward and backward on one batch, repeated for about `seconds` after a warm-up."""
    batch = max(1, min(experiment.batch_size, len(context.data.images)) // context.peers.world_size)
    net = net.to(context.device).to(memory_format=torch.channels_last).train()
    images = context.data.images[:batch].to(context.device).float().contiguous(memory_format=torch.channels_last) / 255
    _synchronized(context, net, images, experiment)
    begun, done = time.perf_counter(), 0
    while done < 2 or (time.perf_counter() - begun < seconds and done < 50):
        _synchronized(context, net, images, experiment)
        done += 1
    return done * batch * context.peers.world_size / (time.perf_counter() - begun)


def _synchronized(context: Context, net: nn.Module, images: torch.Tensor, experiment: Any) -> None:
    with context.autocast(experiment.precision):
        loss = net(images).float().square().mean()
    loss.backward()
    if context.device.type == "cuda":
        torch.cuda.synchronize()
