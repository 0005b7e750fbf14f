"""Origin of a job: its scheduler, the scheduler's server or cluster, and the user who submitted it. request.json keeps it with each job."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ganhpc.runs.run_files import Entry, Request

_INTENT_SECONDS = 600.0
"""A job of another origin without an id may be on its way to its scheduler for this long."""


class Origin(NamedTuple):
    """A place and a person. Two jobs of one origin are told apart by the tags of the launcher, which are random."""

    scheduler: str
    cluster: str
    """ClusterName of Slurm, the site or server of OAR, the host of a local queue; empty: not known."""
    uid: int
    user: str
    servers: tuple[str, ...] = ()
    """Hosts and ports of its servers, as `ctl1:6817`, where the scheduler tells them: names of clusters are not unique."""

    @staticmethod
    def here(scheduler: str, cluster: str, servers: tuple[str, ...] = ()) -> Origin:
        """This process's user at the scheduler that answers here."""
        uid = os.getuid()
        return Origin(scheduler, cluster, uid, user_of(uid), servers)

    def to_entry(self) -> Entry:
        """The fields that request.json keeps with each job."""
        entry: Entry = {"scheduler": self.scheduler, "cluster": self.cluster, "uid": self.uid, "user": self.user}
        return {**entry, "servers": list(self.servers)} if self.servers else entry

    def may_ask(self, entry: Entry) -> bool:
        """True if the scheduler here may know the job: nothing in its record names another place or person."""
        known = (
            entry.get("scheduler") or self.scheduler,
            entry.get("cluster") or self.cluster,
            entry.get("uid", self.uid),
        )
        theirs = entry.get("servers")
        # A server that stands in for another is in both lists.
        apart = bool(theirs) and bool(self.servers) and set(self.servers).isdisjoint(theirs or ())
        return known == (self.scheduler, self.cluster or known[1], self.uid) and not apart

    def is_of(self, entry: Entry) -> bool:
        """True if the record names this place and person. Jobs of older versions name none."""
        return bool(self.cluster) and entry.get("cluster") == self.cluster and self.may_ask(entry) and "uid" in entry


def user_of(uid: int) -> str:
    """The name of a user, or the number where there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def of_another_person(entry: Entry) -> bool:
    """True if another user has submitted the job."""
    return entry.get("uid", os.getuid()) != os.getuid()


def _may_live(entry: Entry, record: Request) -> bool:
    """True if a job of another origin, which nobody asks here, has to be taken for living."""
    if entry.get("ended") or entry.get("forgotten"):
        return False
    if entry["job_id"]:
        return True
    # Of a clock of another host, which may be ahead or behind: no moment lasts longer for it.
    return abs(time.time() - record.get("submitted", 0.0)) < _INTENT_SECONDS


def elsewhere(record: Request, here: Origin) -> list[Entry]:
    """The jobs in a record that may live at another place, or are of another person."""
    return [e for e in record["jobs"] if not here.may_ask(e) and _may_live(e, record)]


def described(entries: Iterable[Entry], place: Callable[[str, str], str]) -> str:
    """Where jobs are, in words: `job 7 on the Slurm cluster 'alpha' (user alice)`; `place` words a scheduler and its cluster."""
    return " and ".join(dict.fromkeys(_described(entry, place) for entry in entries))


def _described(entry: Entry, place: Callable[[str, str], str]) -> str:
    where = place(entry.get("scheduler", ""), entry.get("cluster", ""))
    number = f"job {entry['job_id']}" if entry["job_id"] else "a job that is being submitted"
    server = f", server {entry['servers'][0]}" if entry.get("servers") else ""
    return f"{number} on {where} (user {entry.get('user') or 'not known'}{server})"
