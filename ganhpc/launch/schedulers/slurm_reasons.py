"""Slurm's reasons for a job that waits, in plain words."""

from __future__ import annotations

import re

_REASONS = {
    "Priority": "jobs of higher priority are before it",
    "Resources": "no resources are free for it yet",
    "Dependency": "it waits for the job before it, or for the user's other job",
    "DependencyNeverSatisfied": "the job that it waits for ended so that it can never start: cancel it",
    "BeginTime": "it may not start before its begin time",
    "Reservation": "it waits for its advance reservation",
    "ReservationDeleted": "the reservation that it asked for is gone: cancel it",
    "JobHeldUser": "it is held by its user: `scontrol release` lets it go on",
    "JobHeldAdmin": "it is held by an administrator: ask them",
    "JobHoldMaxRequeue": "it is held, since it was sent again too often: `scontrol release` lets it go on",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs now",
    "PartitionConfig": "it asks for more than its partition has or allows: cancel it, and launch it with other options",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows",
    "PartitionTimeLimit": "it asks for more time than its partition allows: cancel it, and launch it shorter",
    "ReqNodeNotAvail": "nodes that it needs are drained, down or reserved",
    "NodeDown": "a node that it needs is down",
    "BadConstraints": "no node has what it asks for: cancel it, and launch it with other options",
    "Licenses": "it waits for a licence",
    "Cleaning": "what its last start has left is being cleaned up",
    "JobArrayTaskLimit": "as many tasks of its array run as may",
    "SchedDefer": "the scheduler has put it off",
    "JobLaunchFailure": "a node could not start it, and it is held: `scontrol release` lets it go on",
    "launch failed requeued held": "a node could not start it, and it is held: `scontrol release` lets it go on",
    "job requeued in held state": "it was sent again, and is held: `scontrol release` lets it go on",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its quality of service (QOS) is not valid",
    "AccountNotAllowed": "its partition does not take its account",
    "QOSNotAllowed": "its partition does not take its quality of service (QOS)",
    "QOSMaxWallDurationPerJobLimit": "it asks for more time than its quality of service (QOS) allows",
    "MaxJobsPerAccount": "as many jobs of its account run as may",
    "MaxMemPerLimit": "it asks for more memory than a job may have: cancel it, and launch it with other options",
}
"""By Slurm's word."""

_NEVER = frozenset(
    {
        "PartitionTimeLimit",
        "PartitionConfig",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "AccountNotAllowed",
        "QOSNotAllowed",
        "MaxMemPerLimit",
        "ReservationDeleted",
        "DependencyNeverSatisfied",
    }
)
"""Reasons that no waiting ends: the job, or the site, must be changed."""
_OF_ONE_JOB = re.compile(r"^(QOS|Assoc)Max\w*Per(Job|Node)(Limit)?$|^QOSMin")
"""Limits on a single job, which no other job's end lifts."""

_KINDS = (
    (
        r"^QOSMin",
        "it asks for less than its quality of service (QOS) takes: cancel it, and launch it with other options",
    ),
    (
        r"^QOSMax\w*Per(Job|Node)(Limit)?$",
        "it asks for more than its quality of service (QOS) allows a job: cancel it, and launch it with other options",
    ),
    (
        r"^AssocMaxWallDurationPerJobLimit$",
        "it asks for more time than the user's account allows a job: cancel it, and launch it shorter",
    ),
    (
        r"^AssocMax\w*Per(Job|Node)(Limit)?$",
        "it asks for more than the user's account allows a job: cancel it, and launch it with other options",
    ),
    (r"^(QOS|MaxQOS)", "a limit of its quality of service (QOS) is reached"),
    (r"^(Assoc|MaxAssoc|MaxAccount|MaxUser|AssociationJobLimit)", "a limit of the user's account is reached"),
    (r"^Partition", "a limit of its partition is in the way"),
    (r"UNAVAILABLE|DOWN|DRAINED", "nodes that it needs are drained, down or reserved"),
    (r"[Hh]eld", "it is held"),
)
"""By what is in it, where the word itself is not known."""

_NO_START = re.compile(
    r"Held|held|Hold|Limit|Never|Down|Inactive|Invalid|NotAllowed|NotAvail|BadConstraints|PartitionConfig|DRAINED|Deleted|^(QOS|Assoc|Max)"
)
"""Reasons under which a start that Slurm once foresaw means nothing."""


def _word(reason: str) -> str:
    """Slurm's word for the reason, without what it adds to it."""
    return reason.strip("()").partition(",")[0].strip()


def in_words(reason: str, native: str = "") -> str:
    """The reason in plain words, with Slurm's own; an empty text where Slurm gives none. `native`: its word for the state."""
    if native in ("SUSPENDED", "STOPPED"):
        return "it is suspended, and does not go on before Slurm resumes it"
    word = _word(reason)
    if word in ("", "None", "N/A"):
        return ""
    plain = _REASONS.get(word) or next((words for pattern, words in _KINDS if re.search(pattern, word)), "")
    return f"{plain} (Slurm: {reason.strip('()')})" if plain else f"Slurm says {reason.strip('()')}"


def ends_never(reason: str) -> bool:
    """True if a job with this reason does not start by waiting."""
    word = _word(reason)
    return word in _NEVER or _OF_ONE_JOB.search(word) is not None


def names_start(reason: str) -> bool:
    """True if a start that Slurm gives beside this reason is to be believed."""
    return _NO_START.search(reason) is None
