"""BEGAN: an auto-encoder as discriminator, kept in balance with the generator by k.

Berthelot, Schumm and Metz, "BEGAN: Boundary equilibrium generative adversarial networks", 2017, section 3.3, with L(v) the mean absolute
error of the auto-encoder's reconstruction of v:

    L_G = L(G(z))    L_D = L(x) - k L(G(z))    k <- clip(k + lambda (gamma L(x) - L(G(z))))    M = L(x) + |gamma L(x) - L(G(z))|

The generator first, then the discriminator on the same generated images, as the internship notes of week 5 do; where M's mean over some
epochs has stopped to fall, the learning rates are lowered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ganhpc.runs.experiment import Experiment
from ganhpc.train.nets import began
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.latent_gan import LatentGan
from ganhpc.train.tasks.task import Context, Task

Batch = tuple[Tensor, Tensor]
_OF_A_STALL = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
"""Entries of a plateau's state that every version of torch has."""


class Began(LatentGan):
    """Reads of the definition, beside what `LatentGan` reads: net, activation, latent_dim, base_channels, image_size, gamma, lambda_k,
    k_range, stall_epochs, stall_factor."""

    headline = "convergence"

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module], net: str) -> None:
        super().__init__(experiment, context, networks, net)
        # Added to in steps of a thousandth of a loss: in double precision, as the notes' code has it.
        self.k = torch.tensor(experiment.k_range[0], dtype=torch.float64, device=context.device)
        self._stall = [
            ReduceLROnPlateau(optimizer, factor=experiment.stall_factor, patience=0)
            for optimizer in self.optimizers.values()
        ]
        self._measures: list[float] = []

    def batch(self, epoch: int, step: int) -> Batch:
        """Images [B, C, H, W] and latent vectors [B, latent_dim]."""
        draws = self.draws(epoch, step)
        return self.images(epoch, step, draws), draws.normal(self.latent_dim)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        images, z = batch
        self.train_mode()
        with self.context.phase("forward"), self.autocast():
            fakes = self.wrapped["generator"](z)
        loss_g = self.update_generator(fakes, self._error)
        loss_d, loss_real, loss_fake = self._update_discriminator(images, fakes.detach())
        balance, measure = self._balance(loss_real, loss_fake)
        low, high = self.experiment.k_range
        k = self.k
        self.k = (k + self.experiment.lambda_k * balance).clamp(low, high)
        return {
            "loss_d": loss_d,
            "loss_g": loss_g,
            "loss_real": loss_real,
            "loss_fake": loss_fake,
            "k": self.k,
            "M": measure,
        }

    def _error(self, images: Tensor) -> Tensor:
        return self.error_of(self.wrapped["discriminator"], images)

    def error_of(self, net: nn.Module, images: Tensor) -> Tensor:
        """L of `images`: the mean absolute error of their reconstructions by the auto-encoder `net`."""
        return (net(images).float() - images.float()).abs().mean()

    def _update_discriminator(self, images: Tensor, fakes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(L_D, L(x), L(G(z))) before the update, the last two averaged over the ranks."""
        optimizer = self.optimizers["d"]
        with self.context.phase("forward"), self.autocast():
            loss_real, loss_fake = self._error(images), self._error(fakes)
            loss = loss_real - self.k.float() * loss_fake
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        self.descend(optimizer, self.adversary.parameters())
        both = self.context.process_group.mean(torch.stack([loss_real, loss_fake]).detach())
        return loss.detach(), both[0], both[1]

    def _balance(self, loss_real: Tensor, loss_fake: Tensor) -> tuple[Tensor, Tensor]:
        """(gamma L(x) - L(G(z)), M)."""
        balance = self.experiment.gamma * loss_real - loss_fake
        return balance, loss_real + balance.abs()

    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """M of held-out images and generated ones."""
        errors = [self.error_of(self.adversary, images) for images in (real, fakes)]
        return {"convergence": self._balance(*errors)[1]}

    def end_epoch(self, figures: Mapping[str, float]) -> None:
        """Lower the learning rates where M's mean over `stall_epochs` is no better than the best so far."""
        super().end_epoch(figures)
        if not self.experiment.stall_epochs:
            return
        self._measures.append(figures["M"])
        if len(self._measures) == self.experiment.stall_epochs:
            mean = sum(self._measures) / len(self._measures)
            self._measures = []
            for stall in self._stall:
                stall.step(mean)

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "k": self.k,
            "stall": [s.state_dict() for s in self._stall],
            "M": list(self._measures),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.k = content.scalars({"k": state["k"]}, "balance")["k"].to(self.k.device)
        for stall, saved in zip(self._stall, state["stall"], strict=True):
            # Of what another version of torch keeps there, what this one has.
            known = {name: value for name, value in stall.state_dict().items() if name in saved or name in _OF_A_STALL}
            kept = {name: saved[name] for name in known}
            content.like(kept, known, "stall")
            stall.load_state_dict(kept)
        self._measures = [content.amount(value, "M") for value in state["M"]]

    def arguments(self) -> dict[str, Any]:
        return generator_arguments(self.experiment, self.context.data.shape)


def generator_arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Arguments of the generator's class: JSON values."""
    return {
        "image_size": side_of(experiment, shape),
        "channels": shape[0],
        "latent_dim": experiment.latent_dim,
        "base_channels": experiment.base_channels,
        "activation": experiment.activation,
        "variant": experiment.net,
    }


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The generator and the discriminator of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    made, discriminator = began.build(**generator_arguments(experiment, shape))
    return {"generator": made, "discriminator": discriminator}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed."""
    torch.manual_seed(experiment.seed)
    return Began(experiment, context, networks(experiment, context.data.shape), "began")
