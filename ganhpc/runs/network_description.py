"""Description of a network as plain data: functions Fn, tensors Xn, weights Wn, parameters and operations.

No torch here: the login half reads descriptions back from run folders to print and report them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Operations:
    """Floating-point operations, split as the course asks. The convention is in `ganhpc/train/flops/forward.py`."""

    add: int = 0
    """Additions and subtractions."""
    mul: int = 0
    """Multiplications, and divisions by a constant."""
    max: int = 0
    """Maximums, minimums and the selection by a threshold."""
    other: int = 0
    """Divisions, exponentials, roots, tanh and the like: one each, though hardware spends several."""
    macs: int = 0
    """Those of the multiplications that belong to a convolution or a matrix product; not added to the total."""

    @property
    def total(self) -> int:
        """All operations: a multiplication and the addition that follows it are two."""
        return self.add + self.mul + self.max + self.other

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.add + other.add,
            self.mul + other.mul,
            self.max + other.max,
            self.other + other.other,
            self.macs + other.macs,
        )

    def __mul__(self, n: int) -> Operations:
        return Operations(self.add * n, self.mul * n, self.max * n, self.other * n, self.macs * n)

    @classmethod
    def sum(cls, parts: Iterable[Operations]) -> Operations:
        return sum(parts, cls())

    def to_json(self) -> dict[str, int]:
        return {"add": self.add, "mul": self.mul, "max": self.max, "other": self.other, "total": self.total}


@dataclass(frozen=True)
class Tensor:
    """A value Xn on its way through the network, for one image: the batch dimension is left out of the shape."""

    label: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """One parameter tensor of a function. `label` is Wn, n being the first function that uses it."""

    label: str
    name: str
    """Name in the module's state, for example `features.conv1.weight`."""
    shape: tuple[int, ...]
    trainable: bool
    again: bool
    """True if an earlier function already used it; its parameters are counted only there."""

    @property
    def count(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n


@dataclass(frozen=True)
class Function:
    """One function Fn of the forward pass, in the order of execution."""

    n: int
    name: str
    """Path of the module that computes it, `` where it is the network itself."""
    type: str
    """Class of the module (Conv2d), or the operator of a plain call (add, cat)."""
    settings: Mapping[str, Any]
    """Hyper-parameters: the arguments of the layer's constructor, or of the plain call."""
    inputs: tuple[str, ...]
    """Labels of the tensors it reads."""
    outputs: tuple[Tensor, ...]
    weights: tuple[Weight, ...]
    ops: Operations
    """Operations for one image."""
    uncounted: tuple[str, ...] = ()
    """Operators inside it whose operations this package cannot count."""

    @property
    def label(self) -> str:
        return f"F{self.n}"

    @property
    def params(self) -> int:
        """Parameters that this function adds to the network: none for a weight used before."""
        return sum(weight.count for weight in self.weights if not weight.again)

    def to_json(self) -> dict[str, Any]:
        return {
            "f": self.label,
            "name": self.name,
            "type": self.type,
            "settings": dict(self.settings),
            "inputs": list(self.inputs),
            "outputs": [{"x": x.label, "shape": list(x.shape)} for x in self.outputs],
            "weights": [
                {"w": w.label, "name": w.name, "shape": list(w.shape), "trainable": w.trainable, "again": w.again}
                for w in self.weights
            ],
            "params": self.params,
            "ops": self.ops.to_json(),
            "macs": self.ops.macs,
            "uncounted": list(self.uncounted),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Function:
        return cls(
            n=int(data["f"][1:]),
            name=data["name"],
            type=data["type"],
            settings=data["settings"],
            inputs=tuple(data["inputs"]),
            outputs=tuple(Tensor(x["x"], tuple(x["shape"])) for x in data["outputs"]),
            weights=tuple(
                Weight(w["w"], w["name"], tuple(w["shape"]), w["trainable"], w["again"]) for w in data["weights"]
            ),
            ops=_operations(data),
            uncounted=tuple(data["uncounted"]),
        )


@dataclass(frozen=True)
class Description:
    """A network in full, for one image. `Description.from_json(d.to_json()) == d`."""

    params: int
    """Unique trainable parameters; a shared weight counts once."""
    frozen_params: int
    """Unique parameters that training leaves alone."""
    inputs: tuple[Tensor, ...]
    layers: tuple[Function, ...]
    unused: tuple[str, ...] = ()
    """Names of parameters that the forward pass never touched."""
    fvcore: Mapping[str, Any] = field(default_factory=dict)
    """fvcore's own count: `total`, `by_operator`, `unsupported`, and what each count leaves out; or `error`."""

    @property
    def ops(self) -> Operations:
        return Operations.sum(layer.ops for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products, one image."""
        return self.ops.macs

    @property
    def uncounted(self) -> tuple[str, ...]:
        """`F3 aten.sort` and the like: operators whose operations are missing from the totals."""
        return tuple(f"{layer.label} {operator}" for layer in self.layers for operator in layer.uncounted)

    def to_json(self) -> dict[str, Any]:
        return {
            "params": self.params,
            "frozen_params": self.frozen_params,
            "ops": self.ops.to_json(),
            "macs": self.macs,
            "inputs": [{"x": x.label, "shape": list(x.shape)} for x in self.inputs],
            "layers": [layer.to_json() for layer in self.layers],
            "uncounted": list(self.uncounted),
            "unused": list(self.unused),
            "fvcore": dict(self.fvcore),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Description:
        return cls(
            params=data["params"],
            frozen_params=data["frozen_params"],
            inputs=tuple(Tensor(x["x"], tuple(x["shape"])) for x in data["inputs"]),
            layers=tuple(Function.from_json(layer) for layer in data["layers"]),
            unused=tuple(data["unused"]),
            fvcore=data["fvcore"],
        )


def _operations(data: Mapping[str, Any]) -> Operations:
    ops = data["ops"]
    return Operations(ops["add"], ops["mul"], ops["max"], ops["other"], data["macs"])
