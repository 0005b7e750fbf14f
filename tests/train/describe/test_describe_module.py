"""Descriptions: the tutorial's network to the last operation, and everything a plain list of layers would miss."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from ganhpc.analysis.network_tables import render, settings
from ganhpc.runs.network_description import Description, Operations
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.nets.course import CourseNet


@pytest.fixture(scope="module")
def tutorial() -> Description:
    return describe(CourseNet(), (3, 32, 32))


def test_the_tutorials_network_to_the_last_operation(tutorial):
    told = tutorial.to_json()
    assert (told["params"], told["frozen_params"], told["macs"]) == (62006, 0, 651720)
    assert told["ops"] == {"add": 651720, "mul": 651720, "max": 11236, "other": 0, "total": 1314676}
    assert told["uncounted"] == told["unused"] == []


def test_the_tutorials_functions_tensors_and_weights(tutorial):
    assert [(f.label, f.type, f.inputs, [(x.label, x.shape) for x in f.outputs]) for f in tutorial.layers] == [
        ("F1", "Conv2d", ("X0",), [("X1", (6, 28, 28))]),
        ("F2", "ReLU", ("X1",), [("X2", (6, 28, 28))]),
        ("F3", "MaxPool2d", ("X2",), [("X3", (6, 14, 14))]),
        ("F4", "Conv2d", ("X3",), [("X4", (16, 10, 10))]),
        ("F5", "ReLU", ("X4",), [("X5", (16, 10, 10))]),
        ("F6", "MaxPool2d", ("X5",), [("X6", (16, 5, 5))]),
        ("F7", "Flatten", ("X6",), [("X7", (400,))]),
        ("F8", "Linear", ("X7",), [("X8", (120,))]),
        ("F9", "ReLU", ("X8",), [("X9", (120,))]),
        ("F10", "Linear", ("X9",), [("X10", (84,))]),
        ("F11", "ReLU", ("X10",), [("X11", (84,))]),
        ("F12", "Linear", ("X11",), [("X12", (10,))]),
    ]
    assert tutorial.inputs[0].shape == (3, 32, 32)
    assert {w.label: w.shape for f in tutorial.layers for w in f.weights if w.name.endswith("weight")} == {
        "W1": (6, 3, 5, 5),
        "W4": (16, 6, 5, 5),
        "W8": (120, 400),
        "W10": (84, 120),
        "W12": (10, 84),
    }
    assert tutorial.layers[0].settings == {
        "in_channels": 3,
        "out_channels": 6,
        "kernel_size": [5, 5],
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": [1, 1],
        "groups": 1,
        "bias": True,
        "padding_mode": "zeros",
    }
    assert tutorial.layers[1].weights == ()


def test_fvcores_count_stands_beside_ours(tutorial):
    fvcore = tutorial.to_json()["fvcore"]
    assert fvcore["total"] == fvcore["macs"] == 651720
    assert fvcore["by_operator"] == {"conv": 592800, "linear": 58920}
    assert fvcore["unsupported"] == {"aten::max_pool2d": 2}
    assert any("max_pool2d (2)" in sentence for sentence in fvcore["fvcore_leaves_out"])


def test_json_and_back(tutorial):
    assert Description.from_json(json.loads(json.dumps(tutorial.to_json()))) == tutorial


class Loop(nn.Module):
    """x <- x + relu(norm_i(conv(x))) * gain three times, with one convolution and one gain for all."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.gain = nn.Parameter(torch.ones(8, 1, 1))
        self.head = nn.Linear(8, 10, bias=False)
        self.never = nn.Linear(2, 2)

    def forward(self, x):
        for norm in self.norms:
            x = x + F.relu(norm(self.conv(x))) * self.gain
        return self.head(x.mean((2, 3)))


def test_loops_shared_weights_residual_sums_and_plain_calls():
    told = describe(Loop(), (8, 4, 4), fvcore=False)
    n, conv = 8 * 16, 8 * 16 * 72
    assert [f.type for f in told.layers] == ["Conv2d", "BatchNorm2d", "relu", "mul", "add"] * 3 + ["mean", "Linear"]
    assert told.ops == Operations(
        add=3 * (conv + n + n) + (n - 8) + 10 * 7, mul=3 * (conv + n + n) + 8 + 80, max=3 * n, macs=3 * conv + 80
    )
    assert told.layers[4].inputs == ("X0", "X4")
    assert [(w.label, w.again) for w in told.layers[5].weights] == [("W1", True), ("W1", True)]
    assert [(w.label, w.name, w.again) for w in told.layers[13].weights] == [("W4", "gain", True)]
    assert sum(f.params for f in told.layers) == 584 + 3 * 16 + 8 + 80 == told.params - 6
    assert told.unused == ("never.weight", "never.bias")


