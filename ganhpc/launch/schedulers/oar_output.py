"""OAR's words as ours: states, return codes, and the JSON of oarstat, whose keys differ between versions 2.5 and 3."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
import time
from typing import Any

from ganhpc.launch.schedulers.base import JOB_NAME, Job, JobState, Refused, Stated, system_zone

STATES = Stated(
    {
        "Waiting": JobState.WAITING,
        "Hold": JobState.WAITING,
        "toLaunch": JobState.WAITING,
        "toAckReservation": JobState.WAITING,
        "Launching": JobState.RUNNING,
        "Running": JobState.RUNNING,
        "Suspended": JobState.RUNNING,
        "Resuming": JobState.RUNNING,
        "Finishing": JobState.RUNNING,
        "Terminated": JobState.ENDED,
        "toError": JobState.FAILED,
        "Error": JobState.FAILED,
    }
)

REFUSALS = {
    7: "the date is not one that oarsub reads",
    8: "oarsub does not understand the request",
    9: "its server does not answer, and the job may stand in its database, where it waits until the server is back",
    10: "the slot is taken",
    12: "an option stands where oarsub does not allow it",
    254: "an admission rule of the site says no",
}
"""oarsub's exit codes; it prints OAR_JOB_ID before the verdict, so the code alone says whether there is a job."""


_SERVER_AWAY = 9
"""oarsub says beside it that the job is killed, and does not do so."""


def refusal(refused: Refused) -> Refused:
    """oarsub's words as a sentence, with the moment that it offers instead."""
    if refused.unsure:
        return refused
    if refused.code == _SERVER_AWAY:
        return Refused(REFUSALS[_SERVER_AWAY], _SERVER_AWAY, unsure=True)
    said = str(refused)
    earliest = re.search(r"could run at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", said)
    moment = dt.datetime.strptime(earliest[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=system_zone()) if earliest else None
    every = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("OAR_JOB_ID")]
    lines = [line for line in every if re.search(_TELLING, line, re.I)] or every
    lines = [line for line in lines if "please verify your request syntax" not in line] or lines
    detail = (
        re.sub(r"^\[[A-Z ]+\]\s*(Error:\s*)?|^Reservation not valid --> ", "", lines[-1]).rstrip(".") if lines else ""
    )
    reason = REFUSALS.get(
        refused.code or 0, "oarsub says no" if refused.code else said.strip() or "oarsub gave no reason"
    )
    return Refused(f"{reason}{f' ({detail})' if detail else ''}", refused.code, moment)


_TELLING = r"error|could run|refus|limit|cannot|admission rule.*(not|more)|not enough|too old"


def trees(text: str) -> list[dict[str, Any]]:
    """The jobs in oarstat's JSON, whatever is printed around it; OAR 2 gives an object by id, OAR 3 a list.

    Raises ValueError where there is the beginning of an object and no whole one, or a job in another form.
    """
    begun = False
    for opening in re.finditer(r"^\s*[\[{]", text, re.MULTILINE):
        begun = begun or text[opening.end() - 1] == "{"
        try:
            tree, _ = json.JSONDecoder().raw_decode(text[opening.end() - 1 :])
        except ValueError:
            continue  # a line of noise that begins with a bracket
        if isinstance(tree, dict) and tree and all(isinstance(value, dict) for value in tree.values()):
            return [{"id": id, **value} for id, value in tree.items()]
        found = tree.get("items", [tree] if tree else []) if isinstance(tree, dict) else tree
        if all(isinstance(item, dict) for item in found):
            return list(found)
    if begun:
        raise ValueError("oarstat's JSON is not whole")
    if re.search(r"^\s*\d+\s+\S+\s+\S", text, re.MULTILINE):
        raise ValueError("oarstat's answer is no JSON")
    return []


