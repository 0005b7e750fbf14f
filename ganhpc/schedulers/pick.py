"""Which scheduler a command means: the one that is named, or the first that is here."""

from __future__ import annotations

import importlib

from ganhpc.errors import UserError, nearest
from ganhpc.schedulers.base import Scheduler
from ganhpc.site import Site

KNOWN = ("local", "slurm", "oar")
CHOICES = ("auto", *KNOWN)


def named(name: str, site: Site) -> Scheduler:
    """The scheduler called `name`: schedulers/<name>.py, whose class is named after it.

    Raises UserError for any other word: it may come from a run's record, and must not name a module.
    """
    if name not in KNOWN:
        raise UserError(f"there is no scheduler {name!r}: {nearest(name, KNOWN)}.")
    module = importlib.import_module(f"ganhpc.schedulers.{name}")
    return getattr(module, name.capitalize())(site)


def pick(on: str, site: Site, *, dry_run: bool = False) -> tuple[Scheduler | None, str]:
    """(the scheduler, or None for this machine; why). auto: OAR, then Slurm, where its command is here and its server answers.

    Raises UserError where a named scheduler can't be used; a dry run can do without it.
    """
    if on == "local":
        return None, "--on local"
    if on in ("slurm", "oar"):
        scheduler = named(on, site)
        found = scheduler.found
        if not found.here and not dry_run:
            raise UserError(
                f"--on {on}: {found.why}; type --on local to train on this machine, or --dry-run to see what would be sent."
            )
        return scheduler, found.why
    reasons = []
    for name in ("oar", "slurm"):
        scheduler = named(name, site)
        found = scheduler.found
        if found.here:
            return scheduler, found.why
        reasons.append(found.why)
    return None, "; ".join(reasons)
