"""The rules that jobs must keep, as data: one TOML file a policy, read into a frozen dataclass."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.toml_readers import (
    WEEKDAYS,
    BadValue,
    count,
    flag,
    limit,
    one_of,
    readers_of,
    seconds,
    table_in,
    text,
    time_zone,
    wall,
    walls,
    weekdays,
)
from ganhpc.core.units import counted, format_duration

_EDGE_DAYS = ("working", "every")
PACKAGED = Path(__file__).with_name("policies")


@dataclass(frozen=True)
class Policy:
    """Limits of one user's jobs: one field per key of the TOML file, with the reader of its value.

    Times are whole seconds; times of day are the site's wall clock; None means no limit.
    """

    name: str
    title: Annotated[str, text] = ""
    """One line for lists."""

    max_job: Annotated[int | None, limit(seconds)] = None
    """Longest walltime of one job, seconds."""
    max_jobs: Annotated[int | None, limit(count)] = None
    """Jobs of the user that may run at the same time."""
    max_submitted: Annotated[int | None, limit(count)] = None
    """Jobs of the user that may wait or run at the same time: the site's limit on submitted jobs (Slurm: MaxSubmitJobs)."""
    max_reservations: Annotated[int, count] = 2
    """Advance reservations that may wait at the same time. Stock OAR's admission rules refuse the third (rc 254)."""
    gap: Annotated[int, seconds] = 0
    """Least time from the end of one job to the start of the next, seconds. OAR's SCHEDULER_JOB_SECURITY_TIME of 60 s
    makes 61 the least that it accepts."""
    min_slot: Annotated[int, seconds] = 300
    """A slot shorter than this is not worth a job's start-up, seconds."""

    day_start: Annotated[dt.time, wall] = dt.time(9)
    """Start of the day on a working day."""
    day_end: Annotated[dt.time, wall] = dt.time(19)
    """End of the day on a working day: a night begins."""
    working_days: Annotated[tuple[str, ...], weekdays] = WEEKDAYS[:5]
    """Days of the week that are working days unless they are holidays."""
    country: Annotated[str, text] = ""
    """ISO 3166 code of the country, or of a part of it such as FR-6AE (Alsace), whose public holidays are not working days; empty: none."""

    time_zone: Annotated[str, time_zone] = ""
    """Zone of its times of day, such as Europe/Paris; empty: the machine's. The site's configuration goes before it."""

    edges: Annotated[tuple[dt.time, ...], walls] = ()
    """Times of day that no job may cross."""
    edge_days: Annotated[str, one_of(*_EDGE_DAYS)] = "working"
    """The days on which the edges stand: working or every."""
    end_before_edge: Annotated[int, seconds] = 0
    """A job ends at least this long before an edge, seconds (60: 8:59)."""
    start_after_edge: Annotated[int, seconds] = 0
    """A job starts at least this long after an edge, seconds (60: 9:01)."""
    lax: Annotated[bool, flag] = False
    """The laxer reading of the charter: a job submitted from `lax_evening_from` on may cross that day's edge of `day_end`,
    and a job submitted on the same day may cross that of `day_start`."""
    lax_evening_from: Annotated[dt.time, wall] = dt.time(17)

    night_limit: Annotated[int | None, limit(seconds)] = None
    """Longest part of one job inside a single night between two working days, seconds."""
    weekend_limit: Annotated[int | None, limit(seconds)] = None
    """Longest part of one job inside a longer rest (weekend, holidays), seconds."""
    day_quota: Annotated[int | None, limit(seconds)] = None
    """Seconds of the whole cluster that one user may use in one day, between day_start and day_end of a working day."""
    cores: Annotated[int | None, limit(count)] = None
    """Cores of the whole cluster; None: unknown, and a job counts as if it took them all."""
    quota_free_job: Annotated[int, seconds] = 0
    """A job of at most this many seconds that is submitted less than ..."""
    quota_free_notice: Annotated[int, seconds] = 0
    """... this many seconds before it starts does not count against the quota."""

    def __post_init__(self) -> None:
        if not self.day_start < self.day_end:
            raise UserError(
                f"policy {self.name!r}: day_start {self.day_start:%H:%M} must come before day_end {self.day_end:%H:%M}."
            )


def packaged_policies() -> list[str]:
    """Names of the policies that come with the package."""
    return sorted(path.stem for path in PACKAGED.glob("*.toml"))


def load_policy(name: str, folders: Iterable[Path] = ()) -> Policy:
    """The policy called `name`: a TOML file's path, `name`.toml in one of `folders`, or one that comes with the package.

    A file may say `base = "student"` and then only what differs. Raises UserError for an unknown name, an unknown key or
    a bad value.
    """
    if name.endswith(".toml") or "/" in name:
        return _read(Path(name).stem, Path(name))
    found = {path.stem: path for folder in reversed(list(folders)) for path in sorted(folder.glob("*.toml"))}
    if name in found:
        return _read(name, found[name])
    if name not in packaged_policies():
        names = [*packaged_policies(), *found]
        raise UserError(f"there is no policy {name!r}: {nearest(name, names)}; or give the path of a TOML file.")
    return _read(name, PACKAGED / f"{name}.toml")


