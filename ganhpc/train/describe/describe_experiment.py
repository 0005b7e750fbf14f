"""The networks of an experiment, untrained and without its data, described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import printable
from ganhpc.core.units import format_duration
from ganhpc.datasets.catalogue import SETS, names
from ganhpc.runs.experiment import Experiment, options
from ganhpc.runs.network_description import Description
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.describe.step_flops import training_step
from ganhpc.train.flops.counters import check_budget, count_parameters
from ganhpc.train.tasks.task import module_of


@dataclass(frozen=True)
class Described:
    """Networks of a definition, and what can be said about the choice."""

    experiment: Experiment
    parts: dict[str, Description]
    network: str
    why: str
    params: int
    """Unique trainable parameters of all parts together."""
    frozen_params: int
    notes: tuple[str, ...]
    """Notes for the user: a budget that is too small, options that change nothing."""
    step: dict[str, Any]
    """The operations of one whole training step (`step_flops.training_step`)."""

    def to_json(self) -> dict[str, Any]:
        """One network's keys at the top level; several under `modules`, with their totals beside them."""
        experiment = self.experiment
        head = {
            "experiment": experiment.NAME,
            "preset": experiment.preset,
            "variant": experiment.variant,
            "data": experiment.data,
            "network": self.network,
            "why": self.why,
            "notes": list(self.notes),
        }
        modules = {name: part.to_json() for name, part in self.parts.items()}
        if len(modules) == 1:
            return {**head, **next(iter(modules.values())), "training_step": self.step}
        return {
            **head,
            "params": self.params,
            "frozen_params": self.frozen_params,
            "modules": modules,
            "training_step": self.step,
        }


def build(experiment: Experiment, typed: list[str]) -> Described:
    """Build the networks of `experiment` and describe them. `typed` are the options to say so of where they change nothing.

    Raises UserError where the options don't fit one another, or the data set's shape can't be known without loading it.
    """
    shape, classes = shape_and_classes(experiment)
    # What is said where the task chooses nothing; one that does writes its own words over them.
    choices: dict[str, Any] = {"network": "", "why": ""}
    torch.manual_seed(experiment.seed)
    nets = module_of(experiment).networks(experiment, shape, classes, choices)
    parts = {name: describe(net, input_shape(net, shape)) for name, net in nets.items()}
    whole = torch.nn.ModuleDict(nets)
    params, frozen = count_parameters(whole)
    network, why = _choice(experiment, nets, choices)
    notes = (*_over_budget(experiment, whole), *_idle(experiment, typed))
    step = _step(experiment, shape, classes)
    return Described(experiment, parts, network, why, params, frozen, notes, step)


def _step(experiment: Experiment, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    try:
        return training_step(experiment, shape, classes)
    except UserError as error:  # what only training minds takes nothing from the networks
        return {"error": str(error)}


def shape_and_classes(experiment: Experiment) -> tuple[tuple[int, int, int], int]:
    """(channels, height, width) of an image and the number of classes, without loading the data: as the list of
    data sets has them, or as the options say of a folder.

    Raises UserError for an unknown set, or a folder of images where no --image-size tells the shape.
    """
    found = next((each for each in SETS if each.name == experiment.data), None)
    size = getattr(experiment, "image_size", None)
    across = getattr(experiment, "image_width", None) or size
    if found:
        channels, height, width = found.shape or (3, 0, 0)
        if size or height:
            return (channels, size or height, across or width), found.classes
    elif "/" not in experiment.data:
        raise UserError(f"--data {experiment.data!r} is not a data set: {nearest(experiment.data, names())}.")
    elif size:
        return (3, size, across or size), int(getattr(experiment, "classes", None) or 0)
    raise UserError(
        f"the size of the images of --data {printable(experiment.data)} is not known here: give --image-size."
    )


def input_shape(net: nn.Module, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """A generator reads a latent vector, every other network an image."""
    latent = getattr(net, "latent_dim", None)
    return shape if latent is None else (int(latent),)


def _choice(experiment: Experiment, nets: dict[str, nn.Module], choices: dict[str, Any]) -> tuple[str, str]:
    """The network's name, and why it is this one. What a run finds out by measuring is not known here, and said to be so."""
    asked = getattr(experiment, "net", None)
    name = choices["network"] or asked or ", ".join(type(net).__name__ for net in nets.values())
    why = choices["why"] or f"as the preset {experiment.preset} and the options say"
    budget = experiment.budget
    if asked == "auto" and budget.time is not None and budget.epochs is None:
        why += f"; on a device too slow for it, a run of {format_duration(budget.time)} takes a narrower one"
    return name, why


def _over_budget(experiment: Experiment, whole: nn.Module) -> list[str]:
    if experiment.budget.budget_params is None:
        return []
    try:
        check_budget(whole, experiment.budget.budget_params)
    except UserError as error:
        return [f"Training would be refused: {error}"]
    return []


def _idle(experiment: Experiment, typed: list[str]) -> list[str]:
    """A sentence on the typed options that the networks are not made from."""
    used = experiment.network_options() | {"data"}
    own = [o for o in options(type(experiment)) if o.path[0] != "budget"]
    unread = [o.flag for o in own if o.name in typed and o.name not in used]
    if not unread:
        return []
    net = getattr(experiment, "net", None)
    return [
        f"{', '.join(unread)} change{'s' * (len(unread) == 1)} nothing in this network{f' (--net {net})' if net else ''}."
    ]
