"""Helpers of generators and discriminators: weight initialisations, size checks, a count of parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ganhpc.core.errors import UserError

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@torch.no_grad()
def xavier_normal(net: nn.Module) -> None:
    """Weights N(0, 2 / (fan_in + fan_out)) (variance), biases 0, batch normalisation at 1 and 0.

    Glorot and Bengio, 2010, equation 12 with a normal law; the course notes of weeks 5 and 13 use it for BEGAN and DCGAN.
    """
    for module in net.modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            nn.init.xavier_normal_(module.weight)
        _plain_bias_and_norm(module)


@torch.no_grad()
def dcgan_normal(net: nn.Module) -> None:
    """Weights N(0, 0.02) (deviation), batch normalisation N(1, 0.02) and 0: Radford et al., 2016, section 4, as the PyTorch
    DCGAN tutorial does it."""
    for module in net.modules():
        if isinstance(module, _CONVOLUTIONS):
            nn.init.normal_(module.weight, 0.0, 0.02)
        _plain_bias_and_norm(module)
        if isinstance(module, _NORMS):
            nn.init.normal_(module.weight, 1.0, 0.02)


@torch.no_grad()
def keras_normal(net: nn.Module) -> None:
    """Weights N(0, 0.02) (deviation) in convolutions and linear layers, biases 0, batch normalisation at 1 and 0."""
    for module in net.modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        _plain_bias_and_norm(module)


def _plain_bias_and_norm(module: nn.Module) -> None:
    if isinstance(module, (*_CONVOLUTIONS, *_NORMS, nn.Linear)) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, _NORMS):
        nn.init.ones_(module.weight)


def positive(**values: int | float) -> None:
    """Raises UserError for the first of `values` that is not above zero."""
    for name, value in values.items():
        if value <= 0:
            raise UserError(f"--{name.replace('_', '-')} {value}: it must be above 0.")


def activation(name: str) -> Callable[[], nn.Module]:
    """The class of an activation. Raises UserError for an unknown name."""
    known: dict[str, Callable[[], nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU}
    if name not in known:
        raise UserError(f"--activation {name!r}: choose one of {', '.join(known)}.")
    return known[name]


def count_parameters(*nets: nn.Module) -> int:
    """Trainable parameters of `nets` together, a shared one counted once."""
    unique = {id(p): p.numel() for net in nets for p in net.parameters() if p.requires_grad}
    return sum(unique.values())
