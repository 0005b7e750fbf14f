"""Operation counts of the operators of a forward pass: the convention of every count this package prints.

- A sum of k products with a bias is k multiplications and k additions (k - 1 between the products, 1 for the bias);
  without a bias, k and k - 1. Zeros that padding adds are multiplied like any other value.
- A maximum of n values is n - 1 maximums; ReLU is one an element; a selection by a threshold likewise.
- A mean or an average pooling of n values is n - 1 additions and one multiplication by the constant 1/n.
- Dividing by a constant is a multiplication; by a computed value, one of `other`, as are exp, log, sqrt, tanh, erf...
- Batch normalisation in evaluation is folded into a scale and a shift: one multiplication and one addition an element.
- Where a function has branches (ELU, leaky ReLU), every element is charged the most expensive one.
- Moving, viewing, choosing or creating values (by chance too) costs nothing; so do calculations on integers.
"""

from __future__ import annotations

from math import prod

import torch

from ganhpc.runs.network_description import Operations
from ganhpc.train.flops.products import per_axis
from ganhpc.train.flops.registry import Call, movement, per_element, rule

movement(
    "view reshape _reshape_alias _unsafe_view flatten unflatten squeeze unsqueeze t transpose permute expand expand_as "
    "as_strided select slice split split_with_sizes chunk unbind narrow unfold diagonal cat stack clone copy _to_copy "
    "contiguous detach alias lift_fresh lift_fresh_copy pixel_shuffle pixel_unshuffle channel_shuffle "
    "native_channel_shuffle constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d _pad_circular flip roll repeat repeat_interleave index index_select gather "
    "index_put _index_put_impl scatter where masked_fill masked_select embedding one_hot tril triu fill zero "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "rand rand_like randn randn_like randint randint_like randperm bernoulli uniform normal random exponential "
    "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones "
    "full full_like new_full arange eye linspace scalar_tensor resize set_data set _local_scalar_dense item "
    "is_same_size im2col _foreach_zero _foreach_copy"
)

per_element("mul", mul=1)
per_element("relu threshold maximum minimum fmax fmin clamp_min clamp_max", max=1)
per_element("clamp hardtanh relu6", max=2)
per_element("leaky_relu _prelu_kernel", mul=1, max=1)
per_element("elu celu selu", add=1, mul=1, max=1, other=1)
per_element("silu", mul=1, other=1)
per_element("mish", add=1, mul=1, other=3)
per_element("softplus log_sigmoid_forward", add=1, max=1, other=2)
per_element("hardsigmoid", add=1, mul=1, max=2)
per_element("hardswish", add=1, mul=2, max=2)
per_element(
    "tanh sigmoid exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal erf sin cos neg abs sign sgn "
    "floor ceil round trunc eq ne lt le gt ge isnan isinf isfinite logical_not",
    other=1,
)
per_element("square", mul=1)
per_element("lerp", add=2, mul=1)
per_element("upsample_linear1d", add=1, mul=2)
per_element("upsample_bilinear2d _upsample_bilinear2d_aa", add=3, mul=4)
per_element("upsample_trilinear3d", add=7, mul=8)
per_element("upsample_bicubic2d _upsample_bicubic2d_aa", add=15, mul=16)


@rule("add", "sub", "rsub")
def _sum_of_two(call: Call) -> Operations:
    n = call.elements
    return Operations(add=n, mul=0 if call.get("alpha", 1) == 1 else n)


@rule("div", "true_divide")
def _quotient(call: Call) -> Operations:
    n = call.elements
    divisor = call["other"] if "other" in call else call.get("scalars", call.get("scalar"))
    computed = isinstance(divisor, torch.Tensor) and divisor.dim() > 0
    return Operations(other=n) if computed else Operations(mul=n)


@rule("addcmul")
def _sum_with_product(call: Call) -> Operations:
    n = call.elements
    return Operations(add=n, mul=n if call.get("value", 1) == 1 else 2 * n)


@rule("addcdiv")
def _sum_with_quotient(call: Call) -> Operations:
    n = call.elements
    return Operations(add=n, mul=0 if call.get("value", 1) == 1 else n, other=n)


@rule("pow")
def _power(call: Call) -> Operations:
    n, exponent = call.elements, call["exponent"]
    if isinstance(exponent, int | float) and exponent in (1, 2, 3, 4):
        return Operations(mul=n * (int(exponent) - 1))
    return Operations(other=n)


@rule("gelu")
def gelu(call: Call) -> Operations:
    n = call.elements
    if call.get("approximate") == "tanh":
        return Operations(add=2 * n, mul=6 * n, other=n)
    return Operations(add=n, mul=3 * n, other=n)


