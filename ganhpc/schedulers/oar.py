"""OAR 2.5 and 3, through submitit_oar's executor. The facts that each workaround stands for are in docs/schedulers-notes.md."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ganhpc.commands import Answer, ask
from ganhpc.errors import UserError
from ganhpc.kinds import Capabilities
from ganhpc.schedulers.base import (
    JOB_NAME,
    Found,
    Job,
    JobRequest,
    JobState,
    Prepared,
    Refused,
    Scheduler,
    Stated,
    fill,
    node_command,
    setup_lines,
)

SECONDS = 30.0
CHECKPOINT_SECONDS = 120
"""OAR's signal comes about ten seconds late, then again every ten: less than two minutes leaves too little."""

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
    10: "the slot is taken",
    12: "an option stands where oarsub does not allow it",
    254: "an admission rule of the site says no",
}
"""oarsub's exit codes; it prints OAR_JOB_ID before the verdict, so the code alone says whether there is a job."""


class Oar(Scheduler):
    """See the module."""

    name = "oar"

    def find(self) -> Found:
        if not shutil.which("oarsub"):
            return Found(False, "oarsub is not on the PATH")
        answer = ask(["oarstat", "-u", getpass.getuser(), "-J"], 10)
        if answer.code is None:
            return Found(False, "oarsub is here, but OAR's server doesn't answer (10 s)")
        if answer.code != 0:
            return Found(False, f"oarsub is here, but oarstat fails ({answer.last_words})")
        return Found(True, "oarsub is here and OAR's server answers")

    def old_types(self) -> bool:
        """Whether the job types postpone and deadline are there: OAR 2 has them, OAR 3's rules reject them.

        Where oarsub is missing (a dry run elsewhere) the answer is for OAR 2.5.
        """
        answer = ask(["oarsub", "--version"], 10) if shutil.which("oarsub") else None
        version = re.search(r"(\d+)\.\d+", answer.out + answer.err) if answer else None
        return version is None or int(version[1]) < 3

    def capabilities(self) -> Capabilities:
        # Without postpone, a reservation is the only way to hold a job back.
        return Capabilities(self.name, reservations=True, begin=self.old_types())

    def prepare(self, request: JobRequest) -> Prepared:
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = fill(
            "oar.sh",
            segment=request.segment,
            run=request.run.name,
            setup=setup_lines(self.site, self.name, request),
            command=node_command(self.site, request),
        )
        # oarsub gives its last word to a shell on the node.
        argv = ("oarsub", *self._options(request), shlex.quote(str(path)))
        return Prepared(request, script, argv, path)

    def _options(self, request: JobRequest) -> Iterator[str]:
        yield from ("-n", f"{JOB_NAME}:{request.tag}", "-l", self._resources(request))
        yield from ("-O", str(request.log), "-E", str(request.log))
        if request.seconds > 2 * CHECKPOINT_SECONDS:
            yield from ("--checkpoint", str(CHECKPOINT_SECONDS))
        if request.kind == "reservation":
            assert request.start, "a reservation has a start"
            yield from ("-r", _local(request.start))
        elif self.old_types():
            if request.start and request.kind == "begin":
                yield from ("-t", f"postpone={_local(request.start)}")
            if request.deadline:
                # OAR wants its security time between the end and the date.
                yield from ("-t", f"deadline={_local(request.deadline + dt.timedelta(seconds=60))}")
        for job in request.after:
            yield from ("-a", job)
        for flag, key in (("-q", "queue"), ("--project", "project"), ("-p", "properties")):
            if value := getattr(self.site, key, None):
                yield from (flag, value)
        yield from self.site.options

    def _resources(self, request: JobRequest) -> str:
        hours, rest = divmod(request.seconds, 3600)
        walltime = f"walltime={hours}:{rest // 60:02d}:{rest % 60:02d}"
        if self.site.resources:
            return f"{self.site.resources},{walltime}"
        gpus = f"/gpu={request.gpus_per_node}" if request.gpus_per_node else ""
        return f"/nodes={request.nodes}{gpus},{walltime}"

    def submit(self, prepared: Prepared) -> str:
        from ganhpc.schedulers.executors import submit_oar

        try:
            return submit_oar(prepared, SECONDS)
        except Refused as refused:
            raise _refusal(refused) from None

    # -- looking ------------------------------------------------------------------------------------------------------

    def queue(self) -> list[Job]:
        answer = ask(["oarstat", "-u", getpass.getuser(), "-J"], SECONDS)
        if answer.code != 0:
            why = f"no answer in {SECONDS:.0f} s" if answer.code is None else answer.last_words
            raise UserError(f"OAR's queue can't be read ({why}): try again, or look at `oarstat` yourself.")
        return [job for tree in _trees(answer) if (job := _job(tree)).state.alive]

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        found = {}
        for id in ids:
            answer = ask(["oarstat", "-f", "-J", "-j", id], SECONDS)
            trees = _trees(answer) if answer.code == 0 else []
            job = _job(trees[0]) if trees else Job(id, JobState.UNKNOWN)
            found[id] = self._judged(job) if job.state in (JobState.ENDED, JobState.FAILED) else job
        return found

    def _judged(self, job: Job) -> Job:
        """Terminated only means over, and a kill at the walltime is an Error that only its events tell apart."""
        import dataclasses

        if job.state is JobState.ENDED:
            return dataclasses.replace(job, state=JobState.FAILED) if job.exit_code else job
        events = ask(["oarstat", "-e", "-j", job.id], SECONDS).out
        if "WALLTIME" in events:
            return dataclasses.replace(job, state=JobState.TIMEOUT)
        if "FRAG_JOB_REQUEST" in events or "JOB_DELETE" in events:
            return dataclasses.replace(job, state=JobState.CANCELLED)
        return job

    def cancel(self, job: str) -> None:
        answer = ask(["oardel", job], SECONDS)
        if answer.code not in (0, 6):
            why = f"no answer in {SECONDS:.0f} s" if answer.code is None else answer.last_words
            raise UserError(f"OAR's job {job} can't be cancelled ({why}): try `oardel {job}` yourself.")


