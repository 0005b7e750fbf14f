"""The policy in force: the typed one, else the place's (its settings, then its scheduler's default).

A run's record names the policy that it was submitted under. That one counts on the same scheduler only, and only where it makes no rule
laxer than the place does: rules don't travel with a run folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.core.printable import printable
from ganhpc.core.settings import ROOT, Settings
from ganhpc.core.whoami import expand
from ganhpc.launch.policy.policy import Policy, load_policy, packaged_policies
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.runs import submission_record
from ganhpc.runs.job_origin import of_another_person
from ganhpc.runs.run_files import Entry
from ganhpc.runs.run_folder import Run

_CALENDAR = ("day_start", "day_end", "working_days", "country", "time_zone")
_AT_MOST = ("max_job", "max_jobs", "max_submitted", "night_limit", "weekend_limit", "day_quota")
_FREE_OF_QUOTA = ("quota_free_job", "quota_free_notice")


class Choice(NamedTuple):
    """A policy that was chosen, and what is to be said of one that was not."""

    name: str
    """A policy's name, or the whole path of its file."""
    policy: Policy
    note: str = ""


def _of_place(site: Settings, scheduler: Scheduler) -> str:
    """The name of the policy in force where nothing is typed. A file's path counts from the settings' own folder, as every other path there, and
    a name means a file of `policies` beside them or in the checkout: another folder in which a command is typed may hold another of its name.
    """
    named = site.policy or scheduler.default_policy
    if not site.policy or named in packaged_policies():
        return named
    beside = site.path.resolve().parent if site.path else None
    if _is_path(named):
        made = expand(os.path.expandvars(named))
        return str(beside / made if beside else made)
    files = (folder / "policies" / f"{named}.toml" for folder in (beside, ROOT) if folder)
    return next((str(file) for file in files if file.is_file()), named)


def load(name: str, *, typed: bool = False) -> Choice:
    """The policy of this name or file. Raises UserError.

    A file of the folder `policies` where the command is typed gives a name a meaning only if the name is `typed` there: what settings,
    schedulers and records call so is another one, whatever folder a user works in.
    """
    here = Path.cwd() / "policies"
    if typed and not _is_path(name) and (here / f"{name}.toml").is_file():
        name = str(here / f"{name}.toml")
    if name.startswith("~"):  # bash leaves that of --policy=~/rules.toml as it is
        name = str(expand(name))
    loaded = load_policy(name, [here] if typed else [])
    return Choice(str(Path(name).resolve()) if _is_path(name) else name, loaded)


def choose(typed: str | None, site: Settings, scheduler: Scheduler, run: Run | None = None) -> Choice:
    """The policy for a launch on `scheduler`, of `run` where it goes on. Raises UserError for what can't be read."""
    if typed:
        return load(typed, typed=True)
    place = load(_of_place(site, scheduler))
    asked = submission_record.read(run) if run else {}
    recorded = asked.get("policy")
    if run is None or not recorded or asked.get("scheduler") != scheduler.name or recorded == place.name:
        return place
    jobs = asked.get("jobs", [])
    if not _was_here(jobs, scheduler):
        return place
    theirs = any(of_another_person(entry) for entry in jobs) or not _is_mine(run.request_json, Path(recorded))
    if _is_path(recorded) and theirs:
        return _kept(place, run, recorded, "a file of somebody else's record")
    try:
        found = load(recorded)
    except UserError:
        return _kept(place, run, recorded, "which can't be read here")
    if rules := laxer(found.policy, place.policy):
        return _kept(place, run, recorded, f"laxer than this place's in {', '.join(rules)}")
    return found


def may_decide(run: Run, scheduler: Scheduler) -> bool:
    """True if what this user asked for when the run was submitted counts here: on the same cluster, from an own record."""
    jobs = submission_record.read(run).get("jobs", [])
    return _was_here(jobs, scheduler) and not any(map(of_another_person, jobs)) and _is_mine(run.request_json)


def _was_here(jobs: Sequence[Entry], scheduler: Scheduler) -> bool:
    """True if the last job was submitted on this cluster by this person, as far as the record tells."""
    return not scheduler.found.here or all(scheduler.origin.may_ask(entry) for entry in jobs[-1:])


def _kept(place: Choice, run: Run, recorded: str, why: str) -> Choice:
    return Choice(
        place.name,
        place.policy,
        f"{run.name} was submitted under policy {printable(recorded)}, {why}: it goes on under {place.policy.name}, "
        "the policy of this place; another one is typed with --policy.",
    )


def laxer(policy: Policy, than: Policy) -> list[str]:
    """The rules that `policy` makes laxer than `than` does, by their keys; where two calendars can't be compared, all that differ."""
    rules = [key for key in _AT_MOST if _more(getattr(policy, key), getattr(than, key))]
    rules += ["max_reservations"] * (policy.max_reservations > than.max_reservations)
    rules += ["gap"] * (policy.gap < than.gap)
    if than.day_quota is not None and policy.day_quota is not None:
        # Without a number of cores, every job counts as if it took the whole cluster.
        rules += ["cores"] * ((policy.cores or 0) > (than.cores or 0))
        rules += [key for key in _FREE_OF_QUOTA if getattr(policy, key) > getattr(than, key)]
    if than.edges:
        rules += _laxer_edges(policy, than)
    if than.edges or than.day_quota or than.night_limit or than.weekend_limit:
        rules += [key for key in _CALENDAR if getattr(policy, key) != getattr(than, key)]
    return rules


def _laxer_edges(policy: Policy, than: Policy) -> list[str]:
    found = {
        "edges": not set(than.edges) <= set(policy.edges),
        "edge_days": than.edge_days == "every" and policy.edge_days != "every",
        "end_before_edge": policy.end_before_edge < than.end_before_edge,
        "start_after_edge": policy.start_after_edge < than.start_after_edge,
        "lax": policy.lax and not than.lax,
        "lax_evening_from": policy.lax and than.lax and policy.lax_evening_from < than.lax_evening_from,
    }
    return [key for key, is_laxer in found.items() if is_laxer]


def _more(limit: int | None, than: int | None) -> bool:
    return than is not None and (limit is None or limit > than)


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name


def _is_mine(*paths: Path) -> bool:
    """True if all of the files belong to this user."""
    try:
        return all(path.stat().st_uid == os.getuid() for path in paths)
    except (OSError, ValueError):
        return False
