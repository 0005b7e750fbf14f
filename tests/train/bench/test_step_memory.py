"""The count of live bytes behind benchmarks/step_memory.py, against what can be said by hand."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.step_memory import LiveBytes


def test_the_peak_of_a_forward_and_backward_pass_by_hand() -> None:
    """x (4 kB) -> linear -> relu -> linear -> sum: activations stay until their gradient is made; views count once."""
    net = nn.Sequential(nn.Linear(100, 200, bias=False), nn.ReLU(), nn.Linear(200, 50, bias=False))
    x = torch.randn(10, 100)
    given = 4 * (100 * 200 + 200 * 50 + 1000)
    live = LiveBytes([*net.parameters(), x, x.view(100, 10)])
    assert live.now == live.peak == given
    with live:
        y = net(x)
        saved = 4 * (
            10 * 200 + 10 * 50
        )  # of the relu, which the second layer keeps, and the scores; the first layer's own are dropped
        assert live.now == given + saved
        y.sum().backward()
    assert live.peak >= given + saved + 4 * (200 * 50)
    del y
    assert live.now == given + 4 * (100 * 200 + 200 * 50), "the gradients alone are left"


def test_what_ends_is_taken_off() -> None:
    live = LiveBytes([])
    with live:
        made = torch.zeros(1000)
        part = made[:10]
        del made
        assert live.now == 4000, "a view keeps its storage"
        del part
        again = torch.ones(500)
    assert (live.now, live.peak) == (again.nbytes, 4000)
