"""Averages of a generator's weights over training, and batch normalisation for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

_RAMP = 0.05
"""The half-life is at most this share of the images seen so far (Karras et al., "Analyzing and improving the image quality of StyleGAN",
2020, in their code): in a short run an average would else never leave the weights that it began with."""


def decay_of(half_life: float, images: int, seen: int) -> float:
    """The factor of the average for a step of `images` images after `seen` ones; an average halves what it knew every `half_life` images."""
    return float(0.5 ** (images / max(1e-9, min(half_life, _RAMP * seen)))) if seen else 0.0


@torch.no_grad()
def update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move `average` towards `net`: parameters and buffers (statistics, vectors of power iterations); whole numbers are copied."""
    pairs = [
        (kept, new) for (_, kept), (_, new) in zip(*(each.state_dict().items() for each in (average, net)), strict=True)
    ]
    real = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([kept for kept, _ in real], [new for _, new in real], 1 - decay)
    for kept, new in pairs:
        if not kept.is_floating_point():
            kept.copy_(new)


@torch.no_grad()
def copied(net: nn.Module) -> dict[str, Tensor]:
    """The state of `net`, in memory of its own."""
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


@torch.no_grad()
def set_standing_statistics(net: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Give the batch normalisations of `net` the means over `batches` of a batch's mean and (biased) variance (Brock et al., 2019, appendix B).

    Only normalisation is in training mode, so that nothing else moves; `net` is left in evaluation mode.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    sums: Mapping[int, list[Tensor]] = {id(norm): [] for norm in norms}

    def note(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].float().transpose(0, 1).flatten(1)
        sums[id(norm)].append(torch.stack([x.mean(1), x.var(1, correction=0)]))

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        net.eval()
        for norm in norms:
            norm.train()
        for given in batches:
            net(*given)
    finally:
        for hook in hooks:
            hook.remove()
        net.eval()
    for norm in norms:
        if found := sums[id(norm)]:
            mean, variance = torch.stack(found).mean(0)
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


@torch.no_grad()
def add_orthogonal_gradient(net: nn.Module, beta: float, without: Iterable[nn.Parameter] = ()) -> None:
    """Add 2 beta (W W' o (1 - I)) W to the gradient of each weight of two axes or more, a matrix [out, rest].

    The convention of BigGAN's own code: half of the gradient of beta |W W' o (1 - I)|^2, so that a published weight means here what it means
    there. `without`: weights left alone, as the classes' shared vectors are.
    """
    left = {id(parameter) for parameter in without}
    for parameter in net.parameters():
        if parameter.dim() < 2 or id(parameter) in left or parameter.grad is None:
            continue
        matrix = parameter.flatten(1)
        products = matrix @ matrix.T
        products.fill_diagonal_(0)
        parameter.grad.add_((2 * beta * (products @ matrix)).view_as(parameter))