def job_of(tree: dict[str, Any]) -> Job:
    """One job of oarstat's JSON."""

    def first(*keys: str) -> Any:
        return next((tree[key] for key in keys if tree.get(key) not in (None, "", "N/A")), None)

    start = number(first("scheduledStart", "scheduled_start")) or number(first("startTime", "start_time"))
    walltime = number(first("walltime", "wallTime")) or _wanted_walltime(str(first("wanted_resources") or ""))
    stop = number(first("stopTime", "stop_time"))
    status = number(first("exit_code", "exitCode"))
    native, name = str(first("state") or ""), str(first("name") or "")
    state = STATES.read(native)
    reservation = str(first("reservation") or "None") not in ("None", "none", "0", "False")
    message = str(first("message") or "")
    before = _listed(first("dependencies"))
    postponed = _postponed(_listed(first("types"))) if state is JobState.WAITING else None
    named = start if state is JobState.WAITING and native != "Hold" else None
    start = start or postponed
    return Job(
        id=str(first("Job_Id", "job_id", "id")),
        state=state,
        native=native,
        name=name,
        tag=_tag(name, str(first("command") or "")),
        start=start or None,
        end=stop or (start + walltime if start and walltime and native not in _SUSPENDED else None),
        walltime=walltime,
        exit_code=None if status is None else _exit_code(int(status)),
        reservation=reservation,
        message=message,
        named_start=named or (postponed if native != "Hold" else None),
        why=_why(native, message, reservation, bool(before), named or postponed),
        after=tuple(before),
        not_before=postponed,
    )


def _listed(value: Any) -> list[str]:
    """A list as JSON has it; a version that has one value alone, or several in one text, means the same."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [] if value is None else re.split(r"\s*,\s*", str(value))


def _exit_code(status: int) -> int | None:
    """The exit code in the raw status of wait(2), such as 3 in 768; None for a number that is none."""
    try:
        return os.waitstatus_to_exitcode(status)
    except ValueError:
        return None


def _tag(name: str, command: str) -> str:
    """Our tag of a job. A rule of a site may rename it, by a name that looks like ours too; but its script is named after the tag."""
    named = re.search(r"/jobs/([\w-]+)\.sh\b", command)
    if named:
        return named[1]
    return name.removeprefix(JOB_NAME + ":") if name.startswith(JOB_NAME + ":") else ""


_SUSPENDED = ("Suspended", "Resuming")
"""States in which a job's time does not run: its end moves with the clock."""


def _why(native: str, message: str, reservation: bool, behind: bool, start: float | None) -> str:
    """The reason for which a job waits or stands still, in plain words; OAR's message says it only where something is wrong."""
    said = "" if re.match(r"(FIFO scheduling OK|R=\d+,W=|$)", message) else f" (OAR: {message.strip()})"
    if native in _STANDS_STILL:
        return _STANDS_STILL[native] + said
    if native != "Waiting":
        return ""
    if behind:
        return f"it waits for the job before it{said}"
    if reservation and start and start < time.time():
        return f"its advance reservation should have begun: its nodes are not free, or not available{said}"
    if reservation:
        return f"it waits for its advance reservation{said}"
    if start is None:
        return f"OAR names no start: no resources are free for it, or they are not available{said}"
    return said.strip(" ()")


_STANDS_STILL = {
    "Hold": "it is held: `oarresume` lets it go on",
    "Suspended": "it is suspended, and does not go on before OAR resumes it",
    "Resuming": "it is being resumed",
    "toAckReservation": "OAR has yet to confirm its advance reservation",
    "toLaunch": "OAR is starting it",
}
"""By OAR's state."""


def _wanted_walltime(text: str) -> float | None:
    """The walltime of a job that waits, which only the words of its request tell: the longest, where it leaves OAR a choice."""
    found = [number(each) for each in re.findall(r"walltime=(\d+:\d+:\d+)", text)]
    return max((each for each in found if each is not None), default=None)


def _postponed(types: Any) -> float | None:
    """Before when a job will not start, by its types."""
    for kind in types:
        if found := re.fullmatch(r"postpone=(\d{4}-\d\d-\d\d)\s+(\d\d:\d\d(:\d\d)?)", str(kind)):
            return dt.datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=system_zone()).timestamp()
    return None


def number(value: Any) -> float | None:
    """A number as JSON or text has it; a duration as H:M:S too."""
    if value is None:
        return None
    if clock := re.fullmatch(r"(\d+):(\d+):(\d+)", str(value)):
        hours, minutes, seconds = map(int, clock.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def local(moment: dt.datetime) -> str:
    """`moment` as oarsub reads it: on the system's clock (it ignores TZ), with seconds."""
    return moment.astimezone(system_zone()).strftime("%Y-%m-%d %H:%M:%S")