@rule("_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")
@rule("_native_batch_norm_legit", "_batch_norm_no_update")
def _batch_norm(call: Call) -> Operations:
    x = call["input"]
    if call.get("training", False):
        return _normalised(x.numel(), groups=x.shape[1])
    return Operations(add=x.numel(), mul=x.numel())


@rule("_batch_norm_with_update", "_batch_norm_with_update_functional")
def _batch_norm_in_training(call: Call) -> Operations:
    return _normalised(call["input"].numel(), groups=call["input"].shape[1])


def _normalised(n: int, groups: int, own_scale: bool = False) -> Operations:
    """Statistics of `groups` groups of values, n in all, and the values normalised by them.

    An element takes part in the mean (1 addition), the variance (2 additions, 1 multiplication) and is scaled and
    shifted (1 and 1); a group has two divisions and a root. `own_scale`: one more product where each element has a
    scale of its own, which cannot be folded into the group's.
    """
    return Operations(add=4 * n, mul=(3 if own_scale else 2) * n, other=3 * groups)


@rule("native_layer_norm", "_fused_layer_norm")
def _layer_norm(call: Call) -> Operations:
    n = call["input"].numel()
    return _normalised(n, n // prod(call["normalized_shape"]), own_scale=call.get("weight") is not None)


@rule("native_group_norm")
def _group_norm(call: Call) -> Operations:
    return _normalised(call["input"].numel(), call["N"] * call["group"])


@rule("sum", "nansum")
def _total(call: Call) -> Operations:
    return Operations(add=call["self"].numel() - call.elements)


@rule("cumsum")
def _running_total(call: Call) -> Operations:
    x = call["self"]
    return Operations(add=x.numel() - x.numel() // x.shape[call["dim"]])


@rule("mean")
def mean(call: Call) -> Operations:
    n = call.elements
    return Operations(add=call["self"].numel() - n, mul=n)


@rule("var", "var_mean")
def _variance(call: Call) -> Operations:
    n, groups = call["self"].numel(), call.elements
    return Operations(add=3 * n - 2 * groups, mul=n + 2 * groups)


@rule("std", "std_mean")
def _deviation(call: Call) -> Operations:
    return _variance(call) + Operations(other=call.elements)


@rule("linalg_vector_norm", "norm")
def norm(call: Call) -> Operations:
    n, groups = call["self"].numel(), call.elements
    return Operations(add=n - groups, mul=n, other=groups)


@rule("_weight_norm_interface")
def _weight_norm(call: Call) -> Operations:
    """v g / |v|, a norm and a gain for each row."""
    n, rows = call["v"].numel(), call["g"].numel()
    return Operations(add=n - rows, mul=2 * n, other=2 * rows)


@rule("amax", "amin", "max", "min", "argmax", "argmin")
def _maximum(call: Call) -> Operations:
    if isinstance(call.get("other"), torch.Tensor):
        return Operations(max=call.elements)
    return Operations(max=call["self"].numel() - call.elements)


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(call: Call) -> Operations:
    return Operations(max=call.elements * (_window(call) - 1))


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(call: Call) -> Operations:
    n = call.elements
    return Operations(add=n * (_window(call) - 1), mul=n)


def _window(call: Call) -> int:
    x, axes = call["self"], len(call["kernel_size"])
    # One number stands for all axes of a two- or three-dimensional pooling.
    spatial = axes if axes > 1 else {3: 1, 4: 2, 5: 3}.get(x.dim(), 1)
    return int(prod(per_axis(call["kernel_size"], spatial)))


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(call: Call) -> Operations:
    y = call.first
    return Operations(max=_regions(call["self"], y) - y.numel())


@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
def _adaptive_avg_pool(call: Call) -> Operations:
    y = call.first
    return Operations(add=_regions(call["self"], y) - y.numel(), mul=y.numel())


def _regions(x: torch.Tensor, y: torch.Tensor) -> int:
    """Values read by an adaptive pooling, whose regions overlap where the sizes do not divide."""
    n = 1
    for before, after in zip(x.shape, y.shape, strict=True):
        n *= sum(-(-(i + 1) * before // after) - i * before // after for i in range(after))
    return n


@rule("_softmax", "softmax", "_safe_softmax")
def softmax(call: Call) -> Operations:
    n = call.elements
    rows = n // call["self"].shape[call["dim"]]
    return Operations(add=2 * n - rows, max=n - rows, other=2 * n)


@rule("_log_softmax", "log_softmax")
def log_softmax(call: Call) -> Operations:
    n = call.elements
    rows = n // call["self"].shape[call["dim"]]
    return Operations(add=3 * n - rows, max=n - rows, other=n + rows)
