"""CIFAR-10 under a budget of parameters and time (the course's project)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Budget, Experiment, Kind, share_of_batch
from ganhpc.runs.options import option
from ganhpc.scans.named import Named

_CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR_STD = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True, kw_only=True)
class CompactOptions:
    """A plain network of convolutions: `--net compact`."""

    channels: tuple[int, ...] = option((32, 64, 104), "compact: channels of each stage", low=1, high=4096)
    depths: tuple[int, ...] = option((1, 2, 2), "compact: convolutions in each stage", low=1, high=100)
    stem_kernel: int = option(3, "compact: side of the first layer", unit="pixels", low=1, high=15)
    stem_stride: int = option(2, "compact: stride of the first layer", unit="pixels", low=1, high=4)
    pooling: str = option(
        "activation", "compact: what the pooling of a stage follows", choices=("activation", "convolution")
    )
    nonlinearity: str = option("silu", "compact: activation", choices=("silu", "hardswish"))


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions:
    """Convolutions that are applied several times: `--net recurrent`."""

    widths: tuple[int, ...] = option((48, 64, 80), "recurrent: channels of each stage", low=1, high=4096)
    blocks: tuple[int, ...] = option((1, 1, 1), "recurrent: blocks with filters of their own, a stage", low=0, high=100)
    iterations: tuple[int, ...] = option(
        (3, 3, 3), "recurrent: times that each block is applied, a stage", low=1, high=100
    )


@dataclass(frozen=True, kw_only=True)
class ConvMixerOptions:
    """Depthwise and pointwise convolutions: `--net convmixer`."""

    mixer_width: int = option(128, "convmixer: channels", low=1, high=4096)
    mixer_layers: int = option(12, "convmixer: blocks", low=1, high=100)
    mixer_kernel: int = option(5, "convmixer: side of the depthwise convolutions", unit="pixels", low=1, high=15)
    patch: int = option(1, "convmixer: side and stride of the first layer", unit="pixels", low=1, high=16)


@dataclass(frozen=True, kw_only=True)
class DenseNetOptions:
    """Layers that see all earlier ones: `--net densenet`."""

    dense_layers: int = option(52, "densenet: layers, six times a whole number plus four", low=10, high=604)
    growth: int = option(11, "densenet: maps that each dense layer adds", low=1, high=256)


@dataclass(frozen=True, kw_only=True)
class CourseOptions:
    """The course's network, and what it asks to vary: `--net course`."""

    conv: tuple[int, ...] = option((6, 16), "course: channels of the convolutions", low=1, high=4096)
    kernel: int = option(5, "course: side of the convolutions", unit="pixels", low=1, high=15)
    padding: str = option("valid", "course: border of the convolutions", choices=("valid", "same"))
    linear: tuple[int, ...] = option((120, 84), "course: units of the hidden linear layers", low=1, high=65_536)
    extra_conv: tuple[int, ...] = option(
        (), "course: channels of 3x3 convolutions added after the last pooling", low=1, high=4096
    )
    split_conv: tuple[int, ...] = option((), "course: which convolutions (from 1) become two 3x3", low=1, high=16)
    inception: tuple[int, ...] = option(
        (), "course: which convolutions (from 1) become parallel branches", low=1, high=16
    )
    dropout: float = option(0.0, "course: share of hidden linear units dropped in training", low=0.0, high=0.99)
    batch_norm: bool = option(False, "course: batch normalisation after each convolution")
    activation: str = option(
        "relu", "course: activation", choices=("relu", "elu", "leaky_relu", "gelu", "silu", "tanh")
    )