def _refusal(refused: Refused) -> Refused:
    """oarsub's words as a sentence, with the moment that it offers instead."""
    said = str(refused)
    earliest = re.search(r"could run at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", said)
    moment = dt.datetime.strptime(earliest[1], "%Y-%m-%d %H:%M:%S").astimezone() if earliest else None
    lines = [
        line.strip() for line in said.splitlines() if re.search(r"error|could run|refus|limit|admission", line, re.I)
    ]
    detail = re.sub(r"^[^\[]*(?=\[)", "", lines[-1]) if lines else ""
    reason = REFUSALS.get(refused.code or 0, "oarsub says no" if refused.code else said.strip())
    return Refused(f"{reason}{f' ({detail})' if detail else ''}", refused.code, moment)


def _trees(answer: Answer) -> list[dict[str, Any]]:
    """The jobs in oarstat's JSON, whatever is printed around it; OAR 2 gives an object by id, OAR 3 a list."""
    opening = re.search(r"^[\[{]", answer.out, re.MULTILINE)
    if not opening:
        return []
    try:
        tree, _ = json.JSONDecoder().raw_decode(answer.out[opening.start() :])
    except ValueError:
        return []
    if isinstance(tree, dict) and all(isinstance(value, dict) for value in tree.values()):
        return [{"id": id, **value} for id, value in tree.items()]
    found = tree.get("items", [tree]) if isinstance(tree, dict) else tree
    return [item for item in found if isinstance(item, dict)]


def _job(tree: dict[str, Any]) -> Job:
    """One job of oarstat's JSON. Keys differ between versions (Job_Id, startTime; id, start_time)."""

    def first(*keys: str) -> Any:
        return next((tree[key] for key in keys if tree.get(key) not in (None, "", "N/A")), None)

    start = _number(first("scheduledStart", "scheduled_start", "startTime", "start_time"))
    walltime = _number(first("walltime", "wallTime"))
    stop = _number(first("stopTime", "stop_time"))
    status = _number(first("exit_code", "exitCode"))
    native = str(first("state") or "")
    name = str(first("name") or "")
    return Job(
        id=str(first("Job_Id", "job_id", "id")),
        state=STATES.read(native),
        native=native,
        name=name,
        tag=name.removeprefix(JOB_NAME + ":") if name.startswith(JOB_NAME + ":") else "",
        start=start or None,
        end=stop or (start + walltime if start and walltime else None),
        walltime=walltime,
        # The raw status of wait(2): 768 is exit code 3.
        exit_code=None if status is None else os.waitstatus_to_exitcode(int(status)),
        reservation=str(first("reservation") or "None") not in ("None", "none", "0", "False"),
    )


def _number(value: Any) -> float | None:
    """A number as JSON or text has it; a duration as H:M:S too."""
    if value is None:
        return None
    if clock := re.fullmatch(r"(\d+):(\d\d):(\d\d)", str(value)):
        hours, minutes, seconds = map(int, clock.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _local(moment: dt.datetime) -> str:
    """`moment` as oarsub reads it: on the system's clock (it ignores TZ), with seconds."""
    return moment.astimezone(_system_zone()).strftime("%Y-%m-%d %H:%M:%S")


def _system_zone() -> dt.tzinfo | None:
    """The zone of /etc/localtime, whatever TZ says."""
    from zoneinfo import ZoneInfo

    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None


# -- on the node --------------------------------------------------------------------------------------------------------


def job_end() -> float | None:
    """When this job really ends, in seconds since 1970: a reservation that started late keeps its end."""
    answer = ask(["oarstat", "-f", "-J", "-j", os.environ.get("OAR_JOB_ID", "")], 15)
    trees = _trees(answer) if answer.code == 0 else []
    if not trees:
        return None
    start, walltime = _number(trees[0].get("startTime", trees[0].get("start_time"))), _job(trees[0]).walltime
    return start + walltime if start and walltime else None


def hosts() -> list[str]:
    """The names of the job's nodes, the first one first."""
    try:
        lines = Path(os.environ.get("OAR_NODEFILE", "")).read_text().split()
    except OSError:
        return []
    return list(dict.fromkeys(lines))


def node_rank() -> int:
    """OAR starts the script on the first node only; the others hear from it."""
    return 0
