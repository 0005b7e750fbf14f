"""The scheduler that a command means: the one that is named, or the first that is here."""

from __future__ import annotations

import shutil

from ganhpc.core import settings
from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.base import Availability, Scheduler
from ganhpc.launch.schedulers.enclosing_job import inside
from ganhpc.launch.schedulers.registry import CLUSTERS, named, scheduler_class, title


def pick(on: str, site: Settings, *, dry_run: bool = False) -> tuple[Scheduler | None, str]:
    """(the scheduler, or None for this machine; why). auto: this machine inside a job; else the first cluster whose server answers.

    Raises UserError where a named scheduler can't be used, or where a cluster's commands are here and its server doesn't answer: this is
    likely its frontend, on which nothing may train. A dry run can do without the server.
    """
    if on == "local":
        return None, "--on local"
    if on in CLUSTERS:
        scheduler = named(on, site)
        found = scheduler.found
        if not found.here and not dry_run:
            raise UserError(f"--on {on}: {found.why}; {_later(found, on)}--dry-run to see what would be sent.")
        return scheduler, found.why
    if job := inside():
        return None, f"inside job {job.id} of {title(job.scheduler)}; --on {job.scheduler} submits another one"
    return _first(site, dry_run=dry_run)


def _later(found: Availability, name: str) -> str:
    """Advice where a named scheduler can't be used: on its frontend, which is no place to train, the same command later."""
    if found.installed:
        return f"{_way(found, title(name))}, --on local where this machine may compute, or "
    return "type --on local to train on this machine, or "


def _way(found: Availability, title: str) -> str:
    """The way on from a frontend whose scheduler can't be used."""
    if found.way:
        return f"{found.way}, then type the same command"
    return f"type the same command later, when {title} answers"


def _first(site: Settings, *, dry_run: bool) -> tuple[Scheduler | None, str]:
    """The first scheduler whose server answers; None where no cluster's commands are here."""
    schedulers = [named(name, site) for name in CLUSTERS]
    if up := next((each for each in schedulers if each.found.here), None):
        return up, up.found.why
    if down := next((each for each in schedulers if each.found.installed), None):
        if dry_run:
            return down, down.found.why
        raise UserError(
            f"{down.found.why}, and nothing may train on a cluster's frontend: {_way(down.found, down.title)}, or add --on local where this "
            "machine may compute (your own, or a node of yours)."
        )
    return None, "; ".join(each.found.why for each in schedulers)


def of_this_frontend() -> type[Scheduler] | None:
    """The scheduler of the cluster whose frontend this is: its command is here, or something tells of it, and this is inside of no job. None
    elsewhere."""
    there = next(filter(_sign_of, map(scheduler_class, CLUSTERS)), None)
    return there if there and not inside() else None


def _sign_of(scheduler: type[Scheduler]) -> str:
    """What tells of a cluster of this scheduler here; empty where nothing does."""
    if shutil.which(scheduler.command):
        return f"{scheduler.command} is here"
    found = scheduler.off_the_path()
    return found.why if found else ""


def may_compute() -> None:
    """Raise UserError on a cluster's frontend."""
    if there := of_this_frontend():
        raise UserError(
            f"{_sign_of(there)}, so this is likely a cluster's frontend, on which nothing may compute: type it inside a job "
            "of yours (an interactive one, for instance), or add --on local where this machine may compute."
        )


def answering(name: str) -> Scheduler:
    """The scheduler called `name`, for questions. Raises UserError where it is not here."""
    scheduler = named(name, settings.load())
    found = scheduler.find()
    if not found.here:
        raise UserError(
            f"{scheduler.title} can't be asked here ({found.why}): the states of its jobs are those last seen."
        )
    return scheduler