def _read(name: str, path: Path) -> Policy:
    try:
        table = table_in(path)
    except UserError as error:
        raise UserError(f"the policy file {str(error).rstrip('.')}: give the path of a TOML file.") from None
    except ValueError as error:
        raise UserError(f"the policy file {path} is not valid TOML: {error}.") from error
    base = table.pop("base", None)
    if base is None:
        start = Policy(name)
    elif isinstance(base, str) and base in packaged_policies():
        start = dataclasses.replace(load_policy(base), name=name)
    else:
        raise UserError(f"the policy file {path} has base = {base!r}: {nearest(str(base), packaged_policies())}.")
    return dataclasses.replace(start, **{key: _value(path, key, value) for key, value in table.items()})


def _value(path: Path, key: str, value: Any) -> Any:
    readers = readers_of(Policy)
    if key not in readers:
        raise UserError(f"the policy file {path} has an unknown key {key!r}: {nearest(key, [*readers, 'base'])}.")
    try:
        return readers[key](value)
    except BadValue as allowed:
        raise UserError(f"the policy file {path} has {key} = {value!r}: write {allowed}.") from None
    except UserError as error:
        raise UserError(f"the policy file {path} has {key} = {value!r}: {error}") from None


def format_seconds(seconds: int) -> str:
    """A time for a sentence; whole hours stay hours: 62h."""
    return f"{seconds // 3600}h" if seconds and seconds % 3600 == 0 else format_duration(seconds)


def explain(policy: Policy) -> list[str]:
    """The policy in force as sentences, one a rule."""
    named = f"Policy {policy.name}: {policy.title}." if policy.title else f"Policy {policy.name}."
    return [named, *filter(None, (*_about_jobs(policy), *_about_edges(policy), *_about_days(policy)))]


def _about_jobs(policy: Policy) -> Iterable[str]:
    if policy.max_job is not None:
        yield f"A job lasts at most {format_seconds(policy.max_job)}."
    if policy.max_jobs is not None:
        yield f"At most {policy.max_jobs} job{'s run' if policy.max_jobs > 1 else ' runs'} at a time."
    if policy.gap:
        yield f"From the end of one job to the start of the next there are at least {format_seconds(policy.gap)}."
    if policy.max_submitted is not None:
        yield f"At most {policy.max_submitted} job{'s' if policy.max_submitted > 1 else ''} may wait or run, an array's tasks each counted."
    yield f"At most {policy.max_reservations} advance reservations wait at a time."
    yield f"A slot shorter than {format_seconds(policy.min_slot)} is left empty." if policy.min_slot else ""


def _about_edges(policy: Policy) -> Iterable[str]:
    if not policy.edges:
        yield "No time of day is an edge: jobs run across all of them."
        return
    edges = " or ".join(f"{edge:%H:%M}" for edge in policy.edges)
    where = "of a working day" if policy.edge_days == "working" else "of any day"
    yield (
        f"No job crosses {edges} {where}: it ends at least {format_seconds(policy.end_before_edge)} before the edge, or "
        f"starts at least {format_seconds(policy.start_after_edge)} after it."
    )
    if policy.lax:
        yield (
            f"Laxer reading: a job submitted from {policy.lax_evening_from:%H:%M} on may cross {policy.day_end:%H:%M} of "
            f"that day, and one submitted on the same day may cross {policy.day_start:%H:%M}."
        )


def _about_days(policy: Policy) -> Iterable[str]:
    holidays = f" that are not public holidays ({policy.country})" if policy.country else ""
    yield (
        f"Working days are {', '.join(policy.working_days)}{holidays}; the day lasts from {policy.day_start:%H:%M} to "
        f"{policy.day_end:%H:%M}, the night from {policy.day_end:%H:%M} to {policy.day_start:%H:%M}"
        f"{f' (clocks of {policy.time_zone})' if policy.time_zone else ''}."
    )
    if policy.night_limit is not None:
        yield f"A job takes at most {format_seconds(policy.night_limit)} of a night."
    if policy.weekend_limit is not None:
        yield f"A job takes at most {format_seconds(policy.weekend_limit)} of a weekend or of holidays."
    if policy.day_quota is not None:
        cores = counted(policy.cores, "core") if policy.cores else "all cores"
        yield f"Jobs use at most {format_seconds(policy.day_quota)} x {cores} a user and day, between these hours."
        if policy.cores is None:
            yield 'The number of cores is not set, so a job counts as if it took the whole cluster (set "cores").'
    if policy.day_quota is not None and policy.quota_free_job and policy.quota_free_notice:
        yield (
            f"A job of at most {format_seconds(policy.quota_free_job)} submitted less than "
            f"{format_seconds(policy.quota_free_notice)} before it starts does not count against that quota."
        )
