"""OpenPBS: qsub, qstat, qdel. An example of a further scheduler, tried against a fake of its commands only."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.subprocesses import ask
from ganhpc.core.whoami import user_name
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.schedulers import script_text
from ganhpc.launch.schedulers.base import (
    JOB_NAME,
    Availability,
    Job,
    JobRequest,
    JobState,
    PreparedJob,
    Refused,
    Scheduler,
    Stated,
    runs_as,
    with_expected_times,
)
from ganhpc.launch.schedulers.job_script import node_command, setup_lines
from ganhpc.launch.schedulers.script_text import ScriptText

SECONDS = 30.0
STATES = Stated(
    {"Q": JobState.WAITING, "H": JobState.WAITING, "W": JobState.WAITING, "R": JobState.RUNNING, "E": JobState.RUNNING}
)


class Pbs(Scheduler):
    """See the module."""

    name, title, command = "pbs", "PBS", "qsub"
    able = Capabilities("pbs", begin=True)
    lacks = {"qos": "PBS has no qualities of service: type --queue"}

    def find(self) -> Availability:
        if not shutil.which(self.command):
            return Availability(False, "qsub is not on the PATH")
        up = ask(self.ping(), 10).code == 0
        return Availability(
            up, f"qsub is here and PBS's server {'answers' if up else 'does not answer'}", installed=True
        )

    def ping(self) -> list[str]:
        return ["qstat", "-B"]

    def cluster(self) -> str:
        return os.environ.get("PBS_SERVER", "")

    def prepare(self, request: JobRequest) -> PreparedJob:
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = script_text.fill(
            "pbs.sh",
            segment=script_text.number(request.segment),
            run=script_text.comment(request.run.name),
            setup=setup_lines(self.site, self.name, request),
            command=node_command(self.site, request),
        )
        return PreparedJob(request, script, ("qsub", *self._options(request), str(path)), path)

    def _options(self, request: JobRequest) -> Iterator[str]:
        gpus = f":ngpus={request.gpus_per_node}" if request.gpus_per_node else ""
        yield from ("-N", JOB_NAME, "-v", f"GANHPC_TAG={request.tag}", "-j", "oe", "-o", "/dev/null")
        yield from ("-l", f"select={request.nodes}:ncpus={request.tasks_per_node * request.threads}{gpus}")
        yield from ("-l", f"walltime={request.seconds}")
        if request.start and request.kind == "begin":
            yield from ("-a", request.start.astimezone().strftime("%Y%m%d%H%M.%S"))
        if request.after:
            yield from ("-W", f"depend=afterany:{':'.join(request.after)}")
        for flag, value in (("-q", self.site.queue), ("-A", self.site.account)):
            if value:
                yield from (flag, value)

    def submit(self, prepared: PreparedJob) -> str:
        answer = ask(list(prepared.argv), SECONDS)
        if answer.code != 0:
            raise Refused(answer.last_words or "no answer", answer.code, unsure=answer.code is None)
        return answer.out.strip()

    def by_hand(self, prepared: PreparedJob, behind: Sequence[ScriptText] = ()) -> ScriptText:
        if not behind:
            return prepared.command
        first, *rest = prepared.argv
        ids = script_text.shell(":".join(["{}"] * len(behind)), *behind)
        return script_text.shell("{} -W depend=afterany:{} {}", script_text.word(first), ids, script_text.command(rest))

    def queue(self) -> list[Job]:
        answer = ask(["qstat", "-f", "-F", "json"], SECONDS)
        if answer.code != 0:
            raise UserError("PBS's queue can't be read: try again, or look at `qstat` yourself.")
        mine = {
            id: tree for id, tree in _trees(answer.out).items() if tree["Job_Owner"].partition("@")[0] == user_name()
        }
        return with_expected_times(
            [job for id, tree in mine.items() if (job := _job(id, tree)).state.alive], time.time()
        )

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        answer = ask(["qstat", "-x", "-f", "-F", "json", *ids], SECONDS) if ids else None
        known = _trees(answer.out) if answer and answer.code == 0 else {}
        return {id: _job(id, known[id]) if id in known else Job(id, JobState.UNKNOWN) for id in ids}

    def cancel(self, job: str) -> None:
        if ask(["qdel", job], SECONDS).code != 0:
            raise UserError(f"PBS's job {job} can't be cancelled: try `qdel {job}` yourself.")


def _trees(text: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(text).get("Jobs", {}))
    except ValueError:
        return {}


def _job(id: str, tree: dict[str, Any]) -> Job:
    native, code = tree["job_state"], tree.get("Exit_status")
    state = STATES.read(native)
    if native == "F":
        state = {0: JobState.ENDED, 271: JobState.CANCELLED}.get(code, JobState.FAILED)
    hours, minutes, seconds = map(int, tree["Resource_List"]["walltime"].split(":"))
    start = dt.datetime.strptime(tree["stime"], "%c").timestamp() if "stime" in tree else None
    return Job(
        id,
        state,
        native,
        tree["Job_Name"],
        tree["Variable_List"].get("GANHPC_TAG", ""),
        start,
        walltime=float(hours * 3600 + minutes * 60 + seconds),
        exit_code=code,
        after=tuple(filter(None, tree.get("depend", "").removeprefix("afterany:").split(":"))),
    )


# -- on the node (ganhpc.launch.schedulers.base.NodeSide) -----------------------------------------------------------------

JOB_VARIABLE = "PBS_JOBID"
REMOTE_SHELL = ("pbs_tmrsh",)


def enclosing_job() -> str:
    """The job on whose node this process runs."""
    return os.environ.get(JOB_VARIABLE, "") if os.environ.get("PBS_NODEFILE") else ""


def cluster_name() -> str:
    """The server."""
    return os.environ.get("PBS_SERVER", "")


def job_name() -> str:
    """A name of this job; empty outside one."""
    return f"pbs job {job}" if (job := os.environ.get(JOB_VARIABLE)) else ""


def _own(job: str) -> Job | None:
    answer = ask(["qstat", "-x", "-f", "-F", "json", job], 15)
    tree = _trees(answer.out).get(job) if answer.code == 0 else None
    return _job(job, tree) if tree else None


def job_start() -> float | None:
    """When this job started, in seconds since 1970."""
    job = _own(os.environ.get(JOB_VARIABLE, ""))
    return job.start if job else None


def job_end() -> float | None:
    """When this job ends, in seconds since 1970."""
    job = _own(os.environ.get(JOB_VARIABLE, ""))
    return job.start + job.walltime if job and job.start and job.walltime else None


def lives(job: str, tag: str = "") -> bool | None:
    """True if a job runs, with a `tag` the one that has it; None where it can't be told."""
    found = _own(job)
    return None if found is None or found.native == "E" else runs_as(found, tag)


def hosts() -> list[str]:
    """The names of the job's nodes, the first one first."""
    try:
        return list(dict.fromkeys(Path(os.environ.get("PBS_NODEFILE", "")).read_text().split()))
    except OSError:
        return []


def node_rank() -> int:
    """PBS starts the script on the first node only."""
    return 0


def go_on() -> int:
    """Have this job sent again."""
    ask(["qrerun", os.environ.get(JOB_VARIABLE, "")], 30)
    return 0