def test_describing_leaves_the_network_and_the_random_generator_as_they_were():
    net = Loop()
    net.norms[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.random.get_rng_state()
    describe(net, (8, 4, 4))
    assert net.training and net.norms[0].training and not net.norms[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_failing_network_leaves_no_hooks_behind():
    net = CourseNet()
    with pytest.raises(RuntimeError):
        describe(net, (4, 32, 32))
    assert net.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_an_operator_without_a_rule_is_named_and_not_taken_for_free():
    class Sorted(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x.sort(-1).values).real + 1

    told = describe(Sorted(), (8,))
    assert told.uncounted[0] == "F1 sort"
    assert any("fft" in operator for operator in told.uncounted)
    assert told.ops.add == 8
    assert "Not counted" in printed(told, 80)


def test_in_place_and_dropout_make_new_tensors():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Identity(), nn.Linear(4, 2))
    told = describe(net, (4,))
    assert [f.inputs for f in told.layers] == [("X0",), ("X1",), ("X2",), ("X3",), ("X4",)]
    assert told.layers[2].settings == {"p": 0.5}


def test_a_generator_of_transposed_convolutions():
    """Latent 1x1 -> 4x4 (each of 10 inputs spread over 6x16 outputs) -> 8x8 by 4/2/1 from 6 to 3 maps."""
    net = nn.Sequential(
        nn.Unflatten(1, (10, 1, 1)),
        nn.ConvTranspose2d(10, 6, 4, bias=False),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(6, 3, 4, 2, 1),
        nn.Tanh(),
    )
    told = describe(net, (10,))
    first, second = 10 * 6 * 16, 6 * 16 * 3 * 16
    assert told.ops == Operations(
        add=first - 96 + 96 + second, mul=first + 96 + 96 + second, max=96, other=192, macs=first + second
    )
    assert told.fvcore["macs"] == told.macs
    assert settings(told.layers[4]) == "6→3, 4×4, stride 2, padding 1"
    assert settings(told.layers[3]) == "slope 0.2"


def test_several_inputs_and_frozen_weights():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.classes = nn.Embedding(10, 4)
            self.classes.requires_grad_(False)

        def forward(self, x, label):
            return torch.cat([x, self.classes(label)], 1)

    told = describe(Both(), inputs=(torch.zeros(1, 4), torch.tensor([3])))
    assert (told.params, told.frozen_params) == (0, 40)
    assert [x.label for x in told.inputs] == ["X0.1", "X0.2"]
    assert told.layers[0].weights[0].trainable is False
    assert told.layers[1].inputs == ("X0.1", "X1")


def test_attention_and_normalised_weights_leave_nothing_uncounted():
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert describe(attention, (5, 8)).uncounted == ()
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    told = describe(normed, (4,))
    assert told.uncounted == ()
    assert sum(f.params for f in told.layers) == told.params == 3 + 3 + 12


def test_a_network_that_fvcore_cannot_trace_says_so():
    class Odd(nn.Module):
        def forward(self, x):
            return {"y": [x, {"z": x + 1}], "n": 3}

    told = describe(Odd(), (4,))
    assert told.ops.add == 4
    assert "fvcore could not trace" in told.fvcore["error"]
    assert "fvcore could not trace" in printed(told, 80)


def printed(description: Description, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(description, console, "cifar, preset tutorial")
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_tables_fit_and_keep_every_figure(tutorial, width):
    text = printed(tutorial, width)
    assert max(map(len, text.splitlines())) <= width
    for figure in (
        "651,720",
        "11,236",
        "1,314,676",
        "62,006",
        "X4 16×10×10",
        "W4 16×6×5×5, 16",
        "3→6, 5×5",
        "2×2, stride 2",
        "none",
    ):
        assert figure in text
    assert "…" not in text


def test_a_large_network_stays_whole_at_80_columns():
    net = CourseNet(conv=(16, 32, 64), padding="same", split_conv=(1,), inception=(2,), batch_norm=True, dropout=0.3)
    text = printed(describe(net, (3, 32, 32)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_printing_needs_no_torch():
    code = "import sys, ganhpc.analysis.network_tables; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
