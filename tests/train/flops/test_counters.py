"""Parameters against a budget; operations of a whole training step."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ganhpc.core.errors import UserError
from ganhpc.train.flops.counters import check_budget, count_parameters, largest_layers, training_step_ops
from ganhpc.train.nets.course import CourseNet


def shared() -> nn.Sequential:
    """A linear layer of 20 parameters used twice, and a frozen one of 10."""
    layer, frozen = nn.Linear(4, 4), nn.Linear(4, 2)
    for p in frozen.parameters():
        p.requires_grad_(False)
    return nn.Sequential(layer, nn.ReLU(), layer, frozen)


def test_a_shared_weight_counts_once_and_frozen_ones_apart():
    assert count_parameters(shared()) == (20, 10)


def test_largest_layers_list_each_weight_once_and_no_frozen_one():
    assert largest_layers(shared()) == [("0", "Linear", 20)]
    assert largest_layers(CourseNet(), 2) == [("classifier.fc1", "Linear", 48120), ("classifier.fc2", "Linear", 10164)]


def test_a_network_over_budget_is_refused_with_its_largest_layers():
    check_budget(CourseNet(), 62006)
    with pytest.raises(UserError) as refusal:
        check_budget(CourseNet(), 62005)
    sentence = str(refusal.value)
    assert "62,006 trainable parameters, 1 over the budget of 62,005" in sentence
    assert "classifier.fc1 (Linear) 48,120, classifier.fc2 (Linear) 10,164" in sentence
    assert "--budget-params 62006" in sentence


def test_frozen_parameters_do_not_count_against_the_budget():
    check_budget(shared(), 20)


def test_a_step_of_a_linear_layer_by_hand():
    """y = Wx + b, n=5 images, 3 inputs, 2 outputs; loss = sum(y); plain gradient descent."""
    layer = nn.Linear(3, 2)
    x = torch.randn(5, 3)

    def step() -> None:
        layer(x).sum().backward()
        with torch.no_grad():
            for p in layer.parameters():
                p -= p.grad * 0.1

    counted = training_step_ops(step)
    # Forward 5x2 sums of 3 products and a bias; gradient of W: 2x3 sums of 5 products; no gradient of the images.
    assert counted["macs"] == 30 + 30
    # Additions: 30, the loss 9, gradients of W 6 x 4 and of b 2 x 4, update 8.
    assert counted["ops"]["add"] == 30 + 9 + 24 + 8 + 8
    assert counted["ops"]["mul"] == 60 + 8
    assert counted["uncounted"] == {}


def training(net: nn.Module, images: torch.Tensor, optimizer: str = "SGD", **options):
    labels = torch.arange(len(images)) % 10
    opt = getattr(torch.optim, optimizer)(net.parameters(), lr=0.01, **options)

    def step() -> None:
        opt.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        opt.step()

    return step


@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "inception": (2,), "activation": "elu", "dropout": 0.5}])
def test_step_macs_agree_with_torchs_own_flop_counter(options):
    net, images = CourseNet(**options), torch.randn(4, 3, 32, 32)
    with FlopCounterMode(display=False) as theirs:
        training(copy.deepcopy(net), images)()
    ours = training_step_ops(training(copy.deepcopy(net), images))
    assert 2 * ours["macs"] == theirs.get_total_flops()


def test_a_step_costs_nearly_three_forward_passes():
    counted = training_step_ops(training(CourseNet(), torch.randn(4, 3, 32, 32)))
    # All but the first convolution's gradient of the images.
    assert counted["macs"] == 4 * (3 * 651_720 - 352_800)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
        ("SGD", {"momentum": 0.9, "foreach": True}),
        ("SGD", {"momentum": 0.9, "fused": True}),
        ("Adam", {"betas": (0.5, 0.999)}),
        ("Adam", {"foreach": True}),
        ("AdamW", {"fused": True}),
        ("RMSprop", {}),
    ],
)
def test_nothing_of_a_common_training_step_is_left_uncounted(optimizer, options):
    net = CourseNet(batch_norm=True, dropout=0.1, activation="leaky_relu")
    step = training(net, torch.randn(2, 3, 32, 32), optimizer, **options)
    step()
    counted = training_step_ops(step)
    assert counted["uncounted"] == {}
    update = counted["ops"]["total"]
    plain = training_step_ops(training(net, torch.randn(2, 3, 32, 32)))["ops"]["total"]
    n = count_parameters(net)[0]
    assert plain + n <= update <= plain + 25 * n


def test_counting_leaves_the_random_generator_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    training_step_ops(lambda: torch.rand(100))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow  # 2 s of processor time: it computes
def test_a_compiled_step_is_counted_in_eager_form():
    layer = nn.Linear(3, 2)
    compiled = torch.compile(layer)
    assert training_step_ops(lambda: compiled(torch.ones(1, 3)))["macs"] == 6


def test_operators_without_a_rule_are_named():
    assert training_step_ops(lambda: torch.rand(8).sort())["uncounted"] == {"sort": 1}
