"""Optimizers of a definition. Muon is ours because torch's takes matrices only, and ours are convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

NAMES = ("sgd", "adam", "adamw", "muon")
REPLAYABLE = ("adam", "adamw", "muon")
"""Those whose learning rate can be a tensor on the device."""


def make(experiment: Any, net: nn.Module) -> dict[str, Optimizer]:
    """The optimizers of `net` by name. Reads optimizer, lr, momentum, nesterov, weight_decay (and side_lr for muon)."""
    trained = [p for p in net.parameters() if p.requires_grad]
    kind, lr, decay = experiment.optimizer, experiment.lr, experiment.weight_decay
    if kind == "muon":
        filters = [p for p in trained if p.ndim == 4]
        others = [p for p in trained if p.ndim != 4]
        side = AdamW(others, lr=experiment.side_lr, betas=(0.9, 0.95), weight_decay=0.0, foreach=True)
        return {"muon": Muon(filters, lr=lr, momentum=experiment.momentum), "side": side}
    if kind == "sgd":
        nesterov = experiment.nesterov and experiment.momentum > 0
        return {"sgd": SGD(trained, lr, experiment.momentum, weight_decay=decay, nesterov=nesterov, foreach=True)}
    return {kind: (Adam if kind == "adam" else AdamW)(trained, lr, weight_decay=decay, foreach=True)}


class Muon(Optimizer):
    """Momentum whose step is made nearly orthogonal, for convolution filters and matrices.

    Each filter bank [out, in, k, k] is taken as a matrix [out, in k k]; its Nesterov momentum is replaced by the nearest
    semi-orthogonal matrix (Newton-Schulz iteration), and the bank is kept at the norm sqrt(out). Source: K. Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks", 2024, and cifar10-airbench.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float, iterations: int = 3) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                mean = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                update = p.grad.add(mean, alpha=group["momentum"]).reshape(len(p), -1)
                p.mul_(len(p) ** 0.5 / p.norm())
                step, rate = orthogonal(update, group["iterations"]).view(p.shape), group["lr"]
                # A tensor can't be alpha, which is a number of the host.
                p.sub_(step * rate) if isinstance(rate, Tensor) else p.add_(step, alpha=-rate)


def orthogonal(matrix: Tensor, iterations: int) -> Tensor:
    """A matrix with the singular vectors of `matrix` [m, n] and singular values near 1.

    Newton-Schulz iteration of degree five; the coefficients make it fast near zero rather than exact (Jordan et al., 2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
