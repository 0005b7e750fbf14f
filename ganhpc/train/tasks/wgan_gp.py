"""WGAN-GP: a critic whose slope is held near 1, trained several times for each step of the generator.

Gulrajani et al., "Improved training of Wasserstein GANs", 2017, algorithm 1 and equation 3:

    L_C = mean C(G(z)) - mean C(x) + lambda mean (|grad C(x')| - 1)^2    x' = alpha x + (1 - alpha) G(z), one alpha an image
    L_G = - mean C(G(z))

Each critic step has images, latent vectors and alphas of its own. The penalty is computed in single precision whatever the rest is in:
its gradient differentiates a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganhpc.datasets import batch_sizes
from ganhpc.runs.experiment import Experiment
from ganhpc.train.gan.generator_io import kinds
from ganhpc.train.nets import wgan_gp
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.latent_gan import LatentGan
from ganhpc.train.tasks.task import Context, Task


class Round(NamedTuple):
    """Batch of one critic step: images [B, C, H, W], latent vectors [B, latent_dim], alphas [B, 1, 1, 1]."""

    images: Tensor
    z: Tensor
    alpha: Tensor


Batch = tuple[list[Round], Tensor]


class WganGp(LatentGan):
    """Reads of the definition, beside what `LatentGan` reads: generator, latent_dim, base_channels, depth, image_size, critic_steps,
    penalty, decay."""

    headline = "wasserstein"
    adversary_names = ("critic",)
    uncompiled = ("critic",)

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module], net: str) -> None:
        super().__init__(experiment, context, networks, net)
        self._rounds = experiment.critic_steps
        self.steps_per_epoch = self.loader.steps_per_epoch // self._rounds
        self.batch_size = experiment.batch_size * self._rounds
        batch_sizes.check(len(context.data.images), experiment.batch_size, self._rounds)

    def schedule(self, progress: float) -> dict[str, float]:
        """The definition's rates; with `decay`, they fall linearly to zero from the middle of the run on."""
        if self.experiment.decay:
            left = min(1.0, max(0.0, 2 * (1 - progress)))
            for name, rate in (("g", self.experiment.rate_g), ("d", self.experiment.rate_d)):
                for group in self.optimizers[name].param_groups:
                    group["lr"] = rate * left
        return super().schedule(progress)

    def batch(self, epoch: int, step: int) -> Batch:
        """One round for each critic step, and the generator's latent vectors [B, latent_dim]."""
        draws = self.draws(epoch, step)
        rounds = [
            Round(
                self.images(epoch, step * self._rounds + k, draws),
                draws.normal(self.latent_dim),
                draws.uniform()[:, None, None, None],
            )
            for k in range(self._rounds)
        ]
        return rounds, draws.normal(self.latent_dim)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        rounds, z = batch
        self.train_mode()
        figures = torch.stack([self._update_critic(each) for each in rounds]).mean(0)
        with self.context.phase("forward"), self.autocast():
            fakes = self.wrapped["generator"](z)
        loss_g = self.update_generator(fakes, lambda pictures: -self.wrapped["critic"](pictures).float().mean())
        names = ("loss_d", "loss_real", "loss_fake", "penalty")
        return {**dict(zip(names, figures, strict=True)), "loss_g": loss_g}

    def _update_critic(self, given: Round) -> Tensor:
        """[4]: the critic's loss before the update, and its parts: real images, generated ones, penalty (without its weight)."""
        critic, optimizer = self.wrapped["critic"], self.optimizers["d"]
        with self.context.phase("forward"):
            with torch.no_grad(), self.autocast():
                fakes = self.wrapped["generator"](given.z).float()
            with self.autocast():
                # The critic has no batch normalisation: one pass serves both batches.
                real_scores, fake_scores = critic(torch.cat([given.images, fakes])).float().chunk(2)
            loss_real, loss_fake = -real_scores.mean(), fake_scores.mean()
            penalty = _gradient_penalty(critic, torch.lerp(fakes, given.images.float(), given.alpha))
            loss = loss_real + loss_fake + self.experiment.penalty * penalty
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        self.descend(optimizer, self.adversary.parameters())
        return torch.stack([loss, loss_real, loss_fake, penalty]).detach()

    def words(self, means: Mapping[str, float]) -> str:
        """As the course's notebook prints it: D's loss, of real and of generated images, the gradient's penalty; G's loss."""
        return (
            f"[D loss: ({means['loss_d']:.1f})(R {means['loss_real']:.1f}, F {means['loss_fake']:.1f}, G {means['penalty']:.1f})] "
            f"[G loss: {means['loss_g']:.1f}]"
        )

    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """Distance between the critic's mean scores of held-out and of generated images: an estimate of the Wasserstein distance,
        as far as the critic's slope is 1."""
        return {"wasserstein": self.adversary(real).float().mean() - self.adversary(fakes).float().mean()}

    def arguments(self) -> dict[str, Any]:
        return _generator_arguments(self.experiment, self.context.data.shape)


def _gradient_penalty(critic: nn.Module, points: Tensor) -> Tensor:
    """mean (|grad C| - 1)^2 at `points` [B, C, H, W], in single precision."""
    points = points.detach().float().requires_grad_()
    with torch.autocast(points.device.type, enabled=False):
        (slopes,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1).square().mean()


def _sizes(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {"image_size": side_of(experiment, shape), "channels": shape[0]}


def _depths(experiment: Any) -> dict[str, Any]:
    return {"base_channels": experiment.base_channels, "depth": experiment.depth}


def _generator_arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    own = _depths(experiment) if experiment.generator == "conv" else {}
    return _sizes(experiment, shape) | own | {"latent_dim": experiment.latent_dim}


_KEYS = {"conv": "wgan-gp", "strips": "strips"}
"""--generator: its key in `generator_io.kinds()`."""


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator and the critic of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    kind = kinds()[_KEYS[experiment.generator]]
    return {
        "generator": kind(**_generator_arguments(experiment, shape)),
        "critic": wgan_gp.Critic(**_sizes(experiment, shape), **_depths(experiment)),
    }


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed."""
    torch.manual_seed(experiment.seed)
    name = _KEYS[experiment.generator]  # type: ignore[attr-defined]
    return WganGp(experiment, context, networks(experiment, context.data.shape), name)
