"""The rules operator by operator, against loops that count, formulas written out, and fvcore."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from ganhpc.train.flops.counters import training_step_ops


def count(function, *args, **kwargs) -> tuple[int, int, int, int]:
    """Additions, multiplications, maximums, others of one call; nothing may be left uncounted."""
    with torch.no_grad():
        counted = training_step_ops(lambda: function(*args, **kwargs))
    assert counted["uncounted"] == {}
    ops = counted["ops"]
    assert ops["total"] == ops["add"] + ops["mul"] + ops["max"] + ops["other"]
    return ops["add"], ops["mul"], ops["max"], ops["other"]


def count_convolution(layer: nn.Conv2d, y: torch.Tensor) -> tuple[int, int]:
    """Additions and multiplications of a convolution on one image, one by one."""
    add = mul = 0
    per_group = layer.in_channels // layer.groups
    for _output in range(y.numel()):
        terms = sum(1 for _term in product(range(per_group), *map(range, layer.kernel_size)))
        mul += terms
        add += terms - 1 + (layer.bias is not None)
    return add, mul


def count_transposed(layer: nn.ConvTranspose2d, x: torch.Tensor, y: torch.Tensor) -> tuple[int, int]:
    """The same for a transposed convolution: every input is spread over the outputs that its kernel covers."""
    mul, reached = 0, set()
    per_group = layer.out_channels // layer.groups
    for c, i, j in product(*map(range, x.shape[1:])):
        group = c // (layer.in_channels // layer.groups)
        for o, u, v in product(range(per_group), *map(range, layer.kernel_size)):
            mul += 1
            row = i * layer.stride[0] + u * layer.dilation[0] - layer.padding[0]
            column = j * layer.stride[1] + v * layer.dilation[1] - layer.padding[1]
            if 0 <= row < y.shape[2] and 0 <= column < y.shape[3]:
                reached.add((group * per_group + o, row, column))
    return mul - (0 if layer.bias is not None else len(reached)), mul


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=80, deadline=None)
@given(
    transposed=st.booleans(),
    groups=st.integers(1, 3),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.integers(0, 1),
    bias=st.booleans(),
)
def test_convolutions_against_counting_one_by_one_and_fvcore(
    transposed, groups, inputs, outputs, size, kernel, stride, dilation, padding, bias
):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(
        inputs * groups, outputs * groups, kernel, stride, padding, groups=groups, bias=bias, dilation=dilation
    ).eval()
    x = torch.zeros(1, inputs * groups, *size)
    try:
        y = layer(x)
    except RuntimeError:  # the kernel is larger than the image
        assume(False)
    by_hand = count_transposed(layer, x, y) if transposed else count_convolution(layer, y)
    assert count(layer, x) == (*by_hand, 0, 0)
    theirs = FlopCountAnalysis(layer, x).unsupported_ops_warnings(False)
    assert theirs.total() == by_hand[1]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 7), (3, 7), (2, 3, 7)])
def test_linear_layers(bias, shape):
    outputs = 5 * torch.Size(shape).numel() // 7
    assert count(nn.Linear(7, 5, bias=bias), torch.zeros(shape)) == (outputs * (7 if bias else 6), outputs * 7, 0, 0)


X = torch.linspace(-1, 1, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6)
N = X.numel()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nn.ReLU(), (0, 0, N, 0)),
        (nn.ReLU(inplace=True), (0, 0, N, 0)),
        (nn.ReLU6(), (0, 0, 2 * N, 0)),
        (nn.LeakyReLU(0.2), (0, N, N, 0)),
        (nn.ELU(), (N, N, N, N)),
        (nn.GELU(), (N, 3 * N, 0, N)),
        (nn.SiLU(), (0, N, 0, N)),
        (nn.Tanh(), (0, 0, 0, N)),
        (nn.Sigmoid(), (0, 0, 0, N)),
        (nn.PReLU(), (0, N, N, 0)),
        (nn.Hardswish(), (N, 2 * N, 2 * N, 0)),
        (nn.Dropout(0.5).eval(), (0, 0, 0, 0)),
        (nn.MaxPool2d(2), (0, 0, 3 * N // 4, 0)),
        (nn.MaxPool2d(3, stride=1, padding=1), (0, 0, 8 * N, 0)),
        (nn.AvgPool2d(2), (3 * N // 4, N // 4, 0, 0)),
        (nn.AdaptiveAvgPool2d(1), (8 * 35, 8, 0, 0)),
        # Six values by regions of 0-1, 1-2, 3-4, 4-5: eight reads an axis for four results.
        (nn.AdaptiveAvgPool2d(4), (8 * (64 - 16), 8 * 16, 0, 0)),
        (nn.AdaptiveMaxPool2d(3), (0, 0, 8 * (36 - 9), 0)),
        (nn.Upsample(scale_factor=2), (0, 0, 0, 0)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (12 * N, 16 * N, 0, 0)),
        (nn.PixelShuffle(2), (0, 0, 0, 0)),
        (nn.ZeroPad2d(1), (0, 0, 0, 0)),
        (nn.ReflectionPad2d(1), (0, 0, 0, 0)),
        (nn.BatchNorm2d(4).eval(), (N, N, 0, 0)),
        (nn.BatchNorm2d(4), (4 * N, 2 * N, 0, 3 * 4)),
        (nn.InstanceNorm2d(4), (4 * N, 2 * N, 0, 3 * 8)),
        (nn.GroupNorm(2, 4), (4 * N, 2 * N, 0, 3 * 4)),
        (nn.LayerNorm(6), (4 * N, 3 * N, 0, 3 * N // 6)),
        (nn.Softmax(dim=1), (2 * N - N // 4, 0, N - N // 4, 2 * N)),
        (nn.Flatten(), (0, 0, 0, 0)),
        (lambda x: x + x, (N, 0, 0, 0)),
        (lambda x: torch.add(x, x, alpha=0.5), (N, N, 0, 0)),
        (lambda x: 1 - x, (N, 0, 0, 0)),
        (lambda x: x / 3, (0, N, 0, 0)),
        (lambda x: x / x, (0, 0, 0, N)),
        (lambda x: x**2, (0, N, 0, 0)),
        (lambda x: x.mean((2, 3)), (8 * 35, 8, 0, 0)),
        (lambda x: x.sum(), (N - 1, 0, 0, 0)),
        (lambda x: x.amax(1), (0, 0, N - N // 4, 0)),
        (lambda x: torch.cat([x, x.flip(3)], 1).chunk(2, 1)[0].permute(0, 2, 3, 1).contiguous(), (0, 0, 0, 0)),
        (lambda x: torch.maximum(x, -x), (0, 0, N, N)),
        (lambda x: F.normalize(x, dim=1), (N - N // 4, N, N // 4, N + N // 4)),
        (lambda x: x.argmax(1) + 1, (0, 0, N - N // 4, 0)),
        (lambda x: F.mse_loss(x, x), (2 * N - 1, N + 1, 0, 0)),
    ],
)
def test_operators_by_hand(function, expected):
    assert count(function, X.clone()) == expected


LABELS = torch.arange(4)


@pytest.mark.parametrize(
    "loss",
    [
        lambda y: F.cross_entropy(y, LABELS, label_smoothing=0.1),
        lambda y: F.binary_cross_entropy_with_logits(y, torch.ones_like(y)),
        lambda y: F.binary_cross_entropy(y.sigmoid(), torch.ones_like(y)),
        lambda y: F.mse_loss(y, torch.ones_like(y)),
        lambda y: F.l1_loss(y, torch.ones_like(y)),
        lambda y: F.smooth_l1_loss(y, torch.ones_like(y)),
        lambda y: F.huber_loss(y, torch.ones_like(y)),
        lambda y: F.kl_div(F.log_softmax(y, 1), F.softmax(y, 1), reduction="batchmean"),
        lambda y: F.relu(1 - y).mean(),
        lambda y: F.softplus(y).mean(),
    ],
)
def test_common_losses_and_their_gradients_are_counted(loss):
    scores = torch.randn(4, 10, requires_grad=True)
    counted = training_step_ops(lambda: loss(scores).backward())
    assert counted["uncounted"] == {}
    assert 2 * 40 <= counted["ops"]["total"] <= 40 * 40


def test_a_gradient_penalty_counts_its_second_derivatives():
    """|d critic / d x| needs the critic's forward (3 x 8 products), its gradient by x, and the gradient of that."""
    critic, x = nn.Linear(8, 3, bias=False), torch.randn(1, 8, requires_grad=True)

    def step() -> None:
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        slope.norm().backward()

    counted = training_step_ops(step)
    assert counted["uncounted"] == {}
    assert counted["macs"] == 3 * 24


def test_attention_by_hand():
    """2 heads, 3 queries, 5 keys, 4 features: two products of matrices, the scale and a softmax over 5."""
    q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    add, mul, maximums, other = count(F.scaled_dot_product_attention, q, k, k)
    assert mul == 30 * 4 + 30 + 24 * 5
    assert (add, maximums, other) == (30 * 3 + 6 * 9 + 24 * 4, 6 * 4, 60)


def test_operators_inside_inference_mode_are_taken_apart():
    with torch.inference_mode():
        counted = training_step_ops(lambda: F.linear(torch.ones(1, 3), torch.ones(2, 3), torch.ones(2)))
    assert counted["ops"]["add"] == counted["ops"]["mul"] == 6


def test_lists_of_tensors_count_like_each_of_them():
    values = [torch.ones(3), torch.ones(5)]
    assert count(torch._foreach_add_, values, values, alpha=2) == (8, 8, 0, 0)
    assert count(torch._foreach_mul, values, [2.0, 3.0]) == (0, 8, 0, 0)
    assert count(torch._foreach_sqrt, values) == (0, 0, 0, 8)
    assert count(torch._foreach_pow, 0.9, values) == count(torch._foreach_pow, values, 0.9) != (0, 0, 0, 0)
