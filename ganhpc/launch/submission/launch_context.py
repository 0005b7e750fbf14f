"""The place, the rules and the moment of a launch."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from ganhpc.core.settings import Settings
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.submission import policy_choice, prepare
from ganhpc.runs.run_folder import Run


class LaunchContext(NamedTuple):
    """The place and the rules of a launch, and its moment."""

    scheduler: Scheduler
    policy: Policy
    policy_source: str
    """Name of the policy for a later command: a name, or a file's whole path."""
    tz: dt.tzinfo
    typed_now: dt.datetime | None = None
    """The moment to plan from instead of the present."""

    @staticmethod
    def of(
        scheduler: Scheduler, policy: str | None, now: str | None, site: Settings, run: Run | None = None
    ) -> LaunchContext:
        """The policy is the typed one, else the one in force here; see policy_choice. Raises UserError for what can't be read."""
        choice = policy_choice.choose(policy, site, scheduler, run)
        return LaunchContext.under(choice, scheduler, now, site)

    @staticmethod
    def under(choice: policy_choice.Choice, scheduler: Scheduler, now: str | None, site: Settings) -> LaunchContext:
        """The context with a policy that was chosen already."""
        tz = prepare.zone(site, choice.policy)
        return LaunchContext(
            scheduler, choice.policy, choice.name, tz, parse_instant(now, tz, option="--now") if now else None
        )

    @property
    def now(self) -> dt.datetime:
        """The moment that a plan goes from. It is read anew each time: between two readings a user thinks, data come, a lock is free."""
        return self.typed_now or dt.datetime.now(self.tz)
