"""Typed options on the place of a job (--queue, --gpu-model, ..) instead of the settings. None of it changes a run's signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import shell_word
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.base import Scheduler

_FLAGS = {
    "queue": "--queue",
    "account": "--account",
    "qos": "--qos",
    "gpu_model": "--gpu-model",
    "cluster": "--cluster",
    "constraint": "--constraint",
    "job_type": "--type",
}
"""Name of the value -> option of the command line."""


def asked(scheduler: Scheduler | None, values: Mapping[str, Any]) -> None:
    """Put what is typed into the settings of `scheduler`. Raises UserError for what it does not have; None is this machine."""
    typed = {name: value for name in _FLAGS if (value := values.get(name)) is not None}
    if not typed:
        return
    if scheduler is None or not scheduler.command:
        flag = _FLAGS[next(iter(typed))]
        raise UserError(
            f"{flag} is for OAR and Slurm, and this machine trains itself: leave it out, or type --on oar or --on slurm."
        )
    for name, value in typed.items():
        if why := scheduler.lacks.get(name):
            raise UserError(f"{_FLAGS[name]} {value}: {why}.")
        if not value.strip() or not value.isprintable() or value.startswith("-"):
            raise UserError(f"{_FLAGS[name]} {value!r} is no name: write it as {scheduler.title} has it.")
    scheduler.site, scheduler.typed = _replaced(scheduler, typed), typed


def remembered(recorded: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    """Options of an earlier request that are not typed anew."""
    return {name: recorded[name] for name in _FLAGS if recorded.get(name) and values.get(name) is None}


def in_words(asked: Mapping[str, str]) -> str:
    """Options as they were typed."""
    return " ".join(f"{_FLAGS[name]} {shell_word(asked[name])}" for name in _FLAGS if name in asked)


def _replaced(scheduler: Scheduler, typed: dict[str, str]) -> Settings:
    site = scheduler.site
    changes: dict[str, Any] = {
        name: typed[name] for name in ("qos", "gpu_model", "cluster", "constraint") if name in typed
    }
    changes |= {field: typed[name] for name, field in scheduler.typed_as.items() if name in typed}
    if "job_type" in typed:
        changes["by_type"] = _words(scheduler, typed["job_type"])
    return dataclasses.replace(site, **changes)


def _words(scheduler: Scheduler, name: str) -> tuple[str, ...]:
    """The words of a job type: the settings' own; else the scheduler's type of that name."""
    own = dict(scheduler.site.job_types)
    if name in own:
        return own[name]
    if words := scheduler.of_type(name):
        return words
    known = f": {nearest(name, own)}" if own else ""
    raise UserError(
        f'--type {name!r} is not in job_types of the settings{known}; write [job_types] with {name} = ["--qos=long"] or the like.'
    )
