"""BigGAN: a conditional generator against a discriminator that is asked whether an image is real and of its class.

Brock et al., "Large scale GAN training for high fidelity natural image synthesis", 2019, with the order of updates of its authors' code:

    L_D = mean max(0, 1 - D(x, y)) + mean max(0, 1 + D(G(z, y'), y'))     L_G = - mean D(G(z, y'), y')

Each discriminator step has images, latent vectors and random classes of its own, and sees real and generated images in one pass; then the
generator takes one step, and the average of its weights and statistics follows. What is looked at, drawn and exported is the average.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.datasets import batch_sizes, class_names
from ganhpc.datasets.types import ImageData
from ganhpc.runs.experiment import Experiment
from ganhpc.train.gan import class_measures, collapse_detector, generator_io, weight_averages
from ganhpc.train.gan.similarity import share
from ganhpc.train.nets import biggan
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks.gan_base import HELD_OUT, side_of
from ganhpc.train.tasks.latent_gan import LatentGan
from ganhpc.train.tasks.task import Context, Export, Task

_AVERAGE = "average"
_WATCHED = 192
"""Pictures of the average, from fixed latent vectors and of all classes in turn, that every evaluation looks at."""
_WORSE = 1.5
"""At its end, a run whose thumbnails are so many times as far from real ones as they were at best has collapsed since."""


class Round(NamedTuple):
    """Batch of one discriminator step: images [B, C, H, W] and their classes [B], latent vectors [B, latent_dim] and theirs [B]."""

    images: Tensor
    labels: Tensor
    z: Tensor
    y: Tensor


Batch = tuple[list[Round], Tensor, Tensor]


class BigGan(LatentGan):
    """Reads of the definition, beside what `Gan` reads: latent_dim, base_channels, image_size, shared, hierarchical, attention, init,
    critic_steps, ortho, ema_half_life, ema_start, standing, keep_best, classes, distance_images."""

    headline = "thumbnail_distance"
    labelled = True
    auxiliary = frozenset({_AVERAGE})

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module]) -> None:
        average = copy.deepcopy(networks["generator"]).requires_grad_(False)
        super().__init__(experiment, context, {**networks, _AVERAGE: average}, "biggan")
        data = context.data
        self._classes, self._rounds = len(data.classes), experiment.critic_steps
        self.steps_per_epoch = self.loader.steps_per_epoch // self._rounds
        self.batch_size = experiment.batch_size * self._rounds
        batch_sizes.check(len(data.images), experiment.batch_size, self._rounds)
        self._steps_made = 0
        self._best: dict[str, Any] = {}
        self._fallen = False
        self.average = self.modules[_AVERAGE]
        self._fixed = generator_io.latents(_WATCHED, self.latent_dim, experiment.seed).to(context.device)
        self._fixed_y = (torch.arange(_WATCHED) % self._classes).to(context.device)
        assert data.labels is not None
        real = self.normalised(data.images[: 4 * HELD_OUT]).cpu()
        self._thumbnails = class_measures.thumbnails(real)
        self._real_within = class_measures.within_classes(real, data.labels[: 4 * HELD_OUT])

    # -- a step -----------------------------------------------------------------------------------------------------------

    def batch(self, epoch: int, step: int) -> Batch:
        """One round for each discriminator step, and the generator's latent vectors [B, latent_dim] and classes [B]."""
        draws = self.draws(epoch, step)
        rounds = []
        for k in range(self._rounds):
            images, labels = self.loader.batch(epoch, step * self._rounds + k)
            assert labels is not None
            rounds.append(
                Round(self.augmented(images, draws), labels, draws.normal(self.latent_dim), self._any_class(draws))
            )
        return rounds, draws.normal(self.latent_dim), self._any_class(draws)

    def _any_class(self, draws: StepRandom) -> Tensor:
        """Random classes [B], all alike."""
        return (draws.uniform() * self._classes).long().clamp(max=self._classes - 1)

    def batch_pictures(self) -> Tensor:
        images, _ = self.loader.batch(0, 0)
        return (self.augmented(images, self.draws(0, 0)) + 1) / 2

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        rounds, z, y = batch
        self.train_mode()
        figures = torch.stack([self._update_discriminator(each) for each in rounds]).mean(0)
        with self.context.phase("forward"), self.autocast():
            fakes = self.wrapped["generator"](z, y)
        loss_g = self.update_generator(
            fakes, lambda pictures: -self.wrapped["discriminator"](pictures, y).float().mean()
        )
        with self.context.phase("optimizer"):
            self._follow()
        return {**dict(zip(("loss_d", "loss_real", "loss_fake"), figures, strict=True)), "loss_g": loss_g}

    def _update_discriminator(self, given: Round) -> Tensor:
        """[3]: its loss before the update, and its mean scores of real and of generated images."""
        net, optimizer = self.wrapped["discriminator"], self.optimizers["d"]
        with self.context.phase("forward"), self.autocast():
            with torch.no_grad():
                fakes = self.wrapped["generator"](given.z, given.y).float()
            # In one pass, so that the power iterations go on by one.
            scores = net(torch.cat([given.images, fakes]), torch.cat([given.labels, given.y])).float()
            real, fake = scores.chunk(2)
            loss = hinge(real, fake)
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        self.descend(optimizer, self.adversary.parameters())
        return torch.stack([loss, real.mean(), fake.mean()]).detach()

    def descend(self, optimizer: Any, parameters: Any) -> None:
        if self.experiment.ortho and optimizer is self.optimizers["g"]:
            table = getattr(self.generator, "embedding", None)
            weight_averages.add_orthogonal_gradient(
                self.generator, self.experiment.ortho, without=() if table is None else (table.weight,)
            )
        super().descend(optimizer, parameters)

    def _follow(self) -> None:
        """Let the average follow the generator."""
        self._steps_made += 1
        decay = 0.0
        if self._steps_made > self.experiment.ema_start:
            seen = self._steps_made * self.experiment.batch_size
            decay = weight_averages.decay_of(self.experiment.ema_half_life, self.experiment.batch_size, seen)
        weight_averages.update(self.average, self.generator, decay)

    # -- looking ----------------------------------------------------------------------------------------------------------

    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """Of pictures of the average: how far their thumbnails are from training images', and their diversity over all and within
        classes, over training images'; D's mean scores of held-out and of generated ones."""
        fakes = torch.cat(
            [self.average(z, y) for z, y in zip(self._fixed.split(64), self._fixed_y.split(64), strict=True)]
        )
        labels = self.context.data.test_labels
        assert labels is not None
        real, known = self._held_out, labels[:HELD_OUT].to(self.context.device)
        net = self.adversary
        return {
            "thumbnail_distance": class_measures.moments_distance(self._thumbnails, class_measures.thumbnails(fakes)),
            "diversity": share(collapse_detector.spread(fakes), self._real_spread),
            "diversity_within": share(
                class_measures.within_classes(fakes.cpu(), self._fixed_y.cpu()), self._real_within
            ),
            "held_out_score": net(real, known).float().mean(),
            "fake_score": net(fakes, self._fixed_y).float().mean(),
        }

    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """Nothing: `evaluation_figures` tells all."""
        del real, fakes
        return {}

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """As in `Gan`; the average that is best so far is kept, and taken at the end where the run has collapsed since."""
        figures = super().evaluate(final=final)
        distance, best = figures["thumbnail_distance"], self._best.get("distance")
        if best is None or not best <= distance:
            self._best = {"distance": distance, "step": self._steps_made, "state": weight_averages.copied(self.average)}
        elif final and self.experiment.keep_best and distance > _WORSE * best:
            self._fallen = True
            self.context.say(
                f"the run has collapsed since step {self._best['step']:,} (thumbnail distance {best:.4g} then, {distance:.4g} now): that "
                "average is the result (--keep-best no takes the last one)"
            )
        if final:
            figures["average_step"] = self._best["step"] if self._fallen else self._steps_made
        return figures

    def samples(self) -> Tensor:
        """Rows of a class each, the first classes; the same latent vectors in all rows."""
        rows, columns = self.experiment.sample_rows, self.experiment.sample_columns
        z = generator_io.latents(columns, self.latent_dim, self.experiment.seed).repeat(rows, 1)
        y = (torch.arange(rows) % self._classes).repeat_interleave(columns)
        return generator_io.draw(self.average, z, y=y)

    def measures(self, seconds: float) -> dict[str, Any]:
        if not self.experiment.distance_images:
            return {}
        net = self._finished()
        return class_measures.measure(
            net,
            self.context.data,
            n=self.experiment.distance_images,
            seed=self.experiment.seed,
            standing=self.experiment.standing,
            seconds=seconds,
            say=self.context.say,
        )

    # -- what is kept -----------------------------------------------------------------------------------------------------

    def _finished(self) -> nn.Module:
        """The average as it is exported: by itself, so that one process can run it, with standing statistics where asked for."""
        net = biggan.Generator(**self.arguments()).to(self.context.device)
        net.load_state_dict(self._best["state"] if self._fallen else self.average.state_dict())
        net.requires_grad_(False).eval()
        if self.experiment.standing:
            net.running_statistics = weight_averages.copied(net)  # type: ignore[assignment]
            class_measures.give_standing(net, self.experiment.standing, self.experiment.seed)
        return net

    def exports(self) -> dict[str, Export]:
        about = generator_io.definition("biggan", self.arguments(), self.context.data.classes)
        return {_AVERAGE: Export(about, self._finished() if self._steps_made else self.average)}

    def weights(self) -> dict[str, Tensor]:
        averaged = self._best["state"] if self._fallen else self.average.state_dict()
        return super().weights() | {f"{_AVERAGE}.{name}": value for name, value in averaged.items()}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "steps": self._steps_made, "best": dict(self._best)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._steps_made = content.count(state["steps"], "steps")
        if state["best"]:
            best = content.same_names(state["best"], dict.fromkeys(("distance", "step", "state")), "best")
            content.like(best["distance"], 0.0, "best.distance")
            content.count(best["step"], "best.step", self._steps_made)
            content.like(best["state"], self.average.state_dict(), "best.state")
        self._best = dict(state["best"])

    def arguments(self) -> dict[str, Any]:
        return _generator_arguments(self.experiment, self.context.data.shape, self._classes)

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        first = torch.zeros(1, dtype=torch.long, device=self.context.device)
        return (*super().example_inputs("generator" if name == _AVERAGE else name), first)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss of its scores [B] of real and of generated images."""
    return (1 - real).relu().mean() + (1 + fake).relu().mean()


def _sizes(experiment: Any, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    return {
        "image_size": side_of(experiment, shape),
        "channels": shape[0],
        "base_channels": experiment.base_channels,
        "classes": classes,
        "attention": experiment.attention,
        "init": experiment.init,
    }


def _generator_arguments(experiment: Any, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    own = {"latent_dim": experiment.latent_dim, "shared": experiment.shared, "hierarchical": experiment.hierarchical}
    return _sizes(experiment, shape, classes) | own


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator and the discriminator of `experiment` for images of `shape` (channels, height, width), untrained.

    `classes`: number of them (0: it is not known here, and the definition says it). Raises UserError where neither tells.
    """
    del choices
    classes = classes or experiment.classes or 0
    if not classes:
        raise UserError(f"the number of classes of --data {experiment.data} is not known here: give --classes.")
    return {
        "generator": biggan.Generator(**_generator_arguments(experiment, shape, classes)),
        "discriminator": biggan.Discriminator(**_sizes(experiment, shape, classes)),
    }


def _refuse_unfit(experiment: Any, data: ImageData) -> None:
    if data.labels is None or data.test_labels is None or not data.classes:
        raise UserError(class_names.no_classes(experiment.data))
    class_names.check_number(experiment.classes, experiment.data, data.classes)


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed."""
    _refuse_unfit(experiment, context.data)
    torch.manual_seed(experiment.seed)
    return BigGan(experiment, context, networks(experiment, context.data.shape, len(context.data.classes)))
