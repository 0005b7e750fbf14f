"""The task of my-name: losses and the order of updates. `ganhpc.train.tasks.latent_gan.LatentGan` does what every GAN needs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.runs.experiment import Experiment
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.latent_gan import LatentGan
from ganhpc.train.tasks.task import Context, Task

from .my_name_nets import MyNameDiscriminator, MyNameGenerator


class MyName(LatentGan):
    """The loss that doesn't saturate (Goodfellow et al., 2014): first the discriminator, then the generator on the same pictures."""

    headline = "diversity"

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] in [-1, 1] and latent vectors [B, latent_dim]."""
        draws = self.draws(epoch, step)
        return self.images(epoch, step, draws), draws.normal(self.latent_dim)

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, z = batch
        self.train_mode()
        net, optimizer = self.wrapped["discriminator"], self.optimizers["d"]
        with self.context.phase("forward"), self.autocast():
            fakes = self.wrapped["generator"](z)
            real_logits, fake_logits = net(images).float(), net(fakes.detach()).float()
            loss_d = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss_d.backward()
        self.descend(optimizer, self.adversary.parameters())
        loss_g = self.update_generator(fakes, lambda pictures: F.softplus(-net(pictures).float()).mean())
        scores = {
            "score_real": real_logits.detach().sigmoid().mean(),
            "score_fake": fake_logits.detach().sigmoid().mean(),
        }
        return {"loss_d": loss_d.detach(), "loss_g": loss_g, **scores}

    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """The mean scores of held-out images and of generated ones."""
        held_out_score, fake_score = (self.adversary(images).float().sigmoid().mean() for images in (real, fakes))
        return {"held_out_score": held_out_score, "fake_score": fake_score}

    def arguments(self) -> dict[str, Any]:
        """The arguments with which the generator is built again."""
        return _sizes(self.experiment, self.context.data.shape) | {"latent_dim": self.experiment.latent_dim}


def _sizes(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    side = side_of(experiment, shape)
    return {"image_size": side, "channels": shape[0], "base_channels": experiment.base_channels}


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator and the discriminator of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    sizes = _sizes(experiment, shape)
    return {
        "generator": MyNameGenerator(**sizes, latent_dim=experiment.latent_dim),
        "discriminator": MyNameDiscriminator(**sizes),
    }


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed."""
    torch.manual_seed(experiment.seed)
    return MyName(experiment, context, networks(experiment, context.data.shape), "my-name")
