"""A GAN fused with SDPC: its generator draws sparse codes, and dictionaries paint them (`ganhpc.train.nets.sdpc_gan`).

The same graph, with as many parameters and operations, for each origin of the dictionaries (`--dictionary`): sdpc and hi-la (feedback 0) learn
them in a first stage of the run's own time and freeze them, sdpc-tuned goes on learning them from the adversary, adversarial learns them from the
adversary alone (the baseline), random and pca freeze what they begin with. Losses and order of updates are those of `tasks.dcgan`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.runs.experiment import Experiment
from ganhpc.train.gan import frechet, generator_io
from ganhpc.train.nets import dcgan, sdpc_gan
from ganhpc.train.nets.sdpc import Sdpc
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks import sdpc_learning
from ganhpc.train.tasks.dcgan import Dcgan
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.stage import Stage
from ganhpc.train.tasks.task import Context, Task

_SDPC = "sdpc"
_LEARNED = ("sdpc", "sdpc-tuned", "hi-la")
"""Dictionaries that an SDPC learns."""
_TRAINED = ("sdpc-tuned", "adversarial")
"""Dictionaries that the adversary trains."""
_CODED = 64
_EPOCH_STEPS = 50
"""Steps of an epoch, at most: a stage ends with a whole one, and a pass over many pictures takes an SDPC longer than a short run has."""


class SdpcGan(Dcgan):
    """Reads of the definition, beside what `Dcgan` reads: dictionary, sdpc_share, source, atoms, penalties, feedback, sdpc_lr and the options of
    the inference."""

    auxiliary = frozenset({_SDPC})

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module]) -> None:
        super().__init__(experiment, context, networks, "sdpc-gan")
        self.steps_per_epoch = min(_EPOCH_STEPS, self.loader.steps_per_epoch)
        self._learning: sdpc_learning.Learning | None = None
        self._stage = 0
        self._painter.keeps_codes = bool(experiment.sparsity)
        sdpc_learning.fit(self._painter.preparation, context)
        for weight in self._painter.dictionaries:
            weight.requires_grad_(experiment.dictionary in _TRAINED)
        if _SDPC in self.modules:
            net = self.modules[_SDPC]
            assert isinstance(net, Sdpc)
            self._learning = sdpc_learning.Learning(net, context, (experiment.sdpc_lr,) * 2)
            self.optimizers |= self._learning.optimizers
            self.stages = (Stage(_SDPC, experiment.sdpc_share), Stage("gan", 1.0))
        elif experiment.source:
            folder = context.source or Path(experiment.source)
            self._take(_of_run(experiment, folder, context.data.shape).to(context.device))
        elif experiment.dictionary == "pca":
            images = sdpc_learning.fitted(context)
            self._give(sdpc_gan.principal(self._painter.preparation(images), experiment.atoms))

    @property
    def _painter(self) -> sdpc_gan.Painter:
        assert isinstance(self.generator, sdpc_gan.Painter)
        return self.generator

    @property
    def _learns_codes(self) -> bool:
        return self._learning is not None and self._stage == 0

    @torch.no_grad()
    def _give(self, dictionaries: list[Tensor]) -> None:
        for weight, given in zip(self._painter.dictionaries, dictionaries, strict=True):
            weight.copy_(given)

    @torch.no_grad()
    def _take(self, net: Sdpc) -> None:
        """Paint with the dictionaries of `net`, its scale and its preparation."""
        self._give(list(net.weights))
        self._painter.scale.copy_(net.scales[0])
        self._painter.preparation.load_state_dict(net.preparation.state_dict())

    def begin_stage(self, number: int) -> None:
        self._stage = number
        if number and self._learning:
            self._take(self._learning.net)

    def images(self, epoch: int, step: int, draws: StepRandom) -> Tensor:
        """As in `Gan`; a pass over the pictures goes on over several epochs."""
        number = epoch * self.steps_per_epoch + step
        return super().images(*divmod(number, max(1, self.loader.steps_per_epoch)), draws)

    def train_step(self, batch: Any) -> dict[str, Tensor]:
        if self._learns_codes:
            assert self._learning is not None
            return self._learning.step(batch[0])
        return super().train_step(batch)

    def pull(self, fakes: Tensor, slope: Tensor) -> None:
        """As in `Gan`, with the penalty sparsity * mean |gamma_2| on the codes that were drawn (Ganz and Elad, 2021)."""
        drawn = self._painter.drawn
        if not self.experiment.sparsity or drawn is None:
            super().pull(fakes, slope)
            return
        torch.autograd.backward([fakes, self.experiment.sparsity * drawn.float().mean()], [slope, None])
        self._painter.drawn = None

    def descend(self, optimizer: Any, parameters: Any) -> None:
        super().descend(optimizer, parameters)
        if optimizer is self.optimizers["g"]:
            self._painter.constrain()

    def end_epoch(self, figures: Mapping[str, float]) -> None:
        if not self._learns_codes:
            super().end_epoch(figures)

    # -- looking ----------------------------------------------------------------------------------------------------------

    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """Of the first stage, the figures of the SDPC on held-out images; of the second, those of a DCGAN and the shares of active units."""
        if self._learns_codes:
            assert self._learning is not None
            net = self._learning.net
            prepared = net.preparation(self._held_out[:_CODED])
            return dict(sdpc_learning.figures(net, prepared, net.infer(prepared)))
        codes = self._painter.codes(self._fixed)
        active = {f"active_{n}": (each > 0).float().mean() for n, each in enumerate(codes, 1)}
        return {**super().evaluation_figures(), **active}

    def measures(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        found = super().measures(seconds)
        if self._learning and found.get("distance_images"):
            left = end - time.monotonic()
            if left < seconds / 2:
                self.context.say("warning: the ceiling is left out: the job ends before it would be ready")
            else:
                with contextlib.suppress(UserError):
                    found["distances_of_reconstructions"] = self._ceiling(int(found["distance_images"]))
        return found

    def _ceiling(self, n: int) -> dict[str, Any]:
        """Distances between `n` held-out images and their own reconstructions by the SDPC: frozen dictionaries paint no better."""
        assert self._learning is not None
        images = self.context.data.test_images[:n]
        made = torch.cat([self._learning.net(self.normalised(part)).cpu() for part in images.split(_CODED)])
        extractor = frechet.efflite0(self.context.device)
        return frechet.distances(extractor, extractor.features(images), extractor.features(made))

    def arguments(self) -> dict[str, Any]:
        return _arguments(self.experiment, self.context.data.shape)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "sdpc_stage": self._stage}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        if content.count(state["sdpc_stage"], "sdpc_stage") != self._stage:
            raise ValueError(f"sdpc_stage is {state['sdpc_stage']} in stage {self._stage}")


def _of_run(experiment: Any, folder: Path, shape: tuple[int, int, int]) -> Sdpc:
    """The SDPC of the finished run in `folder`. Raises UserError where it has none, or one that this generator can't paint with."""
    experiment.check_source(folder)
    net = generator_io.load_file_of(folder / f"{_SDPC}.safetensors")
    assert isinstance(net, Sdpc)
    if net.image_shape != shape:
        raise UserError(
            f"--from {printable(folder)}: this SDPC saw images of {net.image_shape[0]} channels, and --data {printable(experiment.data)} has "
            f"{shape[0]}: give a run on the same pictures."
        )
    return net


def _sdpc_arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {**experiment.coding, "channels": shape[0]}


def _arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "image_size": side_of(experiment, shape),
        "channels": shape[0],
        "latent_dim": experiment.latent_dim,
        "atoms": list(experiment.atoms),
    }


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator, the discriminator and, where the run learns dictionaries itself, its SDPC, untrained."""
    del classes, choices
    made: dict[str, nn.Module] = {"generator": sdpc_gan.Painter(**_arguments(experiment, shape))}
    made["discriminator"] = dcgan.TutorialDiscriminator(
        image_size=side_of(experiment, shape), channels=shape[0], base_channels=experiment.base_channels
    )
    if experiment.dictionary in _LEARNED and not experiment.source:
        made[_SDPC] = Sdpc(**_sdpc_arguments(experiment, shape))
    return made


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed: generator and discriminator begin alike under every --dictionary."""
    torch.manual_seed(experiment.seed)
    return SdpcGan(experiment, context, networks(experiment, context.data.shape))
