"""status.json and request.json of a run, with the type of every field checked when it is read.

Any program, an older version or a damaged disk may have written them. A field of status.json that does not hold what it should is as
if it were not there: the trainer writes it anew. request.json is kept whole or refused, since a job left out would be submitted twice.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from ganhpc.core.errors import UserError
from ganhpc.core.files import LARGE, Damaged, is_copy, parse_json, read_bytes, read_json

Check = Callable[[Any], bool]

_LATEST = 4e9
"""Seconds since 1970 of the latest moment that is taken for one (in 2096)."""
_MOST_JOBS = 10_000
_JOB_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:+,\[\]-]{0,99}")


class RefusalSource(str, Enum):
    """Parties that refuse a launch of a run."""

    POLICY = "policy"
    SCHEDULER = "scheduler"


class StopCause(str, Enum):
    """Causes for which a trainer stops with a checkpoint."""

    OUT_OF_TIME = "out of time"
    ASKED = "asked"


_OLD_REFUSALS = (
    ("the policy", RefusalSource.POLICY),
    ("OAR", RefusalSource.SCHEDULER),
    ("Slurm", RefusalSource.SCHEDULER),
    ("the queue of this machine", RefusalSource.SCHEDULER),
)
"""First words of sentences by versions without `refused_by`."""
OLD_OUT_OF_TIME, OLD_ASKED = "out of time", "the scheduler asked for it"
"""First words of reasons by versions without `cause`."""


UNTRAINED = (
    "its time held no training step, though an older version called it done: type its command with a longer --time"
)


def is_untrained(result: Mapping[str, Any]) -> bool:
    """True if a result is of a run that made no step: versions before such runs were refused wrote one."""
    epochs = result.get("epochs")
    return isinstance(epochs, int | float) and not isinstance(epochs, bool) and epochs == 0 and not result.get("steps")


PROGRAM_LEDGER = "program.json"
"""The account of a user's program (ganhpc.program.ledger): its run has it, whatever it saves."""


def is_result(folder: Path | str, tree: Mapping[str, Any] | None) -> bool:
    """True if what lies at result.json is the run's result: a user's program may have put something of its own there, whose run is not done.

    `tree`: the object in the file; None where it holds none.
    """
    return (tree is not None and "signature" in tree and "group" in tree) or not os.path.lexists(
        f"{folder}/{PROGRAM_LEDGER}"
    )


def is_of_another(folder: Path | str, result: Mapping[str, Any]) -> bool:
    """True if a result says that it is of another definition than the run in `folder` has: somebody has copied it there."""
    said = result.get("signature")
    # A run's own folder is named after it: nearly always nothing more is read.
    if not isinstance(said, str) or not said or f"-{said}" in Path(folder).name:
        return False
    try:
        own = (read_json(Path(folder) / "experiment.json") or {}).get("signature")
    except Damaged:
        return False
    return isinstance(own, str) and bool(own) and own != said


OF_ANOTHER = "result.json is that of another run: move it away"
"""Reason of a run whose result is another's."""


def refusal_source(request: Request) -> RefusalSource | None:
    """The party that has refused the run; None where nobody did, or it is not known."""
    sentence = request.get("refused")
    if sentence is None:
        return None
    said = request.get("refused_by")
    if said is not None:
        return RefusalSource(said) if said in tuple(RefusalSource) else None
    return next((source for words, source in _OLD_REFUSALS if sentence.startswith(words)), None)


class Status(TypedDict, total=False):
    """Where the trainer said it stood. A new key needs a line in _STATUS too."""

    state: str
    reason: str
    cause: str
    """A StopCause, where it stopped with a checkpoint."""
    host: str
    machine: str
    """Its installation (ganhpc.runs.file_owner), since two machines may have one name."""
    folder: str
    inode: int
    """The folder that it trains in, by its path and its number: a copy has others."""
    pid: int
    time: float
    launch: str
    owner: str
    """Whoever started the trainer that says it (ganhpc.runs.file_owner)."""
    tag: str
    """Of the job that it is of (Entry); empty outside jobs."""
    step: int
    epoch: float
    epochs_planned: float
    seconds: float
    budget_seconds: float
    images_per_second: float
    headline: str
    words: str
    """The last lines that a user's program wrote, where it failed."""
    rates: dict[str, float]
    figures: dict[str, float]
    last: dict[str, float]


