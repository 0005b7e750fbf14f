"""The course's family of networks: the tutorial's net exactly, every option, impossible combinations refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.train.flops.counters import count_parameters
from ganhpc.train.nets.course import ACTIVATIONS, CourseNet


class Tutorial(nn.Module):
    """The network of the PyTorch tutorial "Training a classifier", as it is written there."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def test_defaults_are_the_tutorials_network_with_its_initialisation():
    torch.manual_seed(1)
    ours = CourseNet()
    torch.manual_seed(1)
    theirs = Tutorial()
    x = torch.randn(4, 3, 32, 32)
    assert count_parameters(ours) == (62006, 0)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # One 5x5 of 3->6 (456) becomes 3x3 of 3->6 (168) and 6->6 (330).
        ({"split_conv": (1,)}, 62006 - 456 + 168 + 330),
        # A 3x3 convolution 16->20 on 5x5 maps, and a first linear layer of 20x25 units.
        ({"extra_conv": (20,)}, 62006 + (16 * 9 + 1) * 20 + (500 - 400) * 120),
        ({"linear": (120, 100, 84)}, 62006 - 121 * 84 + 121 * 100 + 101 * 84),
        # Biases of the convolutions go, scale and shift come.
        ({"batch_norm": True}, 62006 - 22 + 44),
        ({"dropout": 0.5}, 62006),
        # Branches of 2, 2, 1, 1 channels; the maps stay 32x32, so the second stage ends at 16x6x6.
        ({"inception": (1,)}, 62006 - 456 + 2 * (3 + 1) + 2 * (27 + 1) + (75 + 1) + (3 + 1) + 16 * 11 * 120),
        ({"padding": "same"}, 62006 + 16 * (64 - 25) * 120),
        ({"linear": ()}, 456 + 2416 + 4010),
        ({"conv": ()}, 3073 * 120 + 121 * 84 + 850),
        ({"input_shape": (1, 28, 28)}, 62006 - 300 - 16 * 9 * 120),
        ({"classes": 100}, 62006 + 85 * 90),
    ],
)
def test_options_change_the_sizes_consistently(options, parameters):
    net = CourseNet(**options)
    assert count_parameters(net)[0] == parameters
    shape = options.get("input_shape", (3, 32, 32))
    assert net(torch.zeros(2, *shape)).shape == (2, options.get("classes", 10))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_function_is_a_module_of_the_chosen_kind(activation):
    net = CourseNet(activation=activation, dropout=0.25)
    kinds = [type(m) for m in net.modules()]
    assert kinds.count(ACTIVATIONS[activation]) == 4
    assert kinds.count(nn.Dropout) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"conv": (6, 16, 32)}, "convolution 3 .* padding same|pooling after convolution 3"),
        ({"conv": (6, 16, 32, 64), "kernel": 3}, "pooling after convolution 4|convolution 4"),
        ({"kernel": 40}, "40x40 does not fit its input of 32x32"),
        ({"kernel": 4, "padding": "same"}, "odd kernel"),
        ({"kernel": 4, "split_conv": (1,)}, "odd kernel of at least 5"),
        ({"kernel": 3, "split_conv": (1,)}, "odd kernel of at least 5"),
        ({"split_conv": (3,)}, "names convolution 3, but conv has 2"),
        ({"split_conv": (1,), "inception": (1,)}, "in split_conv and in inception"),
        ({"conv": (3, 16), "inception": (1,)}, "four branches.*3 channels"),
        ({"conv": (6, 0)}, "conv contains 0"),
        ({"linear": (-1,)}, "linear contains -1"),
        ({"kernel": 0}, "kernel is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"padding": "full"}, "valid"),
    ],
)
def test_impossible_choices_get_a_sentence(options, says):
    with pytest.raises(UserError, match=says):
        CourseNet(**options)


sizes = st.lists(st.integers(4, 12), max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    conv=sizes,
    kernel=st.integers(1, 7),
    padding=st.sampled_from(["valid", "same"]),
    extra_conv=sizes,
    linear=sizes,
    split_conv=st.sets(st.integers(1, 4), max_size=2).map(tuple),
    inception=st.sets(st.integers(1, 4), max_size=2).map(tuple),
    batch_norm=st.booleans(),
    side=st.integers(4, 40),
)
def test_any_combination_runs_or_is_refused_with_a_sentence(side, **options):
    try:
        net = CourseNet(**options, input_shape=(2, side, side + 1), classes=3)
    except UserError as error:
        assert str(error).endswith(".")
    else:
        assert net.eval()(torch.zeros(1, 2, side, side + 1)).shape == (1, 3)
