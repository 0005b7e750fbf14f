"""A job of a night's plan, as the checks of the night's script find it: in the record of its run, by its tag."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from typing import NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.core.printable import print_error
from ganhpc.core.settings import load as load_settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.submission import policy_choice
from ganhpc.runs import submission_record
from ganhpc.runs.run_files import Entry
from ganhpc.runs.run_folder import Run


class PlannedJob(NamedTuple):
    """A job of a plan, with the scheduler and the policy that it was planned for."""

    entry: Entry
    scheduler: Scheduler
    policy: Policy


def planned_job(run: Run, tag: str) -> PlannedJob:
    """The job with `tag` in the record of `run`. Raises UserError where it has none."""
    record = submission_record.read(run)
    entry = next((entry for entry in record["jobs"] if entry["tag"] == tag), None)
    if entry is None:
        raise UserError(
            f"{run} has no job {tag} in its record, since it was planned or submitted anew: plan anew with `python launch.py night`."
        )
    if not _has_moments(entry):
        raise UserError(
            f"{run} has a job {tag} without its start in its record, which is damaged: plan anew with `python launch.py night`."
        )
    scheduler = registry.named(str(record.get("scheduler")), load_settings())
    return PlannedJob(entry, scheduler, policy_choice.load(str(record.get("policy"))).policy)


def _has_moments(entry: Entry) -> bool:
    """True if the record tells when the job is to start and end, with the time zone, as `night` writes it."""
    moments = [entry.get("start"), entry.get("end")]
    return all(text and dt.datetime.fromisoformat(text).tzinfo for text in moments)


def report(check: Callable[[], str]) -> None:
    """Do a check for the night's script: what it has to say goes to standard error, and its refusal ends the process with the error's code."""
    try:
        if said := check():
            print(said, file=sys.stderr)
    except UserError as error:
        print_error(error)
        sys.exit(error.exit_code)
