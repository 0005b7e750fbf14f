"""Slurm's words as ours: states, the fields of squeue and sacct, and jobs read from their answers."""

from __future__ import annotations

import dataclasses
import re

from ganhpc.core.subprocesses import Answer
from ganhpc.launch.schedulers import slurm_partitions, slurm_reasons
from ganhpc.launch.schedulers.base import JOB_NAME, Job, JobState, Stated

SEPARATOR = "\x1f"
FIELDS = SEPARATOR.join(("%i", "%T", "%S", "%e", "%l", "%E", "%r", "%j", "%k", "%o"))
"""Of squeue: id, state, start, end, time limit, dependencies, reason, name, comment, script."""

ACCOUNT_FIELDS = "JobIDRaw,State,ExitCode,Start,End,JobName,Comment"
"""Of sacct."""
MARK = JOB_NAME + ":"
"""First words of the comment of our jobs; their tag follows."""

STATES = Stated(
    {
        "PENDING": JobState.WAITING,
        "CONFIGURING": JobState.WAITING,
        "REQUEUED": JobState.WAITING,
        "REQUEUE_HOLD": JobState.WAITING,
        "REQUEUE_FED": JobState.WAITING,
        "SPECIAL_EXIT": JobState.WAITING,
        "RESV_DEL_HOLD": JobState.WAITING,
        "RUNNING": JobState.RUNNING,
        "COMPLETING": JobState.RUNNING,
        "SUSPENDED": JobState.RUNNING,
        "STOPPED": JobState.RUNNING,
        "SIGNALING": JobState.RUNNING,
        "STAGE_OUT": JobState.RUNNING,
        "RESIZING": JobState.RUNNING,
        "COMPLETED": JobState.ENDED,
        "TIMEOUT": JobState.TIMEOUT,
        "DEADLINE": JobState.TIMEOUT,
        "CANCELLED": JobState.CANCELLED,
        "REVOKED": JobState.CANCELLED,
        "FAILED": JobState.FAILED,
        "NODE_FAIL": JobState.FAILED,
        "BOOT_FAIL": JobState.FAILED,
        "OUT_OF_MEMORY": JobState.FAILED,
        "PREEMPTED": JobState.PREEMPTED,
    }
)

_CLEANED_UP = ("COMPLETING", "STAGE_OUT")
"""States of a job whose script has ended."""
_CLEANING_SECONDS = 300.0
"""Seconds for which such a job is taken for a running one."""
_STANDS_STILL = ("SUSPENDED", "STOPPED")
"""States in which a job's time does not run: its end moves with the clock."""

_RECORD = re.compile(rf"^(?=\d[^{SEPARATOR}\n]*{SEPARATOR}[A-Z_]+{SEPARATOR})", re.MULTILINE)
"""Beginning of a job in squeue's answer. Names and comments of the user's other jobs may hold line breaks, so a line is no record."""


def jobs_of(answer: str) -> list[Job]:
    """The jobs in squeue's answer, in its order."""
    found: dict[str, Job] = {}
    for record in _RECORD.split(answer):
        if (job := job_of(record.removesuffix("\n"))) is not None:
            found[job.id] = _together(found[job.id], job) if job.id in found else job
    return list(found.values())


def _together(first: Job, second: Job) -> Job:
    """One job of two lines: the components of a heterogeneous job; or what is left of a federation's job beside the one that lives."""
    if first.state.alive != second.state.alive:
        return first if first.state.alive else second
    running = next((job for job in (first, second) if job.state is JobState.RUNNING), first)
    return dataclasses.replace(
        running,
        end=_later(first.end, second.end),
        walltime=_later(first.walltime, second.walltime),
        count=first.count + second.count,
    )


def is_left_over(job: Job, now: float) -> bool:
    """True if a job has ended a while ago and is cleaned up ever since: a node that is gone, or files that are copied, may take hours."""
    return job.native in _CLEANED_UP and job.end is not None and now - job.end > _CLEANING_SECONDS


def _later(first: float | None, second: float | None) -> float | None:
    """The later of two moments, or the longer of two times; None, which is no limit, is after all others."""
    return None if first is None or second is None else max(first, second)


