"""SDPC: dictionaries of sparse codes in layers that predict one another, learned from images alone (`ganhpc.train.nets.sdpc`).

An evaluation tells, on held-out images, the relative error of each layer, the share of active units, the whole cost and the iterations that the
inference takes; at the end the same for feedback 0 to 4, and the structural similarity of what is painted from noisy images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.sdpc_grid import COLUMNS, SHOWN_ATOMS
from ganhpc.train.data.batch_loader import BatchLoader
from ganhpc.train.gan import generator_io
from ganhpc.train.gan.similarity import ssim
from ganhpc.train.nets.sdpc import Sdpc
from ganhpc.train.runtime.image_files import unit
from ganhpc.train.runtime.step_random import generator_of
from ganhpc.train.tasks import sdpc_learning
from ganhpc.train.tasks.gan_base import side_of
from ganhpc.train.tasks.task import Context, Export, Task

_HELD_OUT = 64
_FEEDBACKS = (0.0, 1.0, 2.0, 3.0, 4.0)
NOISE = 1.0
"""Deviation of the noise on prepared images, whose own deviation is 1."""


class SdpcTask(Task):
    """Reads of the definition: lr, rates, atoms, kernels, strides, paddings, penalties, scale, feedback, iterations, threshold, the options of the
    preparation, batch_size, flip, seed, sample_steps."""

    headline = "total_cost"
    sample_columns = COLUMNS

    def __init__(self, experiment: Any, context: Context, net: Sdpc) -> None:
        self.experiment, self.context = experiment, context
        group = context.process_group
        self.net = net.to(context.device)
        self.modules = {"sdpc": self.net}
        self.learning = sdpc_learning.Learning(self.net, context, experiment.all_rates)
        self.optimizers = self.learning.optimizers
        self.loader = BatchLoader(
            context.data.images,
            None,
            batch_size=experiment.batch_size,
            seed=experiment.seed,
            device=context.device,
            flip=experiment.flip,
            rank=group.rank,
            world_size=group.world_size,
        )
        self.batch_size, self.steps_per_epoch = experiment.batch_size, self.loader.steps_per_epoch
        self.sample_steps = experiment.sample_steps
        self._held_out = context.data.test_images[:_HELD_OUT].to(context.device).float() / 127.5 - 1

    def wrap(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Gradients are averaged by hand: codes are found outside any forward pass."""
        del wrap
        self.context.process_group.share_weights(self.modules.values())
        self.wrapped = dict(self.modules)

    def batch(self, epoch: int, step: int) -> Tensor:
        images, _ = self.loader.batch(epoch, step)
        return images

    def batch_pictures(self) -> Tensor:
        return unit(self.batch(0, 0))

    def train_step(self, batch: Tensor) -> dict[str, Tensor]:
        return self.learning.step(batch)

    def schedule(self, progress: float) -> dict[str, float]:
        del progress
        return {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    # -- looking ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        prepared = self.net.preparation(self._held_out)
        found = self.net.infer(prepared, watched=final)
        figures = {name: float(value) for name, value in sdpc_learning.figures(self.net, prepared, found).items()}
        group = self.context.process_group
        sums = group.agree(list(figures.values()))
        means: dict[str, Any] = {name: value / group.world_size for name, value in zip(figures, sums, strict=True)}
        if final and found.active is not None:
            means["energies"] = (found.energies / len(prepared)).tolist()
            means["active_units"] = found.active.tolist()
        return means

    def series(self, figures: Mapping[str, Any]) -> dict[str, Sequence[tuple[int, float]]]:
        """Energies and shares of active units over the iterations of the last evaluation, and each figure of `feedback_effect` over the feedback."""
        found: dict[str, list[tuple[int, float]]] = {}
        for name, many in (("energy", "energies"), ("active", "active_units")):
            for number, row in enumerate(figures.get(many, ()), 1):
                for layer, value in enumerate(row, 1):
                    found.setdefault(f"{name}_{layer}_over_iterations", []).append((number, value))
        for row in figures.get("feedback_effect", {}).get("rows", ()):
            for name, value in row.items():
                if name != "feedback":
                    found.setdefault(f"{name}_over_feedback", []).append((round(row["feedback"]), value))
        return dict(found)

    def measures(self, seconds: float) -> dict[str, Any]:
        """`feedback_effect`: the figures of each of `_FEEDBACKS` on the same dictionaries, n images, and the similarity of images painted
        from noisy ones."""
        end, rows, spent = time.monotonic() + seconds, [], 0.0
        clean = self.net.preparation(self._held_out)
        noise = NOISE * torch.randn(clean.shape, generator=generator_of("noise", self.experiment.seed)).to(clean.device)
        levels = float(clean.max() - clean.min())
        for feedback in _FEEDBACKS:
            begun = time.monotonic()
            if begun + spent > end:
                self.context.say(
                    "warning: the effects of feedback are left out: the job ends before they would be ready"
                )
                return {}
            found, noisy = self.net.infer(clean, feedback), self.net.infer(clean + noise, feedback)
            row = {name: float(value) for name, value in sdpc_learning.figures(self.net, clean, found).items()}
            row |= {"feedback": feedback, "ssim": ssim(noisy.painted[0], clean, levels)}
            rows.append(row)
            spent = time.monotonic() - begun
        noisy_ssim = ssim(clean + noise, clean, levels)
        return {"feedback_effect": {"images": len(clean), "noise": NOISE, "ssim_noisy": noisy_ssim, "rows": rows}}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Rows of 16: images, what each layer paints, where each layer's units are active; then atoms of each layer, in pixels."""
        images = self._held_out[torch.arange(COLUMNS) % len(self._held_out)]
        net, size = self.net, images.shape[-2:]
        found = net.infer(net.preparation(images))
        shown = [unit(images)]
        for level, codes in enumerate(found.codes):
            shown.append(unit(net.preparation.undo(net.down(codes, level), images)))
        for codes in found.codes:
            activity = codes.sum(1, keepdim=True)
            activity = activity / activity.amax((2, 3), keepdim=True).clamp(min=1e-12)
            shown.append(F.interpolate(activity, size).expand_as(images))
        for level in range(len(net.weights)):
            atoms = net.projected(level)[:SHOWN_ATOMS]
            tiles = _tiles(atoms, *size).expand(-1, images.shape[1], -1, -1)
            missing = -len(tiles) % COLUMNS
            shown.append(torch.cat([tiles, tiles.new_zeros(missing, *tiles.shape[1:])]))
        return torch.cat([each.to(images.dtype) for each in shown]).cpu()

    # -- what is kept -----------------------------------------------------------------------------------------------------

    def exports(self) -> dict[str, Export]:
        about = sdpc_learning.arguments(self.experiment, self.context.data.shape)
        return {"sdpc": Export(generator_io.definition("sdpc", about), self.net)}

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        del name
        return (torch.zeros(1, *self.context.data.shape, device=self.context.device),)


def _tiles(atoms: Tensor, height: int, width: int) -> Tensor:
    """Each atom as large as fits into an image, from -1 (black) to 1 (white) of its largest weight: [K, C, height, width] in [0, 1]."""
    side = min(height, width)
    most = atoms.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    tiles = F.interpolate((atoms / most + 1) / 2, (side, side))
    top, left = (height - side) // 2, (width - side) // 2
    return F.pad(tiles, (left, width - side - left, top, height - side - top), value=0.5)


def _check_shape(experiment: Any, shape: tuple[int, int, int]) -> None:
    """Raise UserError where the data set's images are not those that were asked for."""
    if experiment.image_width in (None, experiment.image_size):
        side_of(experiment, shape)
    elif shape[1:] != (experiment.image_size, experiment.image_width):
        raise UserError(
            f"--image-size {experiment.image_size} --image-width {experiment.image_width}: the images of --data {experiment.data} have "
            f"{shape[2]}x{shape[1]} pixels, and can't be had in other sizes; type --image-size {shape[1]} --image-width {shape[2]}."
        )


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int = 0, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The network of `experiment` for images of `shape` (channels, height, width), untrained."""
    del classes, choices
    _check_shape(experiment, shape)
    return {"sdpc": sdpc_learning.fresh(experiment, shape)}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its dictionaries drawn from the seed."""
    _check_shape(experiment, context.data.shape)
    return SdpcTask(experiment, context, sdpc_learning.fresh(experiment, context.data.shape))
