"""The networks for a budget of parameters: golden counts, shapes, what is shared, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.flops.counters import count_parameters
from ganhpc.train.nets.convmixer import ConvMixer
from ganhpc.train.nets.densenet import DenseNet
from ganhpc.train.nets.recurrent import RecurrentBlock, RecurrentNet


def macs(net: nn.Module) -> int:
    return describe(net, (3, 32, 32), fvcore=False).macs


@pytest.mark.parametrize(
    ("net", "parameters", "frozen"),
    [
        (ConvMixer, 246_282, 0),
        (DenseNet, 222_845, 0),
        # Stem's bias 32; 1x1 1,536 + 3,072 + 5,120; 18 c c of two filters; three times two norms of 2 c; last norm 160; 81 x 10.
        (RecurrentNet, 32 + 9_728 + 18 * (48**2 + 64**2 + 80**2) + 12 * (48 + 64 + 80) + 160 + 810, 864),
    ],
)
def test_the_number_of_parameters(net: type[nn.Module], parameters: int, frozen: int) -> None:
    assert count_parameters(net()) == (parameters, frozen)
    assert parameters < 250_000


def test_densenet_is_the_papers() -> None:
    """DenseNet-BC of 100 layers with growth 12 has 0.8 M parameters (table 2 of the paper; 769,162 in its authors' code)."""
    assert count_parameters(DenseNet(layers=100, growth=12))[0] == 769_162


def test_convmixer_is_the_papers() -> None:
    """ConvMixer-256/8 with kernel 5 and patches of 2 has 0.71 M parameters (appendix, CIFAR-10); counted layer by layer."""
    net = ConvMixer(width=256, layers=8, kernel=5, patch=2)
    block = 256 * 25 + 256 + 256 * 256 + 256 + 2 * 512
    assert count_parameters(net)[0] == (12 * 256 + 256 + 512) + 8 * block + 256 * 10 + 10


@pytest.mark.parametrize("net", [ConvMixer, DenseNet, RecurrentNet])
def test_other_images_and_classes(net: Any) -> None:
    made = net(input_shape=(1, 28, 28), classes=7).eval()
    assert made(torch.zeros(2, 1, 28, 28)).shape == (2, 7)


def test_filters_are_shared_and_norms_are_not() -> None:
    once, thrice = RecurrentNet(iterations=(1, 1, 1)), RecurrentNet(iterations=(3, 3, 3))
    filters = [sum(p.numel() for p in net.parameters() if p.ndim == 4) for net in (once, thrice)]
    assert filters[0] == filters[1], "a shared weight counts once"
    assert count_parameters(thrice)[0] - count_parameters(once)[0] == 2 * 2 * 2 * (48 + 64 + 80)
    assert macs(thrice) - macs(once) == 2 * (macs(once) - macs_without_blocks())


def macs_without_blocks() -> int:
    return macs(RecurrentNet(blocks=(0, 0, 0)))


def test_one_iteration_is_a_plain_residual_block() -> None:
    torch.manual_seed(0)
    block = RecurrentBlock(4, 1).eval()
    x = torch.randn(2, 4, 5, 5)
    inner = block.activation(block.norms1[0](x))
    inner = block.activation(block.norms2[0](block.conv1(inner)))
    assert torch.equal(block(x), x + block.conv2(inner))


def test_iterations_feed_one_another_through_their_own_norms() -> None:
    torch.manual_seed(0)
    block = RecurrentBlock(4, 2)
    block(torch.randn(8, 4, 5, 5))
    means = [norm.running_mean for norm in block.norms1]
    assert not torch.equal(means[0], means[1])
    grads = torch.autograd.grad(block(torch.randn(8, 4, 5, 5)).square().sum(), list(block.parameters()))
    assert all(g.abs().sum() > 0 for g in grads)


def test_the_stem_whitens_and_stays() -> None:
    torch.manual_seed(0)
    net = RecurrentNet()
    net.initialize(torch.randn(64, 3, 32, 32))
    assert not net.stem.weight.requires_grad and net.stem.bias is not None and net.stem.bias.requires_grad
    assert torch.equal(net.stem.weight[0], -net.stem.weight[27]), "then the same with the sign changed"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ConvMixer(kernel=4), "--mixer-kernel 4 is even"),
        (lambda: ConvMixer(patch=33), "--patch 33 is larger than the images of 32x32"),
        (lambda: DenseNet(layers=50), "--dense-layers 50 is not .*: type 46 or 52"),
        (lambda: RecurrentNet(channels=(48, 64)), "--iterations 3,3,3 must be equally long"),
        (lambda: RecurrentNet(channels=(8,) * 7, blocks=(1,) * 7, iterations=(1,) * 7), "too often"),
    ],
)
def test_what_does_not_fit_is_a_sentence(make: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
