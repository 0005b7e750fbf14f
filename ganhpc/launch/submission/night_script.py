"""A plan as a script that a person can read, and run by hand in place of the launcher."""

from __future__ import annotations

import datetime as dt
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ganhpc.core import scheduler_environment
from ganhpc.core.files import atomic_open
from ganhpc.core.settings import ROOT, state_folder
from ganhpc.core.storage_errors import fault
from ganhpc.launch.planner.planner import Slot
from ganhpc.launch.schedulers import script_text
from ganhpc.launch.schedulers.base import JobRequest, PreparedJob
from ganhpc.launch.schedulers.script_text import ScriptText
from ganhpc.launch.submission import granted, place_left
from ganhpc.launch.submission import submit as sending
from ganhpc.launch.submission.prepare import Submission, Wanted
from ganhpc.launch.submission.submit import SubmittedJob

_SENT = """\
# Submitted already, as jobs {}. To submit them once more, delete the next line.
exit 0
"""
_NOTHING = script_text.comment("")


def write(
    submission: Submission,
    wanted: Sequence[Wanted],
    folder: Path,
    policy_source: str,
    sent: Sequence[SubmittedJob] = (),
) -> Path:
    """Write night-YYYY-MM-DD.sh into `folder`, and the script of each job into its run; returns its path.

    The plan is noted in the runs, so that jobs which were submitted by hand are known by their tags. Raises UserError.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise fault(denied, folder, elsewhere="`cd` into a folder of yours")
    if not sent:
        sending.note_plan(submission, wanted, policy_source)
        for job in submission.jobs:
            sending.write_script(job)
    slots = submission.plan.slots
    day = (slots[0].start if slots else submission.plan.window.start).date()
    path = folder / f"night-{day}.sh"
    with atomic_open(path) as file:
        file.write(text(submission, day, sent).encode())
    path.chmod(0o755)
    return path


def text(submission: Submission, day: dt.date, sent: Sequence[SubmittedJob] = ()) -> str:
    """The script."""
    pairs = list(zip(submission.plan.slots, submission.jobs, strict=True))
    ids = ", ".join(job.id for job in sent)
    left = (f"Left over: {left.seconds} s of {left.run}: {left.reason}" for left in submission.plan.remaining)
    own = _of_a_cluster(submission.scheduler.name) if submission.scheduler.command else {}
    return script_text.fill(
        f"night_{submission.scheduler.name}.sh",
        **own,
        day=script_text.comment(f"{day:%A %d %B %Y}"),
        count=script_text.number(len(pairs)),
        place=script_text.comment(submission.scheduler.title),
        policy=script_text.comment(submission.policy.name),
        sent=script_text.shell(_SENT, script_text.comment(ids)) if sent else _NOTHING,
        steps=script_text.lines(_step(k, slot, job, submission) for k, (slot, job) in enumerate(pairs, start=1)),
        left=script_text.lines(script_text.shell("# {}", script_text.comment(line)) for line in left),
    )


def _of_a_cluster(name: str) -> dict[str, ScriptText]:
    """The parts that the scripts of all clusters share."""
    python = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m"]
    checks = {
        "place": script_text.command([*python, place_left.__name__]),
        "check": script_text.command([*python, granted.__name__]),
    }
    names = {"taken": scheduler_environment.shell_pattern(), "kept": "|".join(scheduler_environment.KEPT)}
    choice = {key: script_text.word(text) for key, text in names.items()}
    zone = os.environ.get("TZ")
    clock = script_text.shell("unset TZ") if zone is None else script_text.export("TZ", zone)
    return {
        "begin": script_text.part(
            "night_begin.sh", scheduler=script_text.comment(name), meeting=_meeting(), clock=clock, **choice
        ),
        "submit": script_text.part("night_submit.sh", root=script_text.word(ROOT), **checks),
    }


def _meeting() -> ScriptText:
    """A line that names the folder in which the launchers of this user meet, where bash would take another one: for a path that is not whole, or
    one below a ~ in quotes, or a HOME that is not there."""
    folder = state_folder().parent
    if folder == Path(os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME')}/.local/state"):
        return _NOTHING
    return script_text.shell("{}\n", script_text.export("XDG_STATE_HOME", str(folder)))


def _step(k: int, slot: Slot, job: PreparedJob, submission: Submission) -> ScriptText:
    """One job: when and why, then its command, which waits for those before it where it must, as the launcher has it wait."""
    request = job.request
    before = [script_text.shell('"$job{}"', script_text.number(number)) for number in request.waits_for(range(1, k))]
    title = script_text.comment(
        f"{k}. {slot.start:%a %d %b} {slot.times}: segment {slot.segment} of {slot.run} ({slot.kind})"
    )
    command = submission.scheduler.by_hand(job, before)
    ids = [*map(script_text.word, request.after), *before]
    return script_text.lines(
        [
            *([_NOTHING] if k > 1 else []),
            script_text.shell("# {}", title),
            script_text.comment_lines(slot.reason, "#    "),
            script_text.shell(
                "job{}=$(submit {} {} {} {} {})",
                script_text.number(k),
                script_text.word(request.tag),
                script_text.word(request.run),
                script_text.number(_latest(request)),
                script_text.quoted(ids),
                command,
            ),
        ]
    )


def _latest(request: JobRequest) -> int:
    """The last second, since 1970, at which the job may be submitted by hand: behind it a reservation lies in the past, and another
    job would not end by its deadline. 0: at any time. On this machine jobs keep their end themselves."""
    if request.kind == "reservation" and request.start:
        return int(request.start.timestamp())
    return int(request.deadline.timestamp()) - request.seconds if request.deadline else 0