def job_of(record: str) -> Job | None:
    """The job in one record of squeue; None for noise."""
    parts = record.split(SEPARATOR)
    if len(parts) < 9:
        return None  # a banner, a warning
    id, native, start, end, limit, waits_for, reason, name, comment, *more = parts
    script = more[-1] if more else ""
    tasks, at_once = _tasks(id)
    rounds = -(-tasks // at_once)
    each = slurm_partitions.duration(limit)
    state = STATES.read(native)
    named = instant(start) if state is JobState.WAITING and slurm_reasons.names_start(reason) else None
    return Job(
        _plain_id(id),
        state,
        native,
        name,
        _tag(comment, script),
        instant(start),
        None if native in _STANDS_STILL else instant(end),
        each * rounds if each is not None else None,
        message=reason,
        named_start=named,
        why=slurm_reasons.in_words(reason, native),
        after=tuple(re.findall(r"(?<=:)\d+(?:_\d+)?", waits_for)),
        # Of another job that waits, the start is only an estimate.
        not_before=instant(start) if reason == "BeginTime" else None,
        count=tasks,
        stuck=state is JobState.WAITING and slurm_reasons.ends_never(reason),
    )


def _tasks(id: str) -> tuple[int, int]:
    """(tasks of an array that wait, how many of them may run at once); (1, 1) for any other job.

    Slurm shows them as 10_[0-3,7%2]. Where a list is cut short with dots all the same, its end may be missing.
    """
    if not (found := re.search(r"_\[([^%\]]*)(?:%(\d+))?", id)):
        return 1, 1
    tasks = 0
    for part in found[1].split(","):
        if bounds := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip()):
            first, last = int(bounds[1]), int(bounds[2] or bounds[1])
            tasks += 1 + max(0, last - first) // int(bounds[3] or 1)
    # Without a limit they may run at once, or one after another where there is little room.
    return max(1, tasks), max(1, int(found[2] or 1))


def accounted_job(line: str) -> Job | None:
    """The job in a line of sacct; None for any other line."""
    parts = line.split("|", 7)
    if len(parts) < 5:
        return None
    id, native, code, start, end, name, comment, submitted = (*parts, "", "", "")[:8]
    exit_code = int(code.split(":")[0]) if code[:1].isdigit() else None
    tag = _tag(comment, submitted)
    id, state = _plain_id(id), STATES.read(native)
    return Job(id, state, native, name, tag, instant(start), instant(end), exit_code=exit_code)


def _plain_id(id: str) -> str:
    """Of an array that waits (10_[0-3]), and of a component of a heterogeneous job (12+0): the number that dependencies and scancel take."""
    return re.split(r"_\[|\+", id)[0]


def _tag(comment: str, script: str) -> str:
    """Our tag of a job. Users and plugins of a site may write a comment of their own, and most accounts keep none; but the script, the
    last word of the line that submitted it, is named after the tag."""
    if comment.startswith(MARK):
        return comment.removeprefix(MARK)
    named = re.search(r"([\w-]+)\.sh'?$", script)
    return named[1] if named else ""


def instant(text: str) -> float | None:
    """Seconds since 1970, as SLURM_TIME_FORMAT=%s has them; None where no moment is known."""
    try:
        return float(text)
    except ValueError:
        return None  # N/A, Unknown, None


_OTHER_FIELDS = re.compile(r"^\s*\d+([_+[][\d,%:[\]_-]*)?(\s+\S|[A-Z]{4})", re.MULTILINE)
"""A job in another form than the one that is asked for."""


def checked(answer: Answer, mark: str = "") -> Answer:
    """squeue's answer; failed where it ended with 0 and has told of a fault, or stopped within a line: an empty queue says neither. So where `mark`,
    which every line has that was asked for, is in none: a site's own squeue takes no notice of the fields."""
    told = re.search(r"^(?:squeue|slurm\w*)\b.*\berror\b.*$", answer.err, re.I | re.MULTILINE)
    if answer.code == 0 and not answer.out.strip() and told:
        return Answer(1, "", told[0])
    if answer.code == 0 and answer.out and not answer.out.endswith("\n"):
        return Answer(1, "", "its answer is cut short")
    if answer.code == 0 and mark not in answer.out and _OTHER_FIELDS.search(answer.out):
        return Answer(1, "", "its answer has other fields than those that were asked for")
    return answer
