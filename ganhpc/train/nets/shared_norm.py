"""Batch normalisation over the batch of all ranks, so that any number of ranks computes what one process would.

torch's SyncBatchNorm does it on GPUs only, and runs are compared on CPUs. Mean and variance are found one after the other, which
loses no digits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function


class _MeanOverRanks(Function):
    """The mean over ranks. With gradients that are averaged over the ranks afterwards, the gradient is a mean, too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        return _mean(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _mean(gradient)


def _mean(value: Tensor) -> Tensor:
    value = value.contiguous().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of [N, C] or [N, C, H, W] whose statistics are those of all ranks' images. Every rank has as many."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        axes = [d for d in range(x.dim()) if d != 1]
        view = [1, -1] + [1] * (x.dim() - 2)
        mean = _MeanOverRanks.apply(x.mean(axes))
        centred = x - mean.view(view)
        variance = _MeanOverRanks.apply(centred.square().mean(axes))
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1] * dist.get_world_size())
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return (centred * scale.view(view)).to(input.dtype)
        return (centred * (scale * self.weight).view(view) + self.bias.view(view)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, n: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * n / max(1, n - 1), self.momentum)


def share_batch_norm(net: nn.Module) -> None:
    """Replace each BatchNorm in `net` by a SharedBatchNorm that has its very parameters and buffers."""
    for name, child in net.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            shared._parameters, shared._buffers, shared.training = child._parameters, child._buffers, child.training
            setattr(net, name, shared)
        else:
            share_batch_norm(child)
