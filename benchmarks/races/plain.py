"""Plain training steps as the descriptions have them: eager, fp32, the usual memory order, one pass of a network for each batch.

Each class takes copies of the networks of ours and makes one step a call, from the same inputs as our task's batches. It returns its losses
under our names, as tensors; programs that print every step fetch them every step (`logs`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Losses = dict[str, Tensor]


class Plain:
    """Networks, optimizers and one step."""

    logs = True
    """True if the program fetches its losses at every step."""

    def __init__(self, nets: Mapping[str, nn.Module], experiment: Any) -> None:
        self.nets, self.experiment = dict(nets), experiment
        for net in self.nets.values():
            net.train()
        self.begin()

    def begin(self) -> None:
        """Make the optimizers: Adam for generator and adversary, as a rule."""
        first, second = self.nets["generator"], self.adversary
        self.adam_g, self.adam_d = (
            self.adam([first], self.experiment.rate_g),
            self.adam([second], self.experiment.rate_d),
        )

    @property
    def adversary(self) -> nn.Module:
        return self.nets.get("discriminator") or self.nets["critic"]

    def adam(self, nets: list[nn.Module], lr: float) -> torch.optim.Optimizer:
        parameters = [p for net in nets for p in net.parameters()]
        return torch.optim.Adam(parameters, lr=lr, betas=(self.experiment.beta1, self.experiment.beta2))

    def step(self, batch: Any) -> Losses:
        """One step from a batch as the task's."""
        raise NotImplementedError


class Dcgan(Plain):
    """Week 13 of the internship notes, the PyTorch tutorial's order: D on real and on generated pictures, then G on the same ones.

    The label of real pictures is one draw a batch.
    """

    def step(self, batch: Any) -> Losses:
        images, z, label, _ = batch
        generator, discriminator, criterion = self.nets["generator"], self.adversary, nn.BCELoss()
        real = torch.full((len(images),), float(label), device=images.device)
        ones, zeros = torch.ones_like(real), torch.zeros_like(real)
        fakes = generator(z)
        self.adam_d.zero_grad()
        score_real = torch.sigmoid(discriminator(images))
        loss_d = criterion(score_real, real) + criterion(torch.sigmoid(discriminator(fakes.detach())), zeros)
        loss_d.backward()
        self.adam_d.step()
        self.adam_g.zero_grad()
        score_fake = torch.sigmoid(discriminator(fakes))
        loss_g = criterion(score_fake, ones)
        loss_g.backward()
        self.adam_g.step()
        return {"loss_d": loss_d, "loss_g": loss_g, "score_real": score_real.mean(), "score_fake": score_fake.mean()}


class Began(Plain):
    """Week 5 of the notes (Berthelot et al., 2017): G first, then D on both, then k."""

    def begin(self) -> None:
        super().begin()
        self.k = self.experiment.k_range[0]

    def step(self, batch: Any) -> Losses:
        images, z = batch
        generator, discriminator = self.nets["generator"], self.adversary
        self.adam_g.zero_grad()
        fakes = generator(z)
        loss_g = torch.mean(torch.abs(discriminator(fakes) - fakes))
        loss_g.backward()
        self.adam_g.step()
        self.adam_d.zero_grad()
        loss_real = torch.mean(torch.abs(discriminator(images) - images))
        fakes = fakes.detach()
        loss_fake = torch.mean(torch.abs(discriminator(fakes) - fakes))
        loss_d = loss_real - self.k * loss_fake
        loss_d.backward()
        self.adam_d.step()
        balance = (self.experiment.gamma * loss_real - loss_fake).item()
        low, high = self.experiment.k_range
        self.k = min(max(self.k + self.experiment.lambda_k * balance, low), high)
        return {"loss_d": loss_d, "loss_g": loss_g, "M": loss_real + abs(balance)}


class WganGp(Plain):
    """Gulrajani et al., 2017, algorithm 1: critic steps, each with a gradient penalty, then one step of G."""

    def step(self, batch: Any) -> Losses:
        rounds, z = batch
        generator, critic = self.nets["generator"], self.adversary
        losses = []
        for images, noise, alpha in rounds:
            self.adam_d.zero_grad()
            fakes = generator(noise).detach()
            loss = critic(fakes).mean() - critic(images).mean()
            between = (alpha * images + (1 - alpha) * fakes).requires_grad_()
            scores = critic(between)
            (slopes,) = torch.autograd.grad(
                scores, between, torch.ones_like(scores), create_graph=True, retain_graph=True
            )
            penalty = ((slopes.reshape(len(slopes), -1).norm(2, dim=1) - 1) ** 2).mean()
            loss = loss + self.experiment.penalty * penalty
            loss.backward()
            self.adam_d.step()
            losses.append(loss.detach())
        self.adam_g.zero_grad()
        loss_g = -critic(generator(z)).mean()
        loss_g.backward()
        self.adam_g.step()
        return {"loss_d": torch.stack(losses).mean(), "loss_g": loss_g}


