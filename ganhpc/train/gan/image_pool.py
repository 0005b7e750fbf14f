"""A pool of generated images, from which a discriminator is shown older ones (Shrivastava et al., "Learning from simulated and unsupervised
images through adversarial training", 2017, section 2.3)."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from ganhpc.train.runtime import checkpoint_content as content


class ImagePool:
    """At most `size` images, and the state of their random choices.

    The choices come from Python's generator: no number travels from a GPU, and they are the same on every machine.

    Args:
        size: 0 lets every image pass. seed: any words.
    """

    def __init__(self, size: int, *seed: object) -> None:
        self.size, self.count = size, 0
        self._images: Tensor | None = None
        self._random = random.Random("/".join(map(str, seed)))

    def query(self, fakes: Tensor) -> Tensor:
        """Images for the discriminator instead of `fakes` [N, C, H, W], one by one.

        Until the pool is full each is kept and returned. Then, by the toss of a coin, it is returned and not kept, or takes the place of
        one that is returned instead of it.
        """
        if not self.size:
            return fakes
        if self._images is None:
            self._images = fakes.new_zeros(self.size, *fakes.shape[1:])
        shown = []
        for fake in fakes.detach():
            if self.count < self.size:
                self._images[self.count] = fake
                self.count += 1
                shown.append(fake)
            elif self._random.random() < 0.5:
                shown.append(fake)
            else:
                place = self._random.randrange(self.size)
                shown.append(self._images[place].clone())
                self._images[place] = fake
        return torch.stack(shown)

    @property
    def images(self) -> Tensor | None:
        """Those that it holds, [n, C, H, W]; None where it holds none."""
        return None if self._images is None else self._images[: self.count]

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        version, numbers, following = self._random.getstate()
        held = self.images
        return {
            "images": None if held is None else held.clone(),
            "random": [version, list(numbers), following],
        }

    def load(self, state: dict[str, Any], shape: tuple[int, ...], device: torch.device) -> None:
        """Go on from a checkpoint. `shape`: of one image. Raises ValueError, KeyError and the like where it is of another pool."""
        self._random.setstate(content.python_state(state["random"], "pool.random"))
        self._images, self.count = None, 0
        if state["images"] is None:
            return
        held = content.finite(state["images"], "pool.images")
        if not held.is_floating_point() or tuple(held.shape[1:]) != tuple(shape) or len(held) > self.size:
            raise ValueError(f"a pool of {list(held.shape)} where {self.size} images {list(shape)} fit")
        self._images = held.new_zeros(self.size, *held.shape[1:]).to(device)
        self.count = len(held)
        self._images[: self.count] = held.to(device)
