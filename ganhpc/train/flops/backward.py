"""Operation counts of the other half of a training step: losses, gradients and optimizers, by the convention of forward.py.

The gradient of a sum of products by one of its factors is again such a sum: a convolution's backward has as many
multiplications for the input's gradient, and for the weights', as its forward. Optimizers fused into one operator are
charged the arithmetic of their update rule, an element.
"""

from __future__ import annotations

from math import prod

from ganhpc.runs.network_description import Operations
from ganhpc.train.flops.products import products
from ganhpc.train.flops.registry import Call, movement, per_element, rule

movement("select_backward slice_backward nll_loss_backward nll_loss2d_backward unfold_backward")

per_element("threshold_backward hardtanh_backward", max=1)
per_element("leaky_relu_backward", mul=1, max=1)
per_element("_prelu_kernel_backward", mul=2, max=1)
per_element("elu_backward", add=1, mul=2, max=1, other=1)
per_element("silu_backward", add=2, mul=3, other=1)
per_element("mish_backward", add=3, mul=4, other=3)
per_element("gelu_backward", add=2, mul=5, other=2)
per_element("softplus_backward log_sigmoid_backward", add=1, mul=1, max=1, other=2)
per_element("hardsigmoid_backward", mul=1, max=2)
per_element("hardswish_backward", add=1, mul=2, max=2)
per_element("tanh_backward sigmoid_backward", add=1, mul=2)
per_element("native_dropout_backward", mul=1)
per_element("mse_loss_backward", add=1, mul=2)
per_element("upsample_bilinear2d_backward", add=4, mul=4)


@rule("convolution_backward")
def convolution_backward(call: Call) -> Operations:
    grad, x, weight = call["grad_output"], call["input"], call["weight"]
    smaller = x if call["transposed"] else grad
    mul = smaller.numel() * prod(weight.shape[1:])
    of_input, of_weight, of_bias = call["output_mask"]
    ops = Operations()
    if of_input:
        ops += Operations(add=mul - x.numel(), mul=mul, macs=mul)
    if of_weight:
        ops += Operations(add=mul - weight.numel(), mul=mul, macs=mul)
    if of_bias:
        ops += Operations(add=grad.numel() - grad.shape[1])
    return ops


@rule("native_batch_norm_backward", "cudnn_batch_norm_backward", "miopen_batch_norm_backward", "batch_norm_backward")
def _batch_norm_backward(call: Call) -> Operations:
    return _normalised_backward(call.elements)


@rule("native_layer_norm_backward", "native_group_norm_backward", "_fused_layer_norm_backward")
def _norm_backward(call: Call) -> Operations:
    n = call.elements
    return _normalised_backward(n) + Operations(mul=n)


def _normalised_backward(n: int) -> Operations:
    """An element: its normalised value again (1 addition, 1 multiplication), its part in the gradients of scale and
    shift (2, 1), its own gradient less the means of those two (2, 2)."""
    return Operations(add=5 * n, mul=4 * n)


@rule("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "adaptive_max_pool2d_backward")
def _max_pool_backward(call: Call) -> Operations:
    return Operations(add=call["grad_output"].numel())


@rule("avg_pool2d_backward", "avg_pool3d_backward")
def _avg_pool_backward(call: Call) -> Operations:
    n, axes = call["grad_output"].numel(), call["self"].dim() - 2
    window = list(call["kernel_size"])
    return Operations(add=n * prod(window * axes if len(window) == 1 else window), mul=n)


@rule("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward")
def _adaptive_avg_pool_backward(call: Call) -> Operations:
    return Operations(add=call.elements, mul=call["grad_output"].numel())


@rule("upsample_nearest2d_backward", "_upsample_nearest_exact2d_backward", "embedding_dense_backward")
@rule("constant_pad_nd_backward", "reflection_pad2d_backward", "replication_pad2d_backward", "index_add")
def _accumulate(call: Call) -> Operations:
    """Gradients of values that were copied: one addition for each copy."""
    source = call.get("grad_output", call.get("source"))
    return Operations(add=source.numel() if source is not None else call.elements)


@rule("_log_softmax_backward_data")
def _log_softmax_backward(call: Call) -> Operations:
    n = call.elements
    rows = n // call["output"].shape[call["dim"]]
    return Operations(add=2 * n - rows, mul=n, other=n)


@rule("_softmax_backward_data")
def _softmax_backward(call: Call) -> Operations:
    n = call.elements
    rows = n // call["output"].shape[call["dim"]]
    return Operations(add=2 * n - rows, mul=2 * n)


@rule("nll_loss_forward", "nll_loss2d_forward")
def _nll_loss(call: Call) -> Operations:
    n = call["target"].numel()
    return Operations(add=n, mul=1)


@rule("mse_loss")
def mse_loss(call: Call) -> Operations:
    n, results = call["self"].numel(), call.elements
    reduced = results != n
    return Operations(add=2 * n - 1 if reduced else n, mul=n + 1 if reduced else n)


@rule("binary_cross_entropy_with_logits")
def _bce_with_logits(call: Call) -> Operations:
    """max(x, 0) - x t + log(1 + exp(-|x|)), then the mean."""
    n = call["self"].numel()
    return Operations(add=4 * n, mul=n, max=n, other=3 * n)


def _per_value(names: str, *, add: int, mul: int, max: int = 0, other: int = 0) -> None:
    """Register losses that cost the same for each value, and are then averaged."""
    once = Operations(add, mul, max, other)
    rule(*names.split())(lambda call: once * call["self"].numel())


_per_value("smooth_l1_loss huber_loss", add=3, mul=2, max=1, other=1)
_per_value("smooth_l1_loss_backward huber_loss_backward", add=1, mul=2, max=2)
_per_value("soft_margin_loss", add=2, mul=1, other=2)
_per_value("soft_margin_loss_backward", add=1, mul=2, other=2)
_per_value("binary_cross_entropy", add=4, mul=2, other=2)
_per_value("binary_cross_entropy_backward", add=2, mul=2, other=1)
_per_value("xlogy", add=0, mul=1, other=1)


@rule("native_dropout")
def _dropout(call: Call) -> Operations:
    n = call.elements
    return Operations(mul=2 * n)


@rule("_scaled_dot_product_flash_attention_for_cpu_backward", "_scaled_dot_product_flash_attention_backward")
@rule("_scaled_dot_product_efficient_attention_backward")
def _attention_backward(call: Call) -> Operations:
    """Five products of matrices of the forward's two sizes (the scores are calculated again), and the softmax's."""
    query, key, value = call["query"], call["key"], call["value"]
    rows, keys = prod(query.shape[:-1]), key.shape[-2]
    by_features = products(rows * keys, query.shape[-1], bias=False) * 3
    by_values = products(rows * keys, value.shape[-1], bias=False) * 2
    softmax = Operations(add=2, mul=3, other=1) * (rows * keys)
    return by_features + by_values + softmax


@rule("_fused_sgd")
def _fused_sgd(call: Call) -> Operations:
    n = sum(x.numel() for x in call["self"])
    steps = 1 + bool(call["weight_decay"]) + bool(call["momentum"]) + bool(call["nesterov"])
    return Operations(add=steps, mul=steps) * n


@rule("_fused_adam", "_fused_adamw")
def _fused_adam(call: Call) -> Operations:
    """Two moving averages (2 additions, 5 multiplications), a root, a division and the step (2 and 2)."""
    n = sum(x.numel() for x in call["self"])
    decay = Operations(add=1, mul=1) if call["weight_decay"] else Operations()
    return (Operations(add=4, mul=7, other=2) + decay) * n
