"""GANs with one generator, which draws from latent vectors, and one adversary."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ganhpc.train.gan import collapse_detector, generator_io, quality_measures
from ganhpc.train.gan.similarity import share
from ganhpc.train.tasks.gan_base import HELD_OUT, Gan
from ganhpc.train.tasks.task import Context

_WATCHED = 64
"""Pictures, from fixed latent vectors, that every evaluation looks at."""


class LatentGan(Gan):
    """A generator of latent vectors [n, latent_dim] and its adversary: fixed latent vectors, samples, measures.

    The definition's fields that it reads, beside what `Gan` reads: measure_images, distance_images.
    """

    def __init__(self, experiment: Any, context: Context, networks: dict[str, nn.Module], net: str) -> None:
        """`net`: the generator's kind, a key of `generator_io.kinds()`."""
        super().__init__(experiment, context, networks)
        (self.generator,), (self.adversary,) = self.generators.values(), self.adversaries.values()
        self.latent_dim = int(self.generator.latent_dim)  # type: ignore[arg-type]
        self._net = net
        self._exact = quality_measures.exact(context.data)
        if self._exact:
            self.headline = self._exact.headline
        data = context.data
        self._held_out = self.normalised(data.test_images[:HELD_OUT])
        self._real_spread = collapse_detector.spread(data.images[:HELD_OUT].float() / 127.5)
        self._fixed = generator_io.latents(_WATCHED, self.latent_dim, experiment.seed).to(context.device)

    def evaluation_figures(self) -> dict[str, float | Tensor | None]:
        """diversity of pictures from fixed latent vectors, the GAN's own figures on held-out images, and where the data set can be
        measured exactly, what that takes little time to tell."""
        fakes = self.generator(self._fixed)
        figures: dict[str, float | Tensor | None] = {
            "diversity": share(collapse_detector.spread(fakes), self._real_spread),
            **self.held_out(self._held_out, fakes),
        }
        if self._exact:
            figures[self._exact.headline] = self._exact.quick(fakes)
        return figures

    @abstractmethod
    def held_out(self, real: Tensor, fakes: Tensor) -> dict[str, float | Tensor]:
        """The GAN's own figures on held-out images and on generated ones, both [N, C, H, W] in [-1, 1], in evaluation mode."""

    def samples(self) -> Tensor:
        n = self.experiment.sample_rows * self.experiment.sample_columns
        z = generator_io.latents(n, self.latent_dim, self.experiment.seed)
        return generator_io.draw(self.generator, z)

    def measures(self, seconds: float) -> dict[str, Any]:
        return quality_measures.measure(
            self.generator,
            self.context.data,
            self.experiment.seed,
            exact=self.experiment.measure_images,
            distance=self.experiment.distance_images,
            seconds=seconds,
            say=self.context.say,
        )

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Arguments of the generator's class: JSON values."""

    def exported(self) -> dict[str, tuple[str, dict[str, Any]]]:
        (name,) = self.generator_names
        return {name: (self._net, self.arguments())}

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        if name in self.generator_names:
            return (torch.zeros(1, self.latent_dim, device=self.context.device),)
        return super().example_inputs(name)
