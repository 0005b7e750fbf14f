"""Measures that would not be ready in time are left out, with a sentence; pairs of images."""

from __future__ import annotations

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.train.gan import measure_time
from ganhpc.train.gan.measure_time import TooSlow, check, in_time, left_out
from ganhpc.train.gan.similarity import pairwise


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The present moment, in a list."""
    now = [0.0]
    monkeypatch.setattr(measure_time.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("end", "cost", "made"), [(3.0, 1.0, 3), (2.9, 1.0, 1), (6.0, 2.0, 3), (5.9, 2.0, 1)])
def test_work_ends_as_soon_as_it_can_not_be_ready(clock: list[float], end: float, cost: float, made: int) -> None:
    done = []
    try:
        for part in in_time("abc", end, cost):
            clock[0] += 1.0
            done.append(part)
    except TooSlow:
        assert made < 3
    assert len(done) == made


def test_a_moment_that_has_passed_is_too_late(clock: list[float]) -> None:
    check(0.0)
    clock[0] = 0.1
    with pytest.raises(TooSlow):
        check(0.0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TooSlow(), "warning: measures of lines are left out: the job ends before they would be ready"),
        (UserError("torch-fidelity is missing."), "warning: measures are left out: torch-fidelity is missing."),
    ],
)
def test_what_is_left_out_is_said(error: Exception, sentence: str) -> None:
    said: list[str] = []
    with left_out(said.append, "measures of lines"):
        raise error
    assert said == [sentence]


def test_any_other_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), left_out(print):
        raise ZeroDivisionError


def test_the_mean_distance_of_pairs() -> None:
    images = torch.tensor([0.0, 1.0, 3.0, 100.0])[:, None, None, None].expand(-1, 3, 2, 2)
    assert pairwise(images, 3) == pytest.approx((1 + 3 + 2) / 3)
    assert pairwise(images[:1], 3) is None
