"""Sparse deep predictive coding (SDPC): layers of sparse codes, each predicted by the next one, over learned convolutional dictionaries.

Boutin, Franciosini, Ruffier and Perrinet, "Effect of top-down connections in hierarchical sparse coding", 2020 (2L-SPC), and Boutin et al.,
"Sparse deep predictive coding captures contour integration capabilities of the early visual system", 2021, with gamma_0 = x, v_0 = 1 and b the
strength of the feedback:

    F_i = 1/2 |v_{i-1} gamma_{i-1} - D_i gamma_i|^2 + b/2 |(v_i gamma_i - D_{i+1} gamma_{i+1}) / v_i|^2    (the last layer: the first term)

is descended by FISTA (Beck and Teboulle, 2009) under the penalty lambda_i |gamma_i|_1 and gamma_i >= 0, all layers in turn. Where the authors'
code departs from that: the step here is 1 / (lambda_max(D_i' D_i) + b), since 1 / lambda_max leaves out the feedback's curvature and can
diverge; the codes that are returned are those after the threshold, which are never negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from ganhpc.core.errors import UserError
from ganhpc.core.units import counted
from ganhpc.datasets.types import Size, sides
from ganhpc.runs import sdpc_layers
from ganhpc.train.nets.sdpc_preparation import Preparation

_MOST_POWERS = 50
_LEAST_POWERS = 5
_SETTLED = 1e-3
"""The power iteration goes on from the last step's vectors until the eigenvalue rises by less than this share: dictionaries move much in the
first steps, and little later."""
_MARGIN = 1.05
"""The power iteration finds its eigenvalue from below."""
_LEAST_SCALE = 1e-3
_DIVERGED = 1e6
"""An energy of so many times the image's own has left every minimum."""
_LEAST_ITERATIONS = 3


class Diverged(UserError):
    """The energy of the inference grows without bound."""


@dataclass(frozen=True)
class Layer:
    """Geometry of one dictionary: D = conv_transpose2d(., W, stride, padding, output_padding), its adjoint conv2d(., W, stride, padding)."""

    stride: int
    padding: int = 0
    output_padding: int | tuple[int, int] = 0


class Inference(NamedTuple):
    """codes: gamma_i [B, K_i, h, w], never negative; painted: D_i gamma_i; energies: F_i of each iteration [iterations, layers]; active: the share of
    units above 0 of each iteration, as large, where that was asked for."""

    codes: list[Tensor]
    painted: list[Tensor]
    energies: Tensor
    active: Tensor | None = None

    @property
    def iterations(self) -> int:
        return len(self.energies)


