"""A watch over the two ways in which a GAN's training dies while its losses stay finite.

- Mode collapse: the generator makes the same picture whatever it is given. `diversity` is the deviation of its pictures over real
  pictures' (root of the mean variance of a pixel over images): 1 is as varied as the data, 0 is one picture.
- Saturation: the discriminator tells every real image from every generated one, and the generator's gradient vanishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ganhpc.core.units import counted
from ganhpc.train.runtime import checkpoint_content as content

LOW_DIVERSITY = 0.1
"""Below this share of real images' deviation, pictures are taken for the same."""
_SURE = 0.99
"""A discriminator that scores real images above this, and generated ones below 1 - this, is saturated."""
_PATIENCE = 3
"""Epochs in a row before the watch speaks."""
LEARNING_STEPS = 2000
"""Steps in which a generator that has never been diverse may still be learning to draw anything at all."""


def spread(images: Tensor) -> float | None:
    """Root of the mean, over pixels and channels, of the variance over `images` [N, C, H, W]; None of one."""
    return float(images.float().var(0, correction=0).mean().sqrt()) if len(images) > 1 else None


@dataclass
class CollapseDetector:
    """Running state of the watch for collapse."""

    same: int = 0
    sure: int = 0
    best: float = 0.0

    def observe(self, step: int, diversity: float, score_real: float | None, score_fake: float | None) -> str:
        """Take in an epoch's figures. Returns what is wrong, in a clause, or "" where nothing is."""
        self.best = max(self.best, diversity)
        learnt = self.best >= 2 * LOW_DIVERSITY or step >= LEARNING_STEPS
        self.same = self.same + 1 if learnt and diversity < LOW_DIVERSITY else 0
        apart = score_real is not None and score_fake is not None and score_real > _SURE and score_fake < 1 - _SURE
        self.sure = self.sure + 1 if apart else 0
        if self.same >= _PATIENCE:
            return f"the generator has collapsed: for {counted(self.same, 'epoch')} its pictures have varied by {diversity:.1%} of what real ones do"
        if self.sure >= _PATIENCE:
            return (
                f"the discriminator is saturated: for {counted(self.sure, 'epoch')} it has scored real images {score_real:.3f} and generated ones "
                f"{score_fake:.3f}, so that the generator learns hardly anything"
            )
        return ""

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return dict(vars(self))

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. Raises ValueError, KeyError and the like where it holds what no watch has seen."""
        self.same = content.count(state.get("same", 0), "watch.same")
        self.sure = content.count(state.get("sure", 0), "watch.sure")
        self.best = content.amount(state.get("best", 0.0), "watch.best")
