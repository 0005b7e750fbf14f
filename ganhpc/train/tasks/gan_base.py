"""Base of all GANs, however many generators and adversaries they have: data in [-1, 1], optimizers, ranks, the watch, exports.

A GAN derives from `Gan`, names its generators and adversaries, and brings its losses and the order of its updates; one that draws from
latent vectors derives from `latent_gan.LatentGan`. How ranks stay equal: every rank starts from the same weights and draws the whole batch's
random numbers, of which it uses its share; batch normalisation is over all ranks' images; `descend` averages gradients over the ranks by
hand, since DistributedDataParallel does not take several forward passes under batch normalisation, gradients of gradients, or a network
that is part of another. So any number of ranks trains like one process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import ImageData
from ganhpc.train.data import augment
from ganhpc.train.data.batch_loader import BatchLoader
from ganhpc.train.gan import collapse_detector, generator_io
from ganhpc.train.nets.shared_norm import share_batch_norm
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.runtime import compiling
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks.task import Context, Export, Task

HELD_OUT = 256
"""Held-out images that every evaluation looks at, at most."""


class Gan(Task):
    """Generators and their adversaries, as many as the networks given have of those that the class names.

    The definition's fields that it reads: lr, lr_g, lr_d, beta1, beta2, batch_size, flip, affine, hue, seed, precision, compile, sample_rows,
    sample_columns, cadence, stop_on_collapse.
    """

    generator_names: tuple[str, ...] = ("generator",)
    adversary_names: tuple[str, ...] = ("discriminator",)
    labelled = False
    """True if batches have labels."""
    compilable = True
    uncompiled: tuple[str, ...] = ()
    """The networks that torch.compile does not take: those whose gradient is itself differentiated."""

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module]) -> None:
        self.experiment, self.context = experiment, context
        data, process_group = context.data, context.process_group
        # The batches' own order; 3 to 8 % quicker than the other one on a CPU, too.
        self.modules = {
            name: module.to(process_group.device).to(memory_format=torch.channels_last)
            for name, module in networks.items()
        }
        if process_group.world_size > 1:
            for module in self.modules.values():
                share_batch_norm(module)
        self.generators = {name: self.modules[name] for name in self.generator_names}
        self.adversaries = {name: self.modules[name] for name in self.adversary_names}
        self.optimizers = {
            name: self._adam(self.parameters(*names), rate) for name, (names, rate) in self.updates().items()
        }
        self.loader = self.loader_of(data, experiment.seed)
        self.batch_size, self.steps_per_epoch = experiment.batch_size, self.loader.steps_per_epoch
        self.sample_columns = experiment.sample_columns
        self.sample_steps, self.sample_seconds = experiment.cadence
        self._watch, self._diversity, self._seen = collapse_detector.CollapseDetector(), 1.0, 0

    def updates(self) -> dict[str, tuple[tuple[str, ...], float]]:
        """Of each optimizer, by its name, the modules that it updates and its learning rate."""
        return {
            "g": (self.generator_names, self.experiment.rate_g),
            "d": (self.adversary_names, self.experiment.rate_d),
        }

    def parameters(self, *names: str) -> list[nn.Parameter]:
        """The parameters of these modules, a shared one once."""
        return list({id(p): p for name in names for p in self.modules[name].parameters()}.values())

    def _adam(self, parameters: list[nn.Parameter], lr: float) -> Adam:
        return Adam(parameters, lr=lr, betas=(self.experiment.beta1, self.experiment.beta2), fused=True)

    def loader_of(self, data: ImageData, seed: int) -> BatchLoader:
        """Batches of `data`, of the definition's size and mirroring, this rank's share of each."""
        experiment, process_group = self.experiment, self.context.process_group
        return BatchLoader(
            data.images,
            data.labels if self.labelled else None,
            batch_size=experiment.batch_size,
            seed=seed,
            device=process_group.device,
            flip=experiment.flip,
            rank=process_group.rank,
            world_size=process_group.world_size,
        )

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float in [-1, 1] on the device."""
        return images.to(self.context.device).float() / 127.5 - 1

    # -- training -------------------------------------------------------------------------------------------------------

    def wrap(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Steps call the networks themselves, or what the compiler made of them: see the top of this file."""
        del wrap
        self.context.process_group.share_weights(self.modules.values())
        self.wrapped = dict(self.modules)
        # Not by itself (auto): a generator's step would then compute gradients of the adversary's weights, only to drop them.
        if self.experiment.compile == "on" and compiling.wanted(self.experiment, self.context.device, self.compilable):
            names = [n for n in (*self.generator_names, *self.adversary_names) if n not in self.uncompiled]
            self.wrapped |= {name: compiling.compiled(self.modules[name]) for name in names}

    def draws(self, epoch: int, step: int) -> StepRandom:
        """The random numbers of one step."""
        number = epoch * self.steps_per_epoch + step
        return StepRandom(self.experiment.seed, number, self.experiment.batch_size, self.context.process_group)

    def images(self, epoch: int, step: int, draws: StepRandom) -> Tensor:
        """Batch `step` of `epoch` as the loader numbers them, augmented: [B, C, H, W] in [-1, 1]."""
        images, _ = self.loader.batch(epoch, step)
        return self.augmented(images, draws)

    def augmented(self, images: Tensor, draws: StepRandom) -> Tensor:
        """`images` [B, C, H, W] in [-1, 1], turned, enlarged and recoloured as the definition has it."""
        if self.experiment.affine:
            degrees, most = self.experiment.affine
            angles, scales = (draws.uniform() * 2 - 1) * math.radians(degrees), 1 + draws.uniform() * (most - 1)
            images = augment.affine(images, angles, scales)
        if self.experiment.hue:
            images = augment.hue(images, (draws.uniform() * 2 - 1) * 2 * math.pi * self.experiment.hue)
        return images

    def train_mode(self) -> None:
        for module in self.modules.values():
            module.train()

    def autocast(self) -> Any:
        return self.context.autocast(self.experiment.precision)

    def descend(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """One update of `parameters` by their gradients, averaged over the ranks."""
        with self.context.phase("optimizer"):
            self.context.process_group.average_gradients(parameters)
            optimizer.step()

    def update_generator(self, fakes: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Update the generators by the loss of the pictures `fakes` that they made. Returns the loss.

        The gradient is first taken with respect to the pictures alone, so that the adversary receives none of it, not even where
        it shares weights with a generator.
        """
        pictures = fakes.detach().requires_grad_()
        with self.context.phase("forward"), self.autocast():
            loss = loss_of(pictures)
        with self.context.phase("backward"):
            (pull,) = torch.autograd.grad(loss, pictures)
            self.optimizers["g"].zero_grad(set_to_none=True)
            self.pull(fakes, pull)
        self.descend(self.optimizers["g"], self.parameters(*self.generator_names))
        return loss.detach()

    def pull(self, fakes: Tensor, slope: Tensor) -> None:
        """Give the generators' parameters their gradients, from the loss's `slope` at the pictures `fakes`."""
        fakes.backward(slope)

    def schedule(self, progress: float) -> dict[str, float]:
        del progress
        return {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    # -- evaluation and the watch -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """The figures of `evaluation_figures`; those named diversity are watched."""
        del final  # What costs more is in `measures`, after the clock is stopped.
        for module in self.modules.values():
            module.eval()
        figures = {name: value for name, value in self.evaluation_figures().items() if value is not None}
        # Ranks may round differently, and all must come to the same conclusions.
        process_group = self.context.process_group
        sums = process_group.agree([float(value) for value in figures.values()])
        means = {name: value / process_group.world_size for name, value in zip(figures, sums, strict=True)}
        self._diversity = min((value for name, value in means.items() if name.startswith("diversity")), default=1.0)
        return means

    @abstractmethod
    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """The figures of an evaluation, in evaluation mode and without gradients; None for one that the images can't tell. `diversity`, or several that begin so: the deviation
        of a generator's pictures over real ones' (`ganhpc.train.gan.collapse_detector`)."""

    def end_epoch(self, figures: Mapping[str, float]) -> None:
        """Watch for a collapse: warn, and end the run where the definition asks for it."""
        self._seen += 1
        step = self._seen * self.steps_per_epoch
        wrong = self._watch.observe(step, self._diversity, figures.get("score_real"), figures.get("score_fake"))
        if wrong and self.experiment.stop_on_collapse:
            self.failure = wrong
        elif wrong:
            self.context.say(f"warning: {wrong} (--stop-on-collapse ends such a run)")

    def batch_pictures(self) -> Tensor:
        return (self.images(0, 0, self.draws(0, 0)) + 1) / 2

    # -- what is kept -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def exported(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Of each generator that is of use by itself: the name of its kind (a key of `generator_io.kinds()`), and what its class was built
        with, as JSON values."""

    def exports(self) -> dict[str, Export]:
        return {
            name: Export(generator_io.definition(kind, arguments), self.modules[name])
            for name, (kind, arguments) in self.exported().items()
        }

    def state(self) -> dict[str, Any]:
        return {"watch": self._watch.state(), "epochs_seen": self._seen}

    def load_state(self, state: dict[str, Any]) -> None:
        self._watch.load(state["watch"])
        self._seen = content.count(state["epochs_seen"], "epochs_seen")

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        """Images, which adversaries and translating generators take."""
        del name
        return (torch.zeros(1, *self.context.data.shape, device=self.context.device),)


def side_of(experiment: Any, shape: tuple[int, int, int]) -> int:
    """The side of the images in pixels. Raises UserError where the data set's images are not those that were asked for."""
    _, height, width = shape
    if not height == width == experiment.image_size:
        raise UserError(
            f"--image-size {experiment.image_size}: the images of --data {experiment.data} have {width}x{height} pixels, and can't be had "
            f"in other sizes; type --image-size {height}."
        )
    return height