class CycleGan(Plain):
    """Zhu et al., 2017, in the order of their text and section 4: both generators, then both discriminators on pools of 50 pictures."""

    logs = False

    def begin(self) -> None:
        self.adam_g = self.adam([self.nets["a2b"], self.nets["b2a"]], self.experiment.rate_g)
        self.adam_d = self.adam([self.nets["discriminator_a"], self.nets["discriminator_b"]], self.experiment.rate_d)
        self.pools: dict[str, list[Tensor]] = {"a": [], "b": []}

    def step(self, batch: Any) -> Losses:
        real_a, real_b = batch
        a2b, b2a = self.nets["a2b"], self.nets["b2a"]
        judges = {name: self.nets[f"discriminator_{name}"] for name in ("a", "b")}
        l1, cycle = nn.L1Loss(), self.experiment.lambda_cycle
        fake_b, fake_a = a2b(real_a), b2a(real_b)
        back_a, back_b = b2a(fake_b), a2b(fake_a)
        for net in judges.values():
            net.requires_grad_(False)
        self.adam_g.zero_grad()
        same_a, same_b = l1(b2a(real_a), real_a), l1(a2b(real_b), real_b)
        cycles = l1(back_a, real_a) + l1(back_b, real_b)
        fooled = _squares(judges["b"](fake_b), 1.0) + _squares(judges["a"](fake_a), 1.0)
        loss_g = fooled + cycle * cycles + cycle * self.experiment.lambda_identity * (same_a + same_b)
        loss_g.backward()
        self.adam_g.step()
        for net in judges.values():
            net.requires_grad_(True)
        self.adam_d.zero_grad()
        losses = {"loss_g": loss_g}
        for name, real, fake in (("a", real_a, fake_a), ("b", real_b, fake_b)):
            shown = self._from_pool(self.pools[name], fake.detach())
            loss = 0.5 * (_squares(judges[name](real), 1.0) + _squares(judges[name](shown), 0.0))
            loss.backward()
            losses[f"loss_d_{name}"] = loss
        self.adam_d.step()
        return losses

    def _from_pool(self, pool: list[Tensor], fakes: Tensor) -> Tensor:
        shown = []
        for fake in fakes:
            if len(pool) < self.experiment.pool:
                pool.append(fake)
                shown.append(fake)
            elif random.random() < 0.5:
                place = random.randrange(len(pool))
                shown.append(pool[place])
                pool[place] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)


def _squares(scores: Tensor, target: float) -> Tensor:
    return F.mse_loss(scores, torch.full_like(scores, target))


class BigGan(Plain):
    """Brock et al., 2019: hinge losses, fresh classes at each step of D, an average of G's weights after each step."""

    logs = False

    def begin(self) -> None:
        super().begin()
        self.average = {name: value.clone() for name, value in self.nets["generator"].state_dict().items()}

    def step(self, batch: Any) -> Losses:
        rounds, z, y = batch
        generator, discriminator = self.nets["generator"], self.adversary
        generator.requires_grad_(False)
        discriminator.requires_grad_(True)
        losses = []
        for images, labels, noise, drawn in rounds:
            self.adam_d.zero_grad()
            with torch.no_grad():
                fakes = generator(noise, drawn)
            scores = discriminator(torch.cat([images, fakes]), torch.cat([labels, drawn]))
            real, fake = torch.split(scores, [len(images), len(fakes)])
            loss = torch.mean(F.relu(1.0 - real)) + torch.mean(F.relu(1.0 + fake))
            loss.backward()
            self.adam_d.step()
            losses.append(loss.detach())
        generator.requires_grad_(True)
        discriminator.requires_grad_(False)
        self.adam_g.zero_grad()
        loss_g = -torch.mean(discriminator(generator(z, y), y))
        loss_g.backward()
        self.adam_g.step()
        with torch.no_grad():
            for name, value in generator.state_dict().items():
                self.average[name].copy_(self.average[name] * 0.9999 + value * (1 - 0.9999))
        return {"loss_d": torch.stack(losses).mean(), "loss_g": loss_g}


class Course(Plain):
    """The course's network in the manner of torchvision's references/classification: SGD, cross-entropy, loss and accuracy logged each step."""

    def begin(self) -> None:
        self.sgd = torch.optim.SGD(self.nets["net"].parameters(), self.experiment.lr, self.experiment.momentum)

    def step(self, batch: Any) -> Losses:
        images, labels = batch
        output = self.nets["net"](images)
        loss = nn.functional.cross_entropy(output, labels)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        return {"loss": loss, "accuracy": (output.argmax(1) == labels).float().mean()}


STEPS: dict[str, Callable[..., Plain]] = {
    "dcgan": Dcgan,
    "began": Began,
    "wgan-gp": WganGp,
    "cyclegan": CycleGan,
    "biggan": BigGan,
    "cifar": Course,
}
"""Experiment -> its plain step."""
