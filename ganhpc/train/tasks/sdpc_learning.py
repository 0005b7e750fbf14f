"""Learning of SDPC's dictionaries and scales from one batch: inference, then one step of each optimizer. Used by every task that has an SDPC."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ganhpc.runs import sdpc_layers
from ganhpc.train.nets.sdpc import Inference, Sdpc
from ganhpc.train.nets.sdpc_preparation import Preparation
from ganhpc.train.tasks.task import Context

_FITTED = 2_048
"""Training images that the preparation's mean and deviation are taken from, at most."""
_MOMENTUM = 0.9
SCALE_RATE = 1e-3


def arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Arguments of `Sdpc` for images of `shape` (channels, height, width): JSON values. Raises UserError where layers don't agree."""
    return {
        "image_size": shape[1] if shape[1] == shape[2] else [shape[1], shape[2]],
        "channels": shape[0],
        **sdpc_layers.of(experiment),
        "scale": experiment.scale,
        "feedback": experiment.feedback,
        "iterations": experiment.iterations,
        "threshold": experiment.threshold,
        "preparation": {
            "whitening": experiment.whitening,
            "f0": experiment.whitening_peak,
            "n": experiment.whitening_power,
            "contrast": experiment.contrast,
            "contrast_first": experiment.contrast_first,
            "mask": experiment.mask,
            "grey": experiment.grey,
        },
    }


def fitted(context: Context) -> Tensor:
    """The training images that preparations are fitted to: [n, C, S, S] in [-1, 1], the same on every rank."""
    images = context.data.images
    every = max(1, len(images) // _FITTED)
    return images[::every][:_FITTED].to(context.device).float() / 127.5 - 1


def fit(preparation: Preparation, context: Context) -> None:
    """Take mean and deviation from training images."""
    preparation.fit(fitted(context))


class Learning:
    """One SDPC and its optimizers: SGD with momentum for each dictionary, Adam for the scales (2L-SPC, section 2.3)."""

    def __init__(self, net: Sdpc, context: Context, rates: tuple[float, ...]) -> None:
        self.net, self.context = net, context
        groups = [{"params": [weight], "lr": rate} for weight, rate in zip(net.weights, rates, strict=True)]
        self.optimizers: dict[str, Optimizer] = {
            "dictionaries": SGD(groups, lr=rates[0], momentum=_MOMENTUM),
            "scales": Adam(list(net.scales), lr=SCALE_RATE),
        }
        fit(net.preparation, context)

    def step(self, images: Tensor) -> dict[str, Tensor]:
        """Learn from this rank's share of a batch [B, C, S, S] in [-1, 1]. All ranks stop their inference together."""
        net, group = self.net, self.context.process_group
        with self.context.phase("forward"):
            net.find_steps()
            prepared = net.preparation(images)
            found = net.infer(prepared, total=group.sum)
            of_weights, of_scales = net.losses(prepared, found)
        with self.context.phase("backward"):
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            of_weights.backward(inputs=list(net.weights))
            of_scales.backward(inputs=list(net.scales))
        with self.context.phase("optimizer"):
            group.average_gradients(net.parameters())
            for optimizer in self.optimizers.values():
                optimizer.step()
            net.constrain()
        return {"loss": of_weights.detach(), **figures(net, prepared, found)}


def figures(net: Sdpc, prepared: Tensor, found: Inference) -> dict[str, Tensor]:
    """error_i: |v_{i-1} gamma_{i-1} - D_i gamma_i|^2 over the square of what is coded; active_i: the share of units above 0; total_cost: an image's
    sum over layers of 1/2 of the squared error and of lambda_i |gamma_i|_1; iterations."""
    made: dict[str, Tensor] = {}
    cost = prepared.new_zeros(())
    for i, codes in enumerate(found.codes):
        below = net.scales[i - 1].detach() * found.codes[i - 1] if i else prepared
        squared = (below - found.painted[i]).square().sum()
        made[f"error_{i + 1}"] = squared / below.square().sum().clamp(min=1e-12)
        made[f"active_{i + 1}"] = (codes > 0).float().mean()
        cost = cost + squared / 2 + net.penalties[i] * codes.sum()
    return {**made, "total_cost": cost / len(prepared), "iterations": prepared.new_tensor(float(found.iterations))}


def fresh(experiment: Any, shape: tuple[int, int, int]) -> Sdpc:
    """The untrained network of a definition, drawn from its seed."""
    torch.manual_seed(experiment.seed)
    return Sdpc(**arguments(experiment, shape))