class Entry(TypedDict, total=False):
    """One job of a run."""

    tag: str
    job_id: str | None
    segment: int
    kind: str
    reason: str
    start: str
    end: str
    work: float
    seconds: float
    last: bool
    launch: str
    command: str
    ended: str
    """Its scheduler's word on its end; never "unknown"."""
    forgotten: float
    """When its scheduler, asked at the right place, did not know it any more; it is asked again."""
    scheduler: str
    """Where and by whom it was submitted (ganhpc.runs.job_origin); jobs of older versions lack these."""
    cluster: str
    servers: list[str]
    uid: int
    user: str
    folder: str
    """The run's folder, as it was when the job was submitted: a copy of it has no part in the job."""


class Request(TypedDict, total=False):
    """The requests to a scheduler for one run. Keys of newer versions are kept."""

    scheduler: str
    policy: str
    asked: dict[str, str]
    """Typed options on the place of its jobs (ganhpc.launch.schedulers.typed_requests)."""
    launch: str
    submitted: float
    cancelled: float
    refused: str
    refused_by: str
    """A RefusalSource."""
    jobs: list[Entry]


def _last_over(request: Request) -> Entry | None:
    """The last job that is over."""
    over = (job for job in reversed(request.get("jobs", [])) if job.get("ended") or job.get("forgotten"))
    return next(over, None)


def _last_end(request: Request) -> str:
    """A scheduler's word on the last job that is over; empty where none is, or where nobody knows."""
    job = _last_over(request)
    return (job.get("ended") or "") if job else ""


_ENDS = {
    "timeout": "out of time",
    "cancelled": "its job was cancelled",
    "failed": "its job failed",
    "preempted": "its job was preempted for another",
}
"""A scheduler's word on a job's end, in a sentence on its run."""


def end_in_words(request: Request, unknown: str = "killed") -> str:
    """End of the last job that is over, as far as the scheduler has said."""
    return _ENDS.get(_last_end(request), unknown)


def job_failed(status: Status, request: Request) -> bool:
    """True if the last job that is over failed for a reason that its log alone tells: a trainer that has said something in it, and has
    saved, was killed, or has told why it stopped."""
    job = _last_over(request)
    return _last_end(request) == "failed" and not (job and job["tag"] and job["tag"] == status.get("tag"))


def ended_untrained(request: Request) -> bool:
    """True if the last job that is over failed, or ended by itself, where it should have trained and has said nothing of that."""
    return _last_end(request) in ("failed", "ended")


def stop_reason(status: Status, request: Request) -> str:
    """The cause for which a trainer has stopped with a checkpoint: its own word, with what became of its job where that says more."""
    reason, end = status.get("reason", ""), _last_end(request)
    if end == "preempted" and status.get("cause") != StopCause.OUT_OF_TIME:
        return f"{_ENDS[end]}; the last checkpoint is whole"
    if end == "preempted" or job_failed(status, request):
        return f"{reason}; then {_ENDS[end]}" if reason else _ENDS[end]
    return reason


# -- checks -------------------------------------------------------------------------------------------------------------


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 100_000


def is_number(value: Any) -> bool:
    """A finite number that a sum of some still holds; no truth value."""
    return type(value) in (int, float) and -1e300 < value < 1e300


def is_amount(value: Any) -> bool:
    """Seconds, epochs and the like: no more than can be printed and added to a date."""
    return is_number(value) and 0 <= value < 1e10


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def is_moment(value: Any) -> bool:
    """Seconds since 1970."""
    return is_number(value) and 0 <= value <= _LATEST


def _is_iso(value: Any) -> bool:
    """A moment as text, with its offset or without."""
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        return is_moment(dt.datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError, OSError):
        return False


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_job_id(value: Any) -> bool:
    """Id of a job: a word that no command takes for an option."""
    return isinstance(value, str) and _JOB_ID.fullmatch(value) is not None


def numbers(value: Any) -> dict[str, float]:
    """The items of an object that are numbers, those left out that are not."""
    return {k: v for k, v in value.items() if is_number(v)} if isinstance(value, dict) else {}


# -- status.json --------------------------------------------------------------------------------------------------------

_STATUS: Mapping[str, Check] = {
    "state": is_text,
    "reason": is_text,
    "cause": is_text,
    "host": is_text,
    "machine": is_text,
    "folder": is_text,
    "inode": is_count,
    "pid": is_count,
    "time": is_moment,
    "launch": is_text,
    "owner": is_text,
    "tag": is_text,
    "step": is_count,
    "epoch": is_amount,
    "epochs_planned": is_amount,
    "seconds": is_amount,
    "budget_seconds": is_amount,
    "images_per_second": is_amount,
    "headline": is_text,
    "words": is_text,
}
_FIGURES = ("rates", "figures", "last")


