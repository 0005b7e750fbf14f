"""The schedulers, one line each. All that is known of one stands in its own module: the class (Scheduler) and the node side (NodeSide)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ganhpc.core.errors import UserError, nearest

if TYPE_CHECKING:  # every --help reads CHOICES
    from ganhpc.core.settings import Settings
    from ganhpc.launch.schedulers.base import NodeSide, Scheduler

_SCHEDULERS = {
    "local": "Local",
    "slurm": "Slurm",
    "oar": "Oar",
}
"""Module of this folder, which is the word for --on -> its class. Modules are imported when they are asked for."""
CHOICES = ("auto", *_SCHEDULERS)
CLUSTERS = tuple(name for name in reversed(_SCHEDULERS) if name != "local")
"""Those of clusters, in the order in which `auto` looks for them."""


def scheduler_class(name: str) -> type[Scheduler]:
    """The class of the scheduler called `name`.

    Raises UserError for any other word: it may come from a run's record, and must not name a module.
    """
    if name not in _SCHEDULERS:
        raise UserError(f"there is no scheduler {name!r}: {nearest(name, _SCHEDULERS)}.")
    module = importlib.import_module(f"ganhpc.launch.schedulers.{name}")
    return cast("type[Scheduler]", getattr(module, _SCHEDULERS[name]))


def named(name: str, site: Settings) -> Scheduler:
    """The scheduler called `name`. Raises UserError for an unknown name."""
    return scheduler_class(name)(site)


def node_side(name: str) -> NodeSide:
    """The node side of a cluster's scheduler."""
    assert name in CLUSTERS, name
    return cast("NodeSide", importlib.import_module(f"ganhpc.launch.schedulers.{name}"))


def title(name: str) -> str:
    """The scheduler's name in sentences."""
    return scheduler_class(name).title


def place(name: str, cluster: str) -> str:
    """A scheduler's server or cluster in a sentence; both words come from a record, and may be of another version or empty."""
    if name in _SCHEDULERS:
        return scheduler_class(name).place(cluster)
    return f"{name or 'a scheduler'}{f' ({cluster})' if cluster else ''}"
