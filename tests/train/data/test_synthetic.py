"""Made data: the same bytes on every machine, balanced, and hard enough that a network has something to learn."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.datasets.types import DataRequest
from ganhpc.train.data import synthetic
from ganhpc.train.data.synthetic import load

ROOT = Path(__file__).parents[3]
DIGEST = "b0c80e8eea5f"
"""The first digits of the SHA-256 of the 2,000 training images."""
PROGRAM = """
import hashlib, torch
from ganhpc.datasets import types as base; from ganhpc.train.data import synthetic
print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(synthetic.load(base.DataRequest("synthetic")).images.numpy().tobytes()).hexdigest())
"""


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def test_the_bytes_are_known() -> None:
    assert digest(load(DataRequest("synthetic")).images).startswith(DIGEST)


@pytest.mark.slow  # 3 s of processor time: processes of its own
def test_vector_units_make_no_difference() -> None:
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=300, check=True
    )
    capability, found = done.stdout.split()
    assert (capability, found[: len(DIGEST)]) == ("DEFAULT", DIGEST)


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 400), st.integers(0, 2**31))
def test_normal_numbers_are_those_of_randn(n: int, seed: int) -> None:
    ours, theirs = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    made = synthetic._normal(n, ours)
    assert made.dtype == torch.float64
    assert torch.allclose(made, torch.randn(n, generator=theirs).double(), rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.rand(1, generator=ours), torch.rand(1, generator=theirs)), "as many draws"


@pytest.mark.slow  # a second of processor time: it computes
@settings(max_examples=10, deadline=None)
@given(st.integers(10, 60))
def test_any_number_is_balanced_to_within_one(n: int) -> None:
    data = load(DataRequest("synthetic", train_images=n))
    counts = data.labels.bincount(minlength=10)
    assert data.images.shape == (n, 3, 32, 32)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(data.images, load(DataRequest("synthetic", train_images=n)).images)


def test_making_them_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(DataRequest("synthetic", train_images=70)).images
    monkeypatch.setattr(synthetic, "_CHUNK", 16)
    assert torch.equal(load(DataRequest("synthetic", train_images=70)).images, whole)


def test_a_class_is_not_told_by_its_mean_image_but_by_its_grating() -> None:
    """Learnable: the power at its own direction and at no other. Not trivial: the nearest mean image does little better than chance."""
    data = load(DataRequest("synthetic"))
    images, tests = (x.double() / 255 - 0.5 for x in (data.images, data.test_images))
    means = torch.stack([images[data.labels == k].mean(0) for k in range(10)])
    nearest = torch.cdist(tests.flatten(1), means.flatten(1)).argmin(1)
    assert 0.05 < (nearest == data.test_labels).double().mean() < 0.4

    def spectrum(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(x.mean(1)).abs()[:, :, :8].flatten(1).log1p()

    profiles = torch.stack([spectrum(images[data.labels == k]).mean(0) for k in range(10)])
    guesses = torch.cdist(spectrum(tests), profiles).argmin(1)
    assert 0.4 < (guesses == data.test_labels).double().mean() < 0.99