def synthesis(codes: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """D gamma."""
    return F.conv_transpose2d(
        codes, weight, stride=layer.stride, padding=layer.padding, output_padding=layer.output_padding
    )


def adjoint(images: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """D' x."""
    return F.conv2d(images, weight, stride=layer.stride, padding=layer.padding)


def unit_atoms(weight: Tensor) -> Tensor:
    """`weight` [K, C, k, k] with every atom of L2 norm 1."""
    return weight / weight.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]


def power(vector: Tensor, weight: Tensor, layer: Layer, iterations: int) -> tuple[Tensor, Tensor]:
    """(largest eigenvalue of D' D, found from below; its unit vector), from the unit codes `vector` [1, K, h, w]."""
    value = vector.new_ones(())
    for _ in range(iterations):
        raised = adjoint(synthesis(vector, weight, layer), weight, layer)
        value = raised.norm()
        vector = raised / value.clamp(min=1e-12)
    return value, vector


def _same(total: Tensor) -> Tensor:
    return total


def infer(
    images: Tensor,
    weights: Sequence[Tensor],
    layers: Sequence[Layer],
    scales: Sequence[Tensor],
    penalties: Sequence[float],
    steps: Sequence[Tensor | float],
    *,
    feedback: float,
    iterations: int,
    threshold: float = 0.0,
    accelerate: bool = True,
    total: Callable[[Tensor], Tensor] = _same,
    watched: bool = False,
) -> Inference:
    """Codes of `images` [B, C, H, W]: interleaved FISTA, or ISTA where not `accelerate`.

    Args:
        scales: v_i, scalars or [1, K, 1, 1]. steps: eta_i. feedback: b.
        threshold: the inference stops where F_i of every layer has changed by less than this share, after more than three iterations.
        total: adds energies [layers] up over all processes that share the batch, so that they stop together.
        watched: count the active units of each iteration.

    Raises:
        Diverged: the energy is no number, or has left every minimum.
    """
    last = len(weights) - 1
    painted = []
    codes: list[Tensor] = []
    for i, (weight, layer) in enumerate(zip(weights, layers, strict=True)):
        codes.append(torch.zeros_like(adjoint(codes[i - 1] if i else images, weight, layer)))
        painted.append(synthesis(codes[i], weight, layer))
    ahead, ahead_painted = list(codes), list(painted)
    bound = _DIVERGED * (1 + float(total(images.square().sum()[None] / 2)[0])) if _readable(images) else 0.0
    t, kept, active = 1.0, [], []
    for _ in range(iterations):
        following = (1 + (1 + 4 * t * t) ** 0.5) / 2 if accelerate else 1.0
        momentum, t = (t - 1) / following, following
        for i, (weight, layer) in enumerate(zip(weights, layers, strict=True)):
            below = scales[i - 1] * codes[i - 1] if i else images
            gradient = adjoint(ahead_painted[i] - below, weight, layer)
            if feedback and i < last:
                gradient = gradient + feedback / scales[i] * (scales[i] * ahead[i] - painted[i + 1])
            new = (ahead[i] - steps[i] * (gradient + penalties[i])).relu()
            made = synthesis(new, weight, layer)
            # D is linear: D of the extrapolated codes needs no product of its own.
            ahead[i], ahead_painted[i] = new + momentum * (new - codes[i]), made + momentum * (made - painted[i])
            codes[i], painted[i] = new, made
        kept.append(total(_energies(images, codes, painted, scales, feedback)))
        if watched:
            active.append(torch.stack([(each > 0).float().mean() for each in codes]))
        if bound and _has_stopped(kept, threshold, bound, feedback):
            break
    return Inference(codes, painted, torch.stack(kept), torch.stack(active) if active else None)


def _readable(values: Tensor) -> bool:
    """False where tensors have shapes and no values, as when operations are counted: the inference then makes all its iterations."""
    return not (values.is_meta or isinstance(values, FakeTensor))


def _energies(
    images: Tensor, codes: list[Tensor], painted: list[Tensor], scales: Sequence[Tensor], feedback: float
) -> Tensor:
    """F_i [layers], sums over the batch."""
    found = []
    for i in range(len(codes)):
        below = scales[i - 1] * codes[i - 1] if i else images
        energy = (below - painted[i]).square().sum() / 2
        if feedback and i + 1 < len(codes):
            energy = energy + feedback / 2 * (codes[i] - painted[i + 1] / scales[i]).square().sum()
        found.append(energy)
    return torch.stack(found)


def _has_stopped(kept: list[Tensor], threshold: float, bound: float, feedback: float) -> bool:
    now = kept[-1].tolist()
    if not max(now) < bound:  # no number, too
        raise Diverged(
            f"--feedback {feedback:g}: the inference diverges (energy {max(now):.3g} after {counted(len(kept), 'iteration')}): type a smaller one, such as "
            f"{feedback / 2:g}, or a larger --scale."
        )
    if len(kept) <= _LEAST_ITERATIONS or not threshold:
        return False
    before = kept[-2].tolist()
    return all(abs(a - b) <= threshold * abs(a) for a, b in zip(now, before, strict=True))


def _left_over(room: Sequence[int], stride: int) -> int | tuple[int, int]:
    """Output padding under which D gives maps of the side that its adjoint took."""
    down, across = (each % stride for each in room)
    return down if down == across else (down, across)


class Sdpc(nn.Module):
    """Dictionaries W_i of unit atoms, scales v_i, and what prepares images; called, it reconstructs images [B, C, H, W] in [-1, 1].

    Args:
        atoms, kernels, strides, paddings, penalties: one of each a layer. scale: the initial v_i. preparation: arguments of `Preparation`.
        iterations, threshold: bounds of one inference.
    """

    eigenvalues: Tensor

    def __init__(
        self,
        image_size: Size = 32,
        channels: int = 3,
        atoms: Sequence[int] = (64, 128),
        kernels: Sequence[int] = (8, 4),
        strides: Sequence[int] = (4, 2),
        paddings: Sequence[int] = (2, 1),
        penalties: Sequence[float] = (0.5, 0.5),
        scale: float = 1.0,
        feedback: float = 1.0,
        iterations: int = 40,
        threshold: float = 5e-3,
        preparation: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = (channels, *sides(image_size))
        self.preparation = Preparation(image_size, channels, **(preparation or {}))  # type: ignore[arg-type]
        self.penalties, self.feedback = tuple(penalties), feedback
        self.iterations, self.threshold = iterations, threshold
        self.layers: list[Layer] = []
        weights, scales = [], []
        below, maps = self.preparation.channels, sides(image_size)
        for n, (many, kernel, stride, padding) in enumerate(zip(atoms, kernels, strides, paddings, strict=True), 1):
            room = sdpc_layers.room(n, maps, kernel, padding)
            self.layers.append(Layer(stride, padding, _left_over(room, stride)))
            weights.append(nn.Parameter(unit_atoms(torch.randn(many, below, kernel, kernel))))
            scales.append(nn.Parameter(torch.full((1, many, 1, 1), float(scale))))
            below, maps = many, (room[0] // stride + 1, room[1] // stride + 1)
            vector = torch.randn(1, many, *maps)
            self.register_buffer(f"vector_{n}", vector / vector.norm())
        self.weights, self.scales = nn.ParameterList(weights), nn.ParameterList(scales)
        self.register_buffer("eigenvalues", torch.ones(len(weights)))
        self.find_steps()

    @torch.no_grad()
    def find_steps(self) -> None:
        """Find the largest eigenvalue of each dictionary anew, from the vectors that were found last."""
        found = []
        for n, (weight, layer) in enumerate(zip(self.weights, self.layers, strict=True), 1):
            vector = getattr(self, f"vector_{n}")
            before, (value, new) = 0.0, power(vector, weight, layer, _LEAST_POWERS)
            for _ in range(_MOST_POWERS if _readable(value) else 0):
                if float(value) <= (1 + _SETTLED) * before:
                    break
                before = float(value)
                value, new = power(new, weight, layer, 1)
            vector.copy_(new)
            found.append(value)
        self.eigenvalues.copy_(torch.stack(found))

    @torch.no_grad()
    def constrain(self) -> None:
        """Give atoms their norm and scales their sign back."""
        for weight, scale in zip(self.weights, self.scales, strict=True):
            weight.copy_(unit_atoms(weight))
            scale.clamp_(min=_LEAST_SCALE)

    @torch.no_grad()
    def infer(
        self,
        prepared: Tensor,
        feedback: float | None = None,
        total: Callable[[Tensor], Tensor] = _same,
        *,
        watched: bool = False,
    ) -> Inference:
        """Codes of prepared images; see the function `infer`. `feedback`: another one than the network's own."""
        b = self.feedback if feedback is None else feedback
        curvature = [b] * (len(self.layers) - 1) + [0.0]
        steps = [1 / (_MARGIN * value + more) for value, more in zip(self.eigenvalues, curvature, strict=True)]
        return infer(
            prepared,
            list(self.weights),
            self.layers,
            list(self.scales),
            self.penalties,
            steps,
            feedback=b,
            iterations=self.iterations,
            threshold=self.threshold,
            total=total,
            watched=watched,
        )

    def losses(self, prepared: Tensor, found: Inference) -> tuple[Tensor, Tensor]:
        """(of the dictionaries: sum of 1/2 |v_{i-1} gamma_{i-1} - D_i gamma_i|^2 / B; of the scales: of 1/2 |v_{i-1} gamma_{i-1} - D_i v_i gamma_i|^2 / B).

        Codes are fixed, feedback is off; each loss moves nothing else (2L-SPC, section 2.3).
        """
        of_weights = of_scales = prepared.new_zeros(())
        for i, layer in enumerate(self.layers):
            below = self.scales[i - 1].detach() * found.codes[i - 1] if i else prepared
            painted = synthesis(found.codes[i], self.weights[i], layer)
            of_weights = of_weights + (below - painted).square().sum() / 2
            rescaled = synthesis(self.scales[i] * found.codes[i], self.weights[i].detach(), layer)
            of_scales = of_scales + (below - rescaled).square().sum() / 2
        return of_weights / len(prepared), of_scales / len(prepared)

    def down(self, codes: Tensor, level: int) -> Tensor:
        """Prepared images that codes of layer `level` (from 0) stand for: D_1 (D_2 (..) / v_1)."""
        for i in range(level, -1, -1):
            codes = synthesis(codes, self.weights[i], self.layers[i])
            codes = codes / self.scales[i - 1] if i else codes
        return codes

    @torch.no_grad()
    def projected(self, level: int) -> Tensor:
        """Every atom of layer `level` in pixels of prepared images: [K, C, k, k]."""
        atoms: Tensor = self.weights[level]
        for i in range(level - 1, -1, -1):
            bare = Layer(self.layers[i].stride)
            atoms = synthesis(atoms / self.scales[i], self.weights[i], bare)
        return atoms

    def forward(self, images: Tensor) -> Tensor:
        """D_1 gamma_1 of images [B, C, S, S] in [-1, 1], as images."""
        prepared = self.preparation(images)
        return self.preparation.undo(self.infer(prepared).painted[0], images)


EXPORTED = {"sdpc": Sdpc}
