"""What is typed of the place of a job (--queue, --gpu-model, ..) in the place of the settings. None of it changes a run's signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.settings import Site
from ganhpc.launch.schedulers.base import SAID, Scheduler

FLAGS = {
    "queue": "--queue",
    "account": "--account",
    "qos": "--qos",
    "gpu_model": "--gpu-model",
    "cluster": "--cluster",
    "constraint": "--constraint",
    "job_type": "--type",
}
"""Name of the value -> option of the command line."""
NOT_OF = {
    "oar": {"qos": "OAR has no qualities of service: type --queue or --type"},
    "slurm": {"cluster": "a Slurm has one cluster: type --partition or --constraint"},
}
"""Scheduler -> what it does not have, and what to type instead."""


def asked(scheduler: Scheduler | None, values: Mapping[str, Any]) -> None:
    """Put what is typed into the settings of `scheduler`. Raises UserError for what it does not have; None is this machine."""
    typed = {name: value for name in FLAGS if (value := values.get(name)) is not None}
    if not typed:
        return
    if scheduler is None or scheduler.name == "local":
        flag = FLAGS[next(iter(typed))]
        raise UserError(
            f"{flag} is for OAR and Slurm, and this machine trains itself: leave it out, or type --on oar or --on slurm."
        )
    for name, value in typed.items():
        if why := NOT_OF.get(scheduler.name, {}).get(name):
            raise UserError(f"{FLAGS[name]} {value}: {why}.")
        if not value.strip() or not value.isprintable() or value.startswith("-"):
            raise UserError(f"{FLAGS[name]} {value!r} is no name: write it as {SAID[scheduler.name]} has it.")
    scheduler.site = _replaced(scheduler.site, scheduler.name, typed)


def _replaced(site: Site, scheduler: str, typed: dict[str, str]) -> Site:
    changes: dict[str, Any] = {
        name: typed[name] for name in ("qos", "gpu_model", "cluster", "constraint") if name in typed
    }
    if "queue" in typed:
        changes["queue" if scheduler == "oar" else "partition"] = typed["queue"]
    if "account" in typed:
        changes["project" if scheduler == "oar" else "account"] = typed["account"]
    if "job_type" in typed:
        changes["by_type"] = _words(site, scheduler, typed["job_type"])
    return dataclasses.replace(site, **changes)


def _words(site: Site, scheduler: str, name: str) -> tuple[str, ...]:
    """The words of a job type: the settings' own; else on OAR the type of that name."""
    own = dict(site.job_types)
    if name in own:
        return own[name]
    if scheduler == "oar":
        return (f"-t '{name}'",) if "'" not in name else (f"-t {name}",)
    known = f": {nearest(name, own)}" if own else ""
    raise UserError(
        f'--type {name!r} is not in job_types of the settings{known}; write [job_types] with {name} = ["--qos=long"] or the like.'
    )
