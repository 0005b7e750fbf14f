"""Optimizers of a definition. Muon is ours because torch's takes matrices only, and ours are convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

_NAMES = ("sgd", "adam", "adamw", "muon")
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
            held = [p for p in group["params"] if p.grad is not None]
            updates = [self._momentum(p, group["momentum"]) for p in held]
            # A GPU waits for each of many small kernels; a CPU gains nothing from the padding.
            together = len(held) > 1 and held[0].is_cuda
            make = orthogonal_together if together else _one_by_one
            rate = group["lr"]
            for p, step in zip(held, make(updates, group["iterations"]), strict=True):
                p.mul_(len(p) ** 0.5 / p.norm())
                if isinstance(rate, Tensor):  # which can't be alpha, a number of the host
                    p.sub_(step.view(p.shape) * rate)
                else:
                    p.add_(step.view(p.shape), alpha=-rate)

    def _momentum(self, p: Tensor, momentum: float) -> Tensor:
        """Nesterov's momentum of `p` as a matrix [out, in k k]."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        mean = state["momentum"].mul_(momentum).add_(p.grad)
        assert p.grad is not None
        return p.grad.add(mean, alpha=momentum).reshape(len(p), -1)


def _one_by_one(matrices: Sequence[Tensor], iterations: int) -> list[Tensor]:
    return [orthogonal(matrix, iterations) for matrix in matrices]


def orthogonal_together(matrices: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """`orthogonal` of each of `matrices`, in one batch of products. Zeros fill the smaller ones up, and stay zeros."""
    tall = [m.shape[0] > m.shape[1] for m in matrices]
    wide = [m.T if t else m for m, t in zip(matrices, tall, strict=True)]
    rows, columns = (max(m.shape[side] for m in wide) for side in (0, 1))
    batch = torch.stack([F.pad(m, (0, columns - m.shape[1], 0, rows - m.shape[0])) for m in wide])
    x = _iterated(batch / (batch.norm(dim=(1, 2), keepdim=True) + 1e-7), iterations)
    found = [x[k, : m.shape[0], : m.shape[1]] for k, m in enumerate(wide)]
    return [(m.T if t else m).contiguous() for m, t in zip(found, tall, strict=True)]


def orthogonal(matrix: Tensor, iterations: int) -> Tensor:
    """A matrix with the singular vectors of `matrix` [m, n] and singular values near 1.

    Newton-Schulz iteration of degree five; the coefficients make it fast near zero rather than exact (Jordan et al., 2024).
    """
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = _iterated(x.T if tall else x, iterations)
    return x.T if tall else x


def _iterated(x: Tensor, iterations: int) -> Tensor:
    """`iterations` of Newton-Schulz on x [..., m, n], m being at most n."""
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x
