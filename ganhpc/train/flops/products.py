"""Operators made of sums of products: convolutions, linear layers, matrix products, attention. The convention is in
forward.py."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from ganhpc.runs.network_description import Operations
from ganhpc.train.flops.registry import Call, rule


def products(outputs: int, terms: int, bias: bool) -> Operations:
    """`outputs` sums of `terms` products each."""
    mul = outputs * terms
    return Operations(add=mul if bias else mul - outputs, mul=mul, macs=mul)


@rule("convolution", "_convolution", "convolution_overrideable", "cudnn_convolution", "mkldnn_convolution")
def convolution(call: Call) -> Operations:
    x, weight, bias, y = call["input"], call["weight"], call.get("bias"), call.first
    if not call.get("transposed", False):
        return products(y.numel(), prod(weight.shape[1:]), bias is not None)
    mul = x.numel() * prod(weight.shape[1:])
    # Every product is added to its output; without a bias, the first one to reach an output is not an addition.
    reached = 0 if bias is not None else y.shape[0] * y.shape[1] * _reached(x, weight, y, call)
    return Operations(add=mul - reached, mul=mul, macs=mul)


def _reached(x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor, call: Call) -> int:
    """Output positions of a transposed convolution that receive a product: not all, if the stride is long."""
    n = 1
    for axis, (stride, padding, dilation) in enumerate(
        zip(*(per_axis(call[key], x.dim() - 2) for key in ("stride", "padding", "dilation")), strict=True)
    ):
        size, kernel, length = x.shape[2 + axis], weight.shape[2 + axis], y.shape[2 + axis]
        places = {i * stride + j * dilation - padding for i in range(size) for j in range(kernel)}
        n *= sum(0 <= place < length for place in places)
    return n


def per_axis(value: Sequence[int], axes: int) -> list[int]:
    return list(value) * axes if len(value) == 1 else list(value)


@rule("linear")
def linear(call: Call) -> Operations:
    return products(call.elements, call["input"].shape[-1], call.get("bias") is not None)


@rule("mm", "bmm", "matmul", "mv", "dot", "vdot")
def _matrix_product(call: Call) -> Operations:
    return products(call.elements, call["self"].shape[-1], bias=False)


@rule("addmm", "baddbmm", "addmv", "_addmm_activation")
def _matrix_product_and_sum(call: Call) -> Operations:
    left = next(call[key] for key in ("mat1", "batch1", "mat") if key in call)
    n = call.elements
    scaled = sum(n for key in ("alpha", "beta") if call.get(key, 1) != 1)
    activation = n if "use_gelu" in call else 0
    return products(n, left.shape[-1], bias=True) + Operations(mul=scaled, max=activation)


@rule("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention")
@rule("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention")
def _attention(call: Call) -> Operations:
    query, key, value = call["query"], call["key"], call["value"]
    rows, keys = prod(query.shape[:-1]), key.shape[-2]
    scores = products(rows * keys, query.shape[-1], bias=False) + Operations(mul=rows * keys)
    weights = Operations(add=(2 * keys - 1) * rows, max=(keys - 1) * rows, other=2 * keys * rows)
    return scores + weights + products(rows * value.shape[-1], keys, bias=False)
