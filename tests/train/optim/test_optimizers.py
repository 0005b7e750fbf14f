"""Muon: directions made orthogonal, one by one or in one batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganhpc.train.optim import optimizers


def _matrices() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(m, n, generator=draw) for m, n in ((8, 27), (16, 72), (16, 8), (5, 5), (32, 9))]


def test_singular_values_come_near_one() -> None:
    for matrix in _matrices():
        values = torch.linalg.svdvals(optimizers.orthogonal(matrix, 5))
        assert values.max() < 1.3 and values.mean() == pytest.approx(0.95, abs=0.25)


def test_a_batch_gives_what_one_by_one_gives() -> None:
    matrices = _matrices()
    for alone, matrix in zip(optimizers.orthogonal_together(matrices, 3), matrices, strict=True):
        assert alone.is_contiguous() and alone.shape == matrix.shape
        torch.testing.assert_close(alone, optimizers.orthogonal(matrix, 3), rtol=1e-4, atol=1e-5)


def test_banks_keep_their_norm_and_those_without_a_gradient_their_values() -> None:
    torch.manual_seed(0)
    moved, still = nn.Parameter(torch.randn(8, 4, 3, 3)), nn.Parameter(torch.randn(8, 4, 3, 3))
    before = still.detach().clone()
    optimizer = optimizers.Muon([moved, still], lr=0.0, momentum=0.6)
    moved.grad = torch.randn_like(moved)
    optimizer.step()
    assert moved.norm().item() == pytest.approx(8**0.5, rel=1e-5)
    assert torch.equal(still, before)