def read_status(path: Path) -> Status:
    """The fields of status.json that hold what they should; {} where there is no file, or a damaged one."""
    try:
        tree = read_json(path) or {}
    except Damaged:
        return {}  # It is written often and not forced to the disk: what must last is in the checkpoints.
    kept = {key: tree[key] for key, check in _STATUS.items() if key in tree and check(tree[key])}
    kept |= {key: numbers(tree[key]) for key in _FIGURES if isinstance(tree.get(key), dict)}
    return cast("Status", kept)


FAULTS = "faults.json"
"""The file of a run with its last fault of the file system."""


class Fault(NamedTuple):
    """A fault of the file system that has ended a training or a program."""

    number: int
    """Its errno."""
    time: float
    given_up: bool
    """True if it came once too often in a row."""


def read_fault(folder: Path) -> Fault | None:
    """The last fault of the run in `folder`; None where there was none, or its file is damaged."""
    try:
        tree = read_json(folder / FAULTS) or {}
    except (UserError, OSError):
        return None
    try:
        made = Fault(tree["number"], tree["time"], tree["given_up"])
    except KeyError:
        return None
    known = is_count(made.number) and made.number < 4096 and is_amount(made.time) and isinstance(made.given_up, bool)
    return made if known else None


def metric_lines(path: Path) -> list[tuple[bytes, dict[str, Any] | None]]:
    """The lines of metrics.jsonl with their objects, None for a line that is none. No file: no lines. Raises Damaged."""
    try:
        data = read_bytes(path, LARGE)
    except FileNotFoundError:
        return []
    return [(line, _object(line)) for line in data.splitlines()]


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the objects of metrics.jsonl, how many lines are none). Raises Damaged where it is no file."""
    trees = [tree for _, tree in metric_lines(path)]
    whole = [tree for tree in trees if tree is not None]
    return whole, len(trees) - len(whole)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        tree = parse_json(line)
    except ValueError:
        return None
    return tree if isinstance(tree, dict) else None


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


# -- request.json -------------------------------------------------------------------------------------------------------

_REQUEST: Mapping[str, Check] = {
    "scheduler": is_text,
    "policy": is_text,
    "launch": is_text,
    "submitted": is_moment,
    "cancelled": lambda value: is_moment(value) or _is_flag(value),
    "refused": is_text,
    "refused_by": is_text,
    "asked": _is_texts,
}
_ENTRY: Mapping[str, Check] = {
    "tag": is_text,
    "job_id": is_job_id,
    "segment": is_count,
    "kind": is_text,
    "reason": is_text,
    "start": _is_iso,
    "end": _is_iso,
    "work": is_amount,
    "seconds": is_amount,
    "last": _is_flag,
    "launch": is_text,
    "command": is_text,
    "ended": is_text,
    "forgotten": is_moment,
    "scheduler": is_text,
    "cluster": is_text,
    "servers": _is_text_list,
    "uid": is_count,
    "user": is_text,
    "folder": is_text,
}
_MISSING: Entry = {"tag": "", "job_id": None, "segment": 1, "kind": "", "work": 0, "seconds": 0, "last": False}
"""Defaults for a job that an older version wrote down."""


def read_request(path: Path) -> Request:
    """request.json, its jobs complete; {"jobs": []} where there is none. Raises Damaged that names the first wrong field.

    In a copy of a run's folder, the jobs that may still live are those of the original, and are left out.
    """
    tree = read_json(path) or {}
    jobs = tree.get("jobs", [])
    if not isinstance(jobs, list) or len(jobs) > _MOST_JOBS or not all(isinstance(job, dict) for job in jobs):
        raise _wrong(path, "jobs")
    _check(path, tree, _REQUEST, "")
    for number, job in enumerate(jobs):
        _check(path, job, _ENTRY, f" of job {number + 1}")
    entries = [cast("Entry", {**_MISSING, **_known(job)}) for job in jobs]
    kept = [job for job in entries if not (is_open(job) and is_copy(path.parent, job.get("folder")))]
    return cast("Request", {**_known(tree), "jobs": kept})


def is_open(job: Entry) -> bool:
    """True if the job, for all the record knows, may still wait or run."""
    # Older versions wrote "unknown" where a scheduler that was not the job's own did not know it.
    return job.get("ended") in (None, "unknown")


def _check(path: Path, tree: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> None:
    for key, check in checks.items():
        if tree.get(key) is not None and not check(tree[key]):
            raise _wrong(path, f"{key}{where}")


def _known(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if value is not None}


def _wrong(path: Path, field: str) -> Damaged:
    return Damaged(
        f"{path} does not hold what it should (its field {field}): move the file away; its jobs, if any, stay."
    )