@dataclass(frozen=True, kw_only=True)
class DistillationOptions:
    """A larger network that is trained first, and whose scores are learned from."""

    teacher: str = option(
        "none", "train a larger network first, and learn from its scores", choices=("none", "compact")
    )
    teacher_channels: tuple[int, ...] = option((64, 256, 256), "teacher: channels of each stage", low=8, high=4096)
    teacher_share: float = option(0.25, "teacher: its share of the training (time, or epochs)", low=0.01, high=0.9)
    temperature: float = option(4.0, "teacher: softens the scores to learn from", low=0.1, high=100.0)
    distil: float = option(0.9, "teacher: weight of its scores against the labels", low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Cifar(Experiment):
    """A classifier of small images."""

    NAME: ClassVar[str] = "cifar"
    TASK: ClassVar[str] = "classifier"
    KIND: ClassVar[Kind] = Kind.CLASSIFIER
    DATA: ClassVar[tuple[str, ...]] = ("cifar10", "synthetic")
    ADDED_FIELDS: ClassVar[Mapping[str, Any]] = {"pooling": "activation", "nonlinearity": "silu"}

    data: str = option("cifar10", "data set: cifar10, or synthetic (made on the spot)", metavar="NAME")
    held_out: int | None = option(
        None, "evaluate on N training images kept out of the training, and leave the test images alone", kind="count"
    )
    net: str = option(
        "auto",
        "network (auto: chosen to fit both budgets)",
        choices=("auto", "course", "compact", "recurrent", "convmixer", "densenet"),
    )
    compact: CompactOptions = CompactOptions()
    stem: int = option(32, "compact, recurrent: filters of the frozen first layer", low=1, high=54, after="depths")
    recurrent: RecurrentOptions = RecurrentOptions()
    convmixer: ConvMixerOptions = ConvMixerOptions()
    densenet: DenseNetOptions = DenseNetOptions()
    course: CourseOptions = CourseOptions()

    batch_size: int = option(256, "images a step, over all processes", unit="images", low=1, high=65_536)
    test_batch_size: int = option(500, "images a step of the evaluation", unit="images", low=1, high=65_536)
    lr: float = option(0.12, "learning rate at its highest", low=0.0)
    optimizer: str = option("muon", "optimizer", choices=("sgd", "adam", "adamw", "muon"))
    side_lr: float = option(0.01, "muon: learning rate of what is not a filter (AdamW)", low=0.0)
    momentum: float = option(0.6, "momentum (sgd and muon)", low=0.0, high=0.9999)
    nesterov: bool = option(True, "Nesterov's form of the momentum (sgd)")
    weight_decay: float = option(0.0, "weight decay", low=0.0)
    schedule: str = option("linear", "learning rate along the run", choices=("constant", "steps", "linear", "cosine"))
    warmup: float = option(0.0, "share of the run in which the learning rate rises", low=0.0, high=0.9)
    loss: str = option("cross_entropy", "loss", choices=("cross_entropy", "mse", "multi_margin"))
    label_smoothing: float = option(0.1, "label smoothing (cross-entropy)", low=0.0, high=0.9)
    flip: str = option("alternate", "mirroring of training images", choices=("none", "random", "alternate"))
    crop: int | None = option(
        None, "shift of training images (unset: 2; 4 where the network sees them often)", unit="pixels", low=0, high=16
    )
    cutout: int | None = option(
        None,
        "side of a blank square in training images (unset: 0; 8 where the network sees them often)",
        unit="pixels",
        low=0,
        high=32,
    )
    tta: str = option(
        "auto",
        "last evaluation also on mirrored images, or (shift) on mirrored and shifted ones (auto: shift; flip for the course's network)",
        choices=("auto", "none", "flip", "shift"),
    )

    distillation: DistillationOptions = DistillationOptions()

    mean: ClassVar[tuple[float, ...]] = _CIFAR_MEAN
    std: ClassVar[tuple[float, ...]] = _CIFAR_STD

    def network_fields(self) -> dict[str, Any]:
        """The values of the options that the network is made from, where --net names one."""
        if self.net == "auto":
            return {}
        group = getattr(self, self.net)
        found = {f.name: getattr(group, f.name) for f in dataclasses.fields(group)}
        return found | ({"stem": self.stem} if self.net in ("compact", "recurrent") else {})

    def network_options(self) -> frozenset[str]:
        return frozenset({"net", *self.network_fields()})

    def check(self) -> None:
        if self.lr <= 0:
            raise UserError(f"--lr {self.lr:g} must be more than zero: try {type(self)().lr:g}.")

    def check_processes(self, processes: int) -> None:
        super().check_processes(processes)
        share_of_batch(self.test_batch_size, processes, "--test-batch-size")


# The course's advice: larger batches than the tutorial's, three levels of the learning rate over the epochs that fit.
_COURSE = Cifar(
    preset="course",
    net="course",
    batch_size=20,
    test_batch_size=400,
    lr=0.01,
    optimizer="sgd",
    momentum=0.9,
    nesterov=False,
    schedule="steps",
    label_smoothing=0.0,
    flip="none",
    crop=0,
    cutout=0,
    tta="none",
)

# The PyTorch tutorial as the course starts from it: two epochs of plain SGD with batches of four.
_TUTORIAL = dataclasses.replace(
    _COURSE, preset="tutorial", batch_size=4, lr=0.001, schedule="constant", budget=Budget(time=None, epochs=2)
)

# Where parameters are the limit and not time: a GPU hour. Operations are spent instead of parameters; docs/record.md has what was
# measured, and what is still to be.
_RECORD = Cifar(
    preset="record",
    net="recurrent",
    recurrent=RecurrentOptions(widths=(48, 64, 80), blocks=(1, 1, 1), iterations=(3, 3, 3)),
    stem=32,
    optimizer="muon",
    lr=0.12,
    side_lr=0.01,
    momentum=0.6,
    schedule="linear",
    warmup=0.0,
    batch_size=256,
    label_smoothing=0.1,
    flip="alternate",
    crop=4,
    cutout=8,
    tta="shift",
    budget=Budget(time=3600.0, budget_params=250_000),
)

PRESETS = {"default": Cifar(), "tutorial": _TUTORIAL, "course": _COURSE, "record": _RECORD}

SCANS = {
    # The course: "the four combinations, with or without mirroring x with or without shift".
    "augmentation": Named({"flip": ("none", "random"), "crop": (0, 4)}, preset="course"),
    # The course: "typically double the size of each layer", here as far as 256,000 parameters go.
    "layers": Named({"conv": ((6, 16), (12, 32)), "linear": ((120, 84), (240, 168))}, preset="course"),
}
