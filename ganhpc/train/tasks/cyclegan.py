"""CycleGAN: two generators that translate between unpaired sets, each judged by a discriminator of its target set.

Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", 2017, with the order, the weights and the
schedule of its authors' code. LS is mean (D(.) - t)^2 over the map of patches, | | the mean absolute error:

    L_G = LS(D_b(a2b(a)), 1) + LS(D_a(b2a(b)), 1) + lambda (|b2a(a2b(a)) - a| + |a2b(b2a(b)) - b|)
          + lambda_identity lambda (|a2b(b) - b| + |b2a(a) - a|)
    L_D = (LS(D(real), 1) + LS(D(older or new translations), 0)) / 2, for each D

Both generators take one step together, then both discriminators do. discriminator_a judges pictures of set A, discriminator_b those of B.
Instance normalisation treats each image by itself, so a generator takes its two batches in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.datasets import batch_sizes
from ganhpc.datasets.types import ImageData
from ganhpc.runs.experiment import Experiment
from ganhpc.train.gan import collapse_detector, translation_measures
from ganhpc.train.gan.image_pool import ImagePool
from ganhpc.train.gan.similarity import share
from ganhpc.train.nets import cyclegan
from ganhpc.train.runtime.image_files import unit
from ganhpc.train.runtime.step_random import StepRandom
from ganhpc.train.tasks.gan_base import HELD_OUT, Gan, side_of
from ganhpc.train.tasks.task import Context, Task

Batch = tuple[Tensor, Tensor]

_EPOCHS = 200
"""Parts of a run in which the learning rate stays the same: the published training has so many epochs."""
_WATCHED_PIXELS = 64 * 64**2
"""Pixels of held-out images of each set that an evaluation looks at; there are 4 to 64 images."""


class CycleGan(Gan):
    """Reads of the definition, beside what `Gan` reads: data_b, base_channels, image_size, blocks, patch_layers, upsampling, init_gain,
    lambda_cycle, lambda_identity, pool, decay, enlarge, distance_images."""

    headline = "cycle"
    generator_names = ("a2b", "b2a")
    adversary_names = ("discriminator_a", "discriminator_b")

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module]) -> None:
        super().__init__(experiment, context, networks)
        self.sets = {"a": context.data, "b": context.more["data_b"]}
        _refuse_unfit(experiment, self.sets)
        # A seed of its own, or both sets would be shuffled alike where they have as many images.
        self.loaders = {"a": self.loader, "b": self.loader_of(self.sets["b"], experiment.seed + 2**31)}
        lengths = {name: loader.steps_per_epoch for name, loader in self.loaders.items()}
        for name, data in self.sets.items():
            batch_sizes.check(len(data.images), experiment.batch_size, flag=f"--data-{name}")
        self.steps_per_epoch = max(lengths.values())
        self.batch_size = 2 * experiment.batch_size
        self.pools = {name: ImagePool(experiment.pool, "pool", name, experiment.seed) for name in ("a", "b")}
        self.sample_columns = 6 * experiment.sample_columns
        n = max(4, min(64, _WATCHED_PIXELS // experiment.image_size**2))
        self._watched = {name: self.normalised(data.test_images[:n]) for name, data in self.sets.items()}
        self._spread = {
            name: collapse_detector.spread(data.images[:HELD_OUT].float() / 127.5) for name, data in self.sets.items()
        }

    # -- batches ----------------------------------------------------------------------------------------------------------

    def batch(self, epoch: int, step: int) -> Batch:
        """Images of A and of B, both [B, C, H, W]. An epoch is the larger set once; the smaller one begins anew in another order."""
        draws = self.draws(epoch, step)
        number = epoch * self.steps_per_epoch + step
        found = []
        for loader in self.loaders.values():
            images, _ = loader.batch(*divmod(number, loader.steps_per_epoch))
            found.append(self.augmented(self._cut(images, draws), draws))
        return found[0], found[1]

    def _cut(self, images: Tensor, draws: StepRandom) -> Tensor:
        """`images` enlarged, and cut to their size again at random places."""
        side = images.shape[-1]
        large = round(side * self.experiment.enlarge)
        if large == side:
            return images
        enlarged = F.interpolate(images, size=(large, large), mode="bicubic", align_corners=False).clamp(-1, 1)
        across = torch.arange(side, device=images.device)
        rows, columns = ((draws.uniform() * (large - side + 1)).long()[:, None] + across for _ in range(2))
        index = torch.arange(len(images), device=images.device)[:, None, None]
        # Indices around a slice come first: [B, H, W, C].
        return enlarged[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def batch_pictures(self) -> Tensor:
        return unit(torch.cat(self.batch(0, 0)))

    # -- a step -----------------------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.train_mode()
        figures, fakes = self._update_generators(*batch)
        return figures | self._update_discriminators(dict(zip("ab", batch, strict=True)), fakes)

    def _update_generators(self, a: Tensor, b: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(losses before the update, the translations of `b` into A and of `a` into B)."""
        optimizer = self.optimizers["g"]
        with self._frozen_adversaries(), self.context.phase("forward"), self.autocast():
            losses, fakes = self.generator_losses(a, b)
        with self._frozen_adversaries(), self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            losses["loss_g"].backward()
        self.descend(optimizer, self.parameters(*self.generator_names))
        return {name: loss.detach() for name, loss in losses.items()}, fakes

    def generator_losses(self, a: Tensor, b: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(the generators' loss and its parts without their weights, the translations into each set, detached)."""
        a2b, b2a = self.wrapped["a2b"], self.wrapped["b2a"]
        share = self.experiment.lambda_identity
        if share:
            (fake_b, same_b), (fake_a, same_a) = a2b(torch.cat([a, b])).chunk(2), b2a(torch.cat([b, a])).chunk(2)
        else:
            fake_b, fake_a = a2b(a), b2a(b)
        parts = {
            "loss_g_a2b": _least_squares(self.wrapped["discriminator_b"](fake_b), 1.0),
            "loss_g_b2a": _least_squares(self.wrapped["discriminator_a"](fake_a), 1.0),
            "loss_cycle_a": absolute(b2a(fake_b), a),
            "loss_cycle_b": absolute(a2b(fake_a), b),
        }
        weight = self.experiment.lambda_cycle
        loss = parts["loss_g_a2b"] + parts["loss_g_b2a"] + weight * (parts["loss_cycle_a"] + parts["loss_cycle_b"])
        if share:
            parts |= {"loss_identity_a": absolute(same_a, a), "loss_identity_b": absolute(same_b, b)}
            loss = loss + share * weight * (parts["loss_identity_a"] + parts["loss_identity_b"])
        return {"loss_g": loss, **parts}, {"a": fake_a.detach(), "b": fake_b.detach()}

    def _update_discriminators(self, real: Mapping[str, Tensor], fakes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses before the update."""
        optimizer = self.optimizers["d"]
        shown = {name: self._from_pool(name, fakes[name].float()) for name in ("a", "b")}
        with self.context.phase("forward"), self.autocast():
            losses = {
                f"loss_d_{name}": discriminator_loss(self.wrapped[f"discriminator_{name}"], real[name], shown[name])
                for name in ("a", "b")
            }
        with self.context.phase("backward"):
            optimizer.zero_grad(set_to_none=True)
            (losses["loss_d_a"] + losses["loss_d_b"]).backward()
        self.descend(optimizer, self.parameters(*self.adversary_names))
        return {name: loss.detach() for name, loss in losses.items()}

    def _from_pool(self, name: str, fakes: Tensor) -> Tensor:
        """This rank's share of what the pool shows for all ranks' `fakes`: each rank holds the whole pool, so they stay equal."""
        process_group = self.context.process_group
        if process_group.world_size == 1:
            return self.pools[name].query(fakes)
        whole = fakes.new_zeros(process_group.world_size, *fakes.shape)
        whole[process_group.rank] = fakes
        # Added to zeros, each translation stays what it is.
        return self.pools[name].query(process_group.sum(whole).flatten(0, 1)).view_as(whole)[process_group.rank]

    @contextmanager
    def _frozen_adversaries(self) -> Iterator[None]:
        """Within the block, discriminators receive no gradients: the generators' step needs none of them."""
        parameters = self.parameters(*self.adversary_names)
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def schedule(self, progress: float) -> dict[str, float]:
        """The published schedule, a two-hundredth of the run being an epoch: see `rate_factor`."""
        if self.experiment.decay:
            factor = rate_factor(min(_EPOCHS - 1, int(progress * _EPOCHS)))
            for name, (_, rate) in self.updates().items():
                for group in self.optimizers[name].param_groups:
                    group["lr"] = rate * factor
        return super().schedule(progress)

    # -- looking ----------------------------------------------------------------------------------------------------------

    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """Errors of cycle and identity on held-out images, means over both sets in gray levels of [-1, 1]; diversity of translations."""
        a2b, b2a = self.modules["a2b"], self.modules["b2a"]
        a, b = self._watched["a"], self._watched["b"]
        fake_b, fake_a = a2b(a), b2a(b)
        return {
            "cycle": (absolute(b2a(fake_b), a) + absolute(a2b(fake_a), b)) / 2,
            "identity": (absolute(a2b(b), b) + absolute(b2a(a), a)) / 2,
            "diversity_a2b": share(collapse_detector.spread(fake_b), self._spread["b"]),
            "diversity_b2a": share(collapse_detector.spread(fake_a), self._spread["a"]),
        }

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Rows of source, translation and cycle, of pictures of A and then of B, held-out ones first to last; of the larger set each once."""
        n = self.experiment.sample_rows * self.experiment.sample_columns
        n = min(n, max(len(data.test_images) for data in self.sets.values()))
        parts = []
        for name, there, back in (("a", "a2b", "b2a"), ("b", "b2a", "a2b")):
            images = self.sets[name].test_images
            source = self.normalised(images[torch.arange(n) % len(images)])
            translation = self._translated(there, source)
            parts += [source, translation, self._translated(back, translation)]
        return unit(torch.stack(parts, 1).flatten(0, 1)).cpu()

    def _translated(self, name: str, images: Tensor) -> Tensor:
        net = self.modules[name]
        training = net.training
        net.eval()
        made = torch.cat([net(part) for part in images.split(16)])
        net.train(training)
        return made

    def measures(self, seconds: float) -> dict[str, Any]:
        torch.manual_seed(self.experiment.seed)
        untrained = networks(self.experiment, self.context.data.shape)
        return translation_measures.measure(
            {name: self.modules[name] for name in self.generator_names},
            {name: untrained[name].to(self.context.device) for name in self.generator_names},
            self.sets,
            n=self.experiment.distance_images,
            seed=self.experiment.seed,
            seconds=seconds,
            say=self.context.say,
        )

    # -- what is kept -------------------------------------------------------------------------------------------------------

    def exported(self) -> dict[str, tuple[str, dict[str, Any]]]:
        arguments = _generator_arguments(self.experiment, self.context.data.shape)
        return dict.fromkeys(self.generator_names, ("cyclegan", arguments))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pools": {name: pool.state() for name, pool in self.pools.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        for name, pool in self.pools.items():
            pool.load(state["pools"][name], self.context.data.shape, self.context.device)


def _least_squares(scores: Tensor, target: float) -> Tensor:
    """mean (scores - target)^2 in single precision."""
    return (scores.float() - target).square().mean()


def absolute(images: Tensor, wanted: Tensor) -> Tensor:
    """The mean absolute error in single precision."""
    return (images.float() - wanted.float()).abs().mean()


def discriminator_loss(net: nn.Module, real: Tensor, fakes: Tensor) -> Tensor:
    """Half of the sum of both least squares; both batches in one pass, since each image is normalised by itself."""
    of_real, of_fakes = net(torch.cat([real, fakes])).chunk(2)
    return 0.5 * (_least_squares(of_real, 1.0) + _least_squares(of_fakes, 0.0))


def rate_factor(epoch: int) -> float:
    """The share of the learning rate in `epoch` (from 0) of the published 200: 1 for a hundred, then falling, never 0."""
    return 1 - max(0, epoch + 1 - _EPOCHS // 2) / (_EPOCHS // 2 + 1)


def _refuse_unfit(experiment: Any, sets: Mapping[str, ImageData]) -> None:
    a, b = sets["a"], sets["b"]
    if a.fingerprint and a.fingerprint == b.fingerprint:
        raise UserError(
            f"--data-a {experiment.data} and --data-b {experiment.data_b} hold the same pictures: a translation needs two sets."
        )
    if a.shape != b.shape:
        shapes = " and ".join(f"{shape[2]}x{shape[1]} with {shape[0]} channels" for shape in (a.shape, b.shape))
        raise UserError(f"--data-a and --data-b have images of {shapes}: choose sets that can be had in one size.")


def _generator_arguments(experiment: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "image_size": side_of(experiment, shape),
        "channels": shape[0],
        "base_channels": experiment.base_channels,
        "blocks": experiment.blocks,
        "upsampling": experiment.upsampling,
        "init_gain": experiment.init_gain,
    }


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """Both generators and both discriminators of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    arguments = _generator_arguments(experiment, shape)
    judged = {key: arguments[key] for key in ("image_size", "channels", "base_channels", "init_gain")}
    judged["layers"] = experiment.patch_layers
    generators = {name: cyclegan.Generator(**arguments) for name in CycleGan.generator_names}
    return generators | {name: cyclegan.Discriminator(**judged) for name in CycleGan.adversary_names}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its networks drawn from the seed."""
    torch.manual_seed(experiment.seed)
    return CycleGan(experiment, context, networks(experiment, context.data.shape))
