"""What all GANs share: data in [-1, 1], optimizers, ranks, fixed latent vectors, samples, the watch, the export, the measures.

A GAN derives from `Gan` and brings its losses and the order of its updates. How ranks stay equal: every rank starts from the same
weights and draws the whole batch's random numbers, of which it uses its share; batch normalisation is over all ranks' images;
`descend` averages gradients over the ranks by hand, since DistributedDataParallel does not take several forward passes under batch
normalisation, gradients of gradients, or a network that is part of another. So any number of ranks trains like one process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganhpc import collapse, compiling, gan_measures, generator
from ganhpc.data import augment
from ganhpc.data.loader import BatchLoader
from ganhpc.draws import Draws
from ganhpc.errors import UserError
from ganhpc.nets.shared_norm import share_batch_norm
from ganhpc.tasks.base import Context, Export, Task

WATCHED = 64
"""Pictures, from fixed latent vectors, that every evaluation looks at."""
HELD_OUT = 256
"""Held-out images that every evaluation looks at, at most."""


class Gan(Task):
    """A generator and its adversary.

    The definition's fields that it reads: lr, lr_g, lr_d, beta1, beta2, batch_size, flip, affine, hue, seed, precision, compile, sample_rows,
    sample_columns, cadence, stop_on_collapse, measure_images, distance_images.
    """

    adversary_name = "discriminator"
    compilable = True
    compiled: tuple[str, ...] = ("generator", "discriminator")
    """The networks that torch.compile takes: not one whose gradient is itself differentiated."""

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module], net: str) -> None:
        self.experiment, self.context = experiment, context
        data, peers = context.data, context.peers
        self._lines = experiment.data == "lines"
        self.headline = "valid" if self._lines else self.headline
        # The batches' own order; 3 to 8 % quicker than the other one on a CPU, too.
        self.modules = {
            name: module.to(peers.device).to(memory_format=torch.channels_last) for name, module in networks.items()
        }
        if peers.world_size > 1:
            for module in self.modules.values():
                share_batch_norm(module)
        self.generator, self.adversary = self.modules["generator"], self.modules[self.adversary_name]
        self.latent_dim = int(self.generator.latent_dim)  # type: ignore[arg-type]
        self.optimizers = {
            "g": self._adam(self.generator, experiment.rate_g),
            "d": self._adam(self.adversary, experiment.rate_d),
        }
        self.loader = BatchLoader(
            data.images, None, batch_size=experiment.batch_size, seed=experiment.seed, device=peers.device, flip=experiment.flip,
            rank=peers.rank, world_size=peers.world_size,
        )  # fmt: skip
        self.batch_size, self.steps_per_epoch = experiment.batch_size, self.loader.steps_per_epoch
        self.sample_columns = experiment.sample_columns
        self.sample_steps, self.sample_seconds = experiment.cadence
        self._net = net
        self._watch, self._diversity, self._seen = collapse.Watch(), 0.0, 0
        self._held_out = self._normalised(data.test_images[:HELD_OUT])
        self._real_spread = max(collapse.spread(data.images[:HELD_OUT].float() / 127.5), 1e-9)
        self._fixed = generator.latents(WATCHED, self.latent_dim, experiment.seed).to(peers.device)

    def _adam(self, module: nn.Module, lr: float) -> Adam:
        betas = (self.experiment.beta1, self.experiment.beta2)
        return Adam(module.parameters(), lr=lr, betas=betas, fused=True)

    def _normalised(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float in [-1, 1] on the device."""
        return images.to(self.context.device).float() / 127.5 - 1

    # -- training -------------------------------------------------------------------------------------------------------

    def wrap(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Steps call the networks themselves, or what the compiler made of them: see the top of this file."""
        del wrap
        self.context.peers.share_weights(self.modules.values())
        self.wrapped = dict(self.modules)
        # Not by itself (auto): a generator's step would then compute gradients of the adversary's weights, only to drop them.
        if self.experiment.compile == "on" and compiling.wanted(self.experiment, self.context.device, self.compilable):
            self.wrapped |= {name: compiling.compiled(self.modules[name]) for name in self.compiled}

    def draws(self, epoch: int, step: int) -> Draws:
        """The random numbers of one step."""
        number = epoch * self.steps_per_epoch + step
        return Draws(self.experiment.seed, number, self.experiment.batch_size, self.context.peers)

    def images(self, epoch: int, step: int, draws: Draws) -> Tensor:
        """Batch `step` of `epoch` as the loader numbers them, augmented: [B, C, H, W] in [-1, 1]."""
        images, _ = self.loader.batch(epoch, step)
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
            self.context.peers.average_gradients(parameters)
            optimizer.step()

    def update_generator(self, fakes: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Update the generator by the loss of the pictures `fakes` that it made. Returns the loss.

        The gradient is first taken with respect to the pictures alone, so that the adversary receives none of it, not even where
        it shares weights with the generator.
        """
        pictures = fakes.detach().requires_grad_()
        with self.context.phase("forward"), self.autocast():
            loss = loss_of(pictures)
        with self.context.phase("backward"):
            (pull,) = torch.autograd.grad(loss, pictures)
            self.optimizers["g"].zero_grad(set_to_none=True)
            fakes.backward(pull)
        self.descend(self.optimizers["g"], self.generator.parameters())
        return loss.detach()

    def schedule(self, progress: float) -> dict[str, float]:
        del progress
        return {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    # -- evaluation and the watch -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """diversity (see `ganhpc.collapse`) of pictures from fixed latent vectors, the GAN's own figures on held-out images, and for
        lines the share of pictures that are valid."""
        del final  # What costs more is in `measures`, after the clock is stopped.
        for module in self.modules.values():
            module.eval()
        fakes = self.generator(self._fixed)
        figures: dict[str, float | Tensor] = {
            "diversity": collapse.spread(fakes) / self._real_spread,
            **self.held_out(self._held_out, fakes),
        }
        if self._lines:
            figures["valid"] = gan_measures.valid_lines(fakes)
        # Ranks may round differently, and all must come to the same conclusions.
        peers = self.context.peers
        sums = peers.agree([float(value) for value in figures.values()])
        means = {name: value / peers.world_size for name, value in zip(figures, sums, strict=True)}
        self._diversity = means["diversity"]
        return means

    @abstractmethod
    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """The GAN's own figures on held-out images and on generated ones, both [N, C, H, W] in [-1, 1], in evaluation mode."""

    def end_epoch(self, figures: Mapping[str, float]) -> None:
        """Watch for a collapse: warn, and end the run where the definition asks for it."""
        self._seen += 1
        step = self._seen * self.steps_per_epoch
        wrong = self._watch.observe(step, self._diversity, figures.get("score_real"), figures.get("score_fake"))
        if wrong and self.experiment.stop_on_collapse:
            self.failure = wrong
        elif wrong:
            self.context.say(f"warning: {wrong} (--stop-on-collapse ends such a run)")

    def samples(self) -> Tensor:
        n = self.experiment.sample_rows * self.experiment.sample_columns
        z = generator.latents(n, self.latent_dim, self.experiment.seed)
        return generator.draw(self.generator, z)

    def batch_pictures(self) -> Tensor:
        return (self.images(0, 0, self.draws(0, 0)) + 1) / 2

    def measures(self, seconds: float) -> dict[str, Any]:
        return gan_measures.measure(
            self.generator, self.context.data, self.experiment.seed, lines=self._lines * self.experiment.measure_images,
            distance=self.experiment.distance_images, seconds=seconds, say=self.context.say,
        )  # fmt: skip

    # -- what is kept -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the generator's class was built with: JSON values."""

    def exports(self) -> dict[str, Export]:
        return {"generator": Export(generator.definition(self._net, self.arguments()), self.generator)}

    def state(self) -> dict[str, Any]:
        return {"watch": self._watch.state(), "epochs_seen": self._seen}

    def load_state(self, state: dict[str, Any]) -> None:
        self._watch.load(state["watch"])
        self._seen = state["epochs_seen"]

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        shape = (self.latent_dim,) if name == "generator" else self.context.data.shape
        return (torch.zeros(1, *shape, device=self.context.device),)


def side_of(experiment: Any, shape: tuple[int, int, int]) -> int:
    """The side of the images in pixels. Raises UserError where the data set's images are not those that were asked for."""
    _, height, width = shape
    if not height == width == experiment.image_size:
        raise UserError(
            f"--image-size {experiment.image_size}: the images of --data {experiment.data} have {width}x{height} pixels, and can't be had "
            f"in other sizes; type --image-size {height}."
        )
    return height
