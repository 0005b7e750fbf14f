"""BEGAN with an SDPC as its auto-encoder (design B of docs/fusion.md), and its controls.

L(x) of `tasks.began` is the relative absolute error of both layers of the SDPC (`ganhpc.train.nets.sdpc`) after a fixed number of iterations:

    L(x) = |P(x) - D_1 gamma_1| / |P(x)| + |v_1 gamma_1 - D_2 gamma_2| / |v_1 gamma_1|

with P the preparation of images and |.| the sum over one image. Relative, since the error itself is 0 for an image without contrast, which
atoms of unit norm can't be taught to reconstruct badly: a generator would draw nothing else; the penalties make the relative one 2 there,
as much as where nothing is reconstructed. Codes gamma are held fixed where L is differentiated (as at the minimum of the inference's
energy, by the envelope theorem): the generator learns from the residual, the dictionaries as in SDPC, and nothing goes back through the
iterations. Atoms keep their unit norm after each update, since -k L(G(z)) would let them grow; the scales v learn from real images alone,
as in SDPC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganhpc.runs.experiment import Experiment
from ganhpc.train.nets import began
from ganhpc.train.nets.sdpc import Sdpc, synthesis
from ganhpc.train.tasks import sdpc_learning
from ganhpc.train.tasks.began import Batch, Began, generator_arguments
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.task import Context, Task

_AUTOENCODER = "autoencoder"
_TINY = 1e-6


class SdpcBegan(Began):
    """Reads of the definition, beside what `Began` reads: adversary, coding."""

    uncompiled = ("discriminator",)

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module]) -> None:
        super().__init__(experiment, context, networks, "began")
        if self._net_of_codes is None:
            return
        sdpc_learning.fit(self._net_of_codes.preparation, context)
        self.optimizers["scales"] = Adam(list(self._net_of_codes.scales), lr=sdpc_learning.SCALE_RATE)

    @property
    def _net_of_codes(self) -> Sdpc | None:
        net = self.modules["discriminator"]
        return net if isinstance(net, Sdpc) else None

    def parameters(self, *names: str) -> list[nn.Parameter]:
        """As in `Gan`, without the scales, which have an optimizer of their own."""
        net = self._net_of_codes
        apart = {id(scale) for scale in net.scales} if net else set()
        return [parameter for parameter in super().parameters(*names) if id(parameter) not in apart]

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        net = self._net_of_codes
        if net is None:
            return super().train_step(batch)
        with self.context.phase("forward"):
            net.find_steps()
        figures = super().train_step(batch)
        self._learn_scales(net, batch[0])
        return figures

    def descend(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """As in `Gan`; atoms keep their norm, and scales their sign."""
        super().descend(optimizer, parameters)
        if optimizer is not self.optimizers["g"] and (net := self._net_of_codes):
            net.constrain()

    def error_of(self, net: nn.Module, images: Tensor) -> Tensor:
        """L of `images`; in single precision, as inferences are."""
        if not isinstance(net, Sdpc):
            return super().error_of(net, images)
        with torch.autocast(images.device.type, enabled=False):
            prepared = net.preparation(images.float())
            found = net.infer(prepared.detach(), total=self.context.process_group.sum)
            first, second = found.codes
            below = net.scales[0].detach() * first
            error = _relative(prepared, synthesis(first, net.weights[0], net.layers[0]))
            return error + _relative(below, synthesis(second, net.weights[1], net.layers[1]))

    def _learn_scales(self, net: Sdpc, images: Tensor) -> None:
        optimizer = self.optimizers["scales"]
        with self.context.phase("forward"):
            prepared = net.preparation(images)
            _, of_scales = net.losses(prepared, net.infer(prepared, total=self.context.process_group.sum))
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            of_scales.backward(inputs=list(net.scales))
        self.descend(optimizer, net.scales)

    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """As in `LatentGan`, and the figures of the SDPC on held-out images."""
        found = super().evaluation_figures()
        if net := self._net_of_codes:
            prepared = net.preparation(self._held_out[:64])
            found |= sdpc_learning.figures(net, prepared, net.infer(prepared))
            del found["iterations"]
        return found


def _relative(wanted: Tensor, made: Tensor) -> Tensor:
    """|wanted - made| / |wanted| of each image, averaged; 1 where there is nothing to make."""
    lost, whole = ((wanted - made).abs().flatten(1).sum(1), wanted.abs().flatten(1).sum(1))
    return ((lost + _TINY) / (whole + _TINY)).mean()


def _twin_channels(wanted: int, **sizes: Any) -> int:
    """The width of BEGAN's auto-encoder whose number of parameters comes nearest to `wanted`."""

    def many(width: int) -> int:
        with torch.device("meta"):
            net = began.Discriminator(base_channels=width, **sizes)
        return sum(parameter.numel() for parameter in net.parameters())

    width = 1
    while many(width + 1) <= wanted:
        width += 1
    return min(width, width + 1, key=lambda each: abs(many(each) - wanted))


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator and the auto-encoder of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    given = generator_arguments(experiment, shape)
    generator = began.Generator(**given)
    coder = Sdpc(image_size=side_of(experiment, shape), channels=shape[0], **experiment.coding)
    if experiment.adversary != _AUTOENCODER:
        return {"generator": generator, "discriminator": coder}
    wanted = sum(parameter.numel() for parameter in coder.parameters())
    sizes = {name: value for name, value in given.items() if name != "base_channels"}
    width = _twin_channels(wanted, **sizes)
    return {"generator": generator, "discriminator": began.Discriminator(base_channels=width, **sizes)}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed: generators begin alike with every --adversary."""
    torch.manual_seed(experiment.seed)
    return SdpcBegan(experiment, context, networks(experiment, context.data.shape))
